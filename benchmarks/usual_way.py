"""The usual way to dub a subtitle file, to compare with: a process a cue, a process a stretch, one mix.

espeak-ng speaks each cue, ffmpeg's atempo shortens each clip that is longer than its cue, the clips are
laid over each other with numpy (cheaper than adelay and amix with hundreds of inputs), loudnorm in one pass
brings the track to -23 LUFS, and ffmpeg writes FLAC at 48 kHz. Most of the processor time goes to loudnorm,
so it is reported by itself as well.
"""

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

PACKAGES = {"espeak-ng": "espeak-ng", "ffmpeg": "ffmpeg"}  # program: its Debian package
VOICES = {"zh": "cmn", "pt-BR": "pt-br"}  # where espeak-ng has another name than the language has
CUE = re.compile(r"((?:\d+:)?\d+:\d+[,.]\d+) +--> +((?:\d+:)?\d+:\d+[,.]\d+)[^\n]*\n((?:[^\n]+\n?)+)")
FFMPEG = ("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y")


def seconds(clock: str) -> float:
    total = 0.0
    for part in clock.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return total


def read_cues(script: Path) -> list[tuple[float, float, str]]:
    text = script.read_text("utf-8-sig").replace("\r\n", "\n")
    return [
        (seconds(start), seconds(end), " ".join(re.sub(r"<[^>]*>", "", said).split()))
        for start, end, said in CUE.findall(text)
    ]


def read_wave(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path)) as file:
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


def speak(text: str, span: float, voice: str, folder: Path) -> tuple[int, np.ndarray]:
    clip, short = folder / "clip.wav", folder / "short.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-w", clip, "--stdin"], input=text.encode(), check=True)
    rate, samples = read_wave(clip)
    if len(samples) <= span * rate:
        return rate, samples
    tempo = f"atempo={len(samples) / rate / span:.4f}"
    subprocess.run([*FFMPEG, "-i", clip, "-filter:a", tempo, "-ar", str(rate), short], check=True)
    return read_wave(short)


def dub(script: Path, track: Path, language: str) -> dict[str, float]:
    cues = read_cues(script)
    if not cues:
        raise SystemExit(f"{script}: found no cues")
    programme = max(end for _, end, _ in cues)
    mix, stretched, rate = np.zeros(0, np.int32), 0, 22050
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for start, end, text in cues:
            rate, samples = speak(text, end - start, VOICES.get(language, language), folder)
            first = round(start * rate)
            if len(mix) < first + len(samples):
                mix = np.pad(mix, (0, max(first + len(samples), round(programme * rate)) - len(mix)))
            mix[first : first + len(samples)] += samples
            stretched += (folder / "short.wav").exists()
            (folder / "short.wav").unlink(missing_ok=True)
        raw = folder / "mix.raw"
        np.clip(mix, -32768, 32767).astype("<i2").tofile(raw)
        before = cpu_seconds()
        source: list[str | Path] = ["-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", raw]
        subprocess.run(
            [*FFMPEG, *source, "-filter:a", "loudnorm=I=-23:TP=-2", "-ar", "48000", "-c:a", "flac", track],
            check=True,
        )
        last = cpu_seconds() - before
    counts = {"programme_seconds": round(programme, 3), "cues": len(cues), "stretched": stretched}
    return {**counts, "loudnorm_cpu_seconds": round(last, 2)}


def cpu_seconds() -> float:
    """Of this process and of all that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("script", type=Path)
    parser.add_argument("track", type=Path)
    parser.add_argument("--language", required=True)
    args = parser.parse_args()
    if missing := [package for program, package in PACKAGES.items() if not shutil.which(program)]:
        print(f"not on PATH; install with: apt-get install {' '.join(missing)}", file=sys.stderr)
        sys.exit(2)
    begun = time.perf_counter()
    report = dub(args.script, args.track, args.language)
    report["cpu_seconds"] = round(cpu_seconds(), 2)
    report["wall_seconds"] = round(time.perf_counter() - begun, 2)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
