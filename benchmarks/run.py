"""The figures of docs/benchmarks.md: what the work after synthesis costs, whole catalogues, plans of a million lines.

python benchmarks/run.py [assemble] [memory] [catalogue] [plan] [usual] [timing]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from corpus import write_catalogue, write_dense

from pipeline.watermark.keys import VARIABLE, Key

HERE = Path(__file__).parent
OUT = HERE.parent / "bench-output"
DUB = str(Path(sys.executable).with_name("dub"))
CATALOGUE_LANGUAGES = ["en", "fr", "es", "de", "it", "pt", "pl", "ru"]

os.environ.setdefault(VARIABLE, Key(bytes(32)).text())  # tracks are marked, as in real jobs


def job_file(folder: Path, name: str, **keys: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"name": name, "catalogue": "catalogue.yaml", "output": "out", **keys}))
    return path


def measured(command: list[str]) -> dict[str, Any]:
    """Run a command to its end: wall and CPU seconds with all its children, peak memory of the largest of them."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, text=True)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        out.seek(0)
        errors.seek(0)
        if process.returncode not in (0, 3):
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-2000:]}")
        cpu = used.ru_utime + used.ru_stime
        return {"wall": wall, "cpu": cpu, "peak_mb": used.ru_maxrss / 1024, "out": out.read()}


def in_process(job: Path, step: str) -> dict[str, Any]:
    """One step of one track in a process of its own, without Ray: CPU seconds of the step and peak memory."""
    done = measured([sys.executable, str(HERE / "step.py"), step, str(job)])
    return {**json.loads(done["out"].splitlines()[-1]), "process_peak_mb": done["peak_mb"]}


def assemble() -> dict[str, Any]:
    """CPU seconds of everything after synthesis, for an hour of programme; and of the synthesis, for comparison."""
    found = {}
    for language in ("fr", "en", "zh"):
        folder = OUT / f"hour-{language}"
        write_catalogue(folder, 1, 60, 700, [language], 3)
        job = job_file(folder, "hour")
        spoken = in_process(job, "speak")
        done = in_process(job, "assemble")
        found[language] = {
            "speak_cpu_s": spoken["cpu"],
            "assemble_cpu_s_per_hour": round(done["cpu"] / done["programme"] * 3600, 2),
            "peak_mb": round(done["peak_mb"]),
        }
    return found


def memory() -> dict[str, Any]:
    """Peak memory of assembling a title of three hours."""
    folder = OUT / "three-hours"
    write_catalogue(folder, 1, 180, 2100, ["fr"], 4)
    job = job_file(folder, "three-hours")
    in_process(job, "speak")
    done = in_process(job, "assemble")
    return {"programme_hours": round(done["programme"] / 3600, 2), "peak_mb": round(done["process_peak_mb"])}


def catalogue() -> dict[str, Any]:
    """24 one-hour titles in eight languages, three of each, end to end with the start of Ray."""
    folder = OUT / "catalogue"
    subprocess.run(["rm", "-rf", str(folder / "out")], check=True)
    write_catalogue(folder, 24, 60, 700, CATALOGUE_LANGUAGES, 5)
    entries = yaml.safe_load((folder / "catalogue.yaml").read_text())["titles"]
    for n, entry in enumerate(entries):
        entry["languages"] = [CATALOGUE_LANGUAGES[n % len(CATALOGUE_LANGUAGES)]]
    (folder / "catalogue.yaml").write_text(yaml.safe_dump({"titles": entries}))
    job = job_file(folder, "catalogue")
    done = measured([DUB, "run", str(job), "--json"])
    summary = json.loads(done["out"].splitlines()[-1])
    programme = sum(track["figures"]["seconds"] for track in summary["tracks"])
    again = measured([DUB, "run", str(job), "--json"])
    return {
        "tracks": len(summary["tracks"]),
        "programme_hours": round(programme / 3600, 2),
        "takes": summary["spoken"],
        "wall_s": round(done["wall"], 1),
        "times_real_time": round(programme / done["wall"], 1),
        "rerun_wall_s": round(again["wall"], 1),
    }


def plan() -> dict[str, Any]:
    """A million lines in 1,000 titles: its plan, the run, and the rerun of the finished job."""
    folder = OUT / "million"
    write_dense(folder, 1000, 1000, 6)
    job = job_file(folder, "million", delivery={"rate": 8000, "bits": 16, "format": "wav"})
    first = measured([DUB, "plan", str(job), "--json"])
    facts = json.loads(first["out"].splitlines()[-1])
    ran = measured([DUB, "run", str(job), "--json"])
    second = measured([DUB, "plan", str(job), "--json"])
    again = measured([DUB, "run", str(job), "--json"])
    summary = json.loads(again["out"].splitlines()[-1])
    return {
        "lines": sum(track["lines"] for track in facts["tracks"]),
        "plan_wall_s": round(first["wall"], 1),
        "plan_peak_mb": round(first["peak_mb"]),
        "run_wall_s": round(ran["wall"], 1),
        "finished_plan_wall_s": round(second["wall"], 1),
        "rerun_wall_s": round(again["wall"], 1),
        "rerun_minus_plan_s": round(again["wall"] - second["wall"], 1),
        "rerun_idle": summary["idle"],
    }


def usual() -> dict[str, Any]:
    """The same hour the usual way: one espeak-ng process a cue, ffmpeg atempo, overlay, loudnorm."""
    found = {}
    for language in ("fr", "en"):
        folder = OUT / f"hour-{language}"
        write_catalogue(folder, 1, 60, 700, [language], 3)
        script = next(folder.glob(f"*.{language}.srt"), None) or next(folder.glob("*.srt"))
        job = job_file(folder, "hour")
        ours = in_process(job, "speak")["cpu"] + in_process(job, "assemble")["cpu"]
        done = measured(
            [
                sys.executable,
                str(HERE / "usual_way.py"),
                str(script),
                str(folder / "usual.flac"),
                "--language",
                language,
            ]
        )
        theirs = json.loads(done["out"])["cpu_seconds"]
        found[language] = {
            "ours_cpu_s": round(ours, 1),
            "usual_cpu_s": round(theirs, 1),
            "share": round(ours / theirs, 2),
        }
    return found


def timing() -> dict[str, Any]:
    """Onsets measured in the written files, against the plan: the demo and a one-hour title."""
    measured([DUB, "run", str(HERE.parent / "configs" / "demo.yaml"), "--json"])
    folder = OUT / "timing"
    write_catalogue(folder, 1, 60, 700, ["fr", "zh", "ar"], 7)
    job = job_file(folder, "timing")
    measured([DUB, "run", str(job), "--json"])
    reports = sorted((HERE.parent / "demo-output").glob("*/*/report.json")) + sorted(folder.glob("out/*/*/report.json"))
    return {f"{path.parent.parent.name}/{path.parent.name}": _timed(path) for path in reports}


def _timed(path: Path) -> dict[str, Any]:
    """The report's figures, and onsets as found in the audio itself: the first 2 ms over -50 dB of the clip's peak."""
    report = json.loads(path.read_text())
    audio, rate = soundfile.read(path.with_name("dub.flac"), dtype="float32")
    errors = []
    rows = [row for row in report["utterances"] if row["spoken"]]
    for before, row in zip([None, *rows], rows, strict=False):
        start, end = row["spoken"]
        if before and before["spoken"][1] > start - 0.05:
            continue  # its beginning lies under the end of another
        clip = np.abs(audio[max(0, round((start - 0.05) * rate)) : round(end * rate)])
        onset = np.argmax(clip > clip.max() * 10 ** (-50 / 20)) / rate + max(0.0, start - 0.05)
        errors.append(1000 * (onset - row["window"][0]))
    figures = report["figures"]
    silent = sum(row["overrun"] > 0 and "overrun" not in row["flags"] for row in report["utterances"])
    return {
        "utterances": figures["utterances"],
        "measured_onset_ms_p50_p95": [round(float(np.percentile(np.abs(errors), q)), 2) for q in (50, 95)],
        "drift_ms_per_minute": figures["drift_ms_per_minute"],
        "stretch_max": figures["stretch"]["max"],
        "overruns": figures["overruns"]["count"],
        "overruns_not_flagged": silent,
        "truncations": figures["truncations"],
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    part.__name__: part for part in (assemble, memory, timing, usual, catalogue, plan)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them without any")
    parts = parser.parse_args().parts or list(PARTS)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for part in parts:
        print(f"\n{part}: {PARTS[part].__doc__}", flush=True)
        print(json.dumps(PARTS[part](), indent=1), flush=True)


if __name__ == "__main__":
    main()
