"""Voices of the job file: what is heard in their clips, how they are spelled, what is refused."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import fsspec
import numpy as np
import pytest
import soundfile

from pipeline.engines.higgs.voices import Voice, read_voices
from pipeline.text.directions import EMOTIONS, STYLES
from pipeline.voices.reference import LONGEST, MARGIN, RATE, SHORTEST


def tone(seconds: float, *, rate: int = RATE, lead: float = 0.0, tail: float = 0.0, hertz: float = 200) -> np.ndarray:
    """A buzz of so many seconds between silences."""
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.3 * np.sign(np.sin(2 * np.pi * hertz * time))
    return np.concatenate([np.zeros(round(lead * rate)), sound, np.zeros(round(tail * rate))]).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **how: Any) -> str:
    soundfile.write(path, samples, rate, **how)
    return str(path)


def one(clip: Any, **more: Any) -> Voice:
    return read_voices({"anna": {"clip": clip, **more}})["anna"]


def test_a_voice_has_its_clip_its_text_and_its_emotions(clips: dict[str, str]) -> None:
    voice = one(clips["anna"], text="This is Anna.", emotions={"fear": clips["anna-afraid"]})
    samples, rate = soundfile.read(clips["anna"], dtype="float32")
    assert (voice.name, voice.clip.text) == ("anna", "This is Anna.")
    assert voice.clip.samples.dtype == np.float32
    assert voice.clip.samples.ndim == 1
    assert len(voice.clip.samples) / RATE == pytest.approx(len(samples) / rate, abs=0.1)
    assert SHORTEST <= len(voice.clip.samples) / RATE <= LONGEST
    assert list(voice.emotions) == ["fear"]
    assert not np.array_equal(voice.emotions["fear"].samples[:RATE], voice.clip.samples[:RATE])
    assert not voice.clip.samples.flags.writeable  # they are shared


def test_any_rate_and_any_number_of_channels_become_24_khz_mono(tmp_path: Path) -> None:
    for rate in (8000, 22050, 44100, 48000):
        sound = tone(4, rate=rate)
        stereo = np.stack([sound, np.zeros_like(sound)], 1)
        samples = one(write(tmp_path / f"{rate}.wav", stereo, rate)).clip.samples
        assert samples.shape == pytest.approx((4 * RATE,), abs=RATE // 50)
        assert np.abs(samples).mean() == pytest.approx(0.15, rel=0.05)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3", "m4a", "mkv"])
def test_whatever_has_sound_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    if suffix in ("flac", "ogg", "mp3"):
        write(path, tone(4))
    else:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone(4)[None], format="fltp", layout="mono")
            frame.rate = RATE
            container.mux([*stream.encode(frame), *stream.encode(None)])
    assert len(one(str(path)).clip.samples) / RATE == pytest.approx(4, abs=2 * MARGIN + 0.05)


def test_a_clip_may_lie_at_a_url(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(4), RATE, format="WAV")
    fsspec.filesystem("memory").pipe_file(f"/{tmp_path.name}/anna.wav", file.getvalue())
    assert len(one(f"memory://{tmp_path.name}/anna.wav").clip.samples) == 4 * RATE


def test_a_relative_path_counts_from_where_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "anna.wav", tone(4))
    monkeypatch.chdir(tmp_path)
    assert one("anna.wav").spelling == one(str(tmp_path / "anna.wav")).spelling


def test_silence_at_the_ends_does_not_count_and_does_not_stay(tmp_path: Path) -> None:
    samples = one(write(tmp_path / "a.wav", tone(5, lead=8, tail=20))).clip.samples
    assert len(samples) / RATE == pytest.approx(5 + 2 * MARGIN, abs=0.01)


@pytest.mark.parametrize("seconds", [3.0, 9.95])
def test_three_to_ten_seconds_are_taken(tmp_path: Path, seconds: float) -> None:
    assert one(write(tmp_path / "a.wav", tone(seconds))).clip.samples.size == round(seconds * RATE)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (tone(2.5), r"found 2\.5 s of sound in .*, expected 3 to 10 s, without the silence at its ends"),
        (tone(2.0, lead=2, tail=2), r"found 2\.0 s of sound in "),
        (np.zeros(5 * RATE, np.float32), r"found 0\.0 s of sound in "),
        (np.full(5 * RATE, np.nan, np.float32), r"which cannot be read \(samples that are not finite\)"),
    ],
)
def test_other_lengths_are_told_as_measured(tmp_path: Path, samples: np.ndarray, told: str) -> None:
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"^engine\.options\.voices\.anna\.clip: " + ".*" + told) as caught:
        one(path)
    assert path in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it says how much memory a process took")
def test_of_a_film_only_the_beginning_is_read(tmp_path: Path) -> None:
    """An hour takes 691 MB as a file and twice that as samples; a fresh process stays under 300 MB."""
    path, size = tmp_path / "film.wav", 3600 * 48000 * 2 * 2
    form = struct.pack("<HHIIHH", 1, 2, 48000, 48000 * 4, 4, 16)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks) + size) + b"WAVE" + chunks)
    os.truncate(path, path.stat().st_size + size)  # zeros that take no room
    code = (
        "from pathlib import Path; from pipeline.engines.higgs.voices import read_voices\n"
        f"try: read_voices({{'anna': {{'clip': {str(path)!r}}}}})\n"
        "except ValueError as e: print(e)\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told, most = done.stdout.strip().splitlines()
    assert "found 0.0 s of sound" in told
    assert int(most) < 300


def test_of_a_long_recording_a_span_is_taken_unless_a_text_goes_with_all_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(11.2))
    assert SHORTEST <= len(one(path).clip.samples) / RATE <= LONGEST
    with pytest.raises(ValueError, match=r"found 11\.2 s of sound in .*, and the text of all of it, expected a clip"):
        one(path, text="What is said in eleven seconds.")


def test_what_is_no_audio_is_told(tmp_path: Path) -> None:
    text, whole = tmp_path / "a.txt", write(tmp_path / "a.wav", tone(4))
    text.write_text("not a sound")
    broken = tmp_path / "broken.flac"
    write(broken, tone(4))
    broken.write_bytes(broken.read_bytes()[:200])
    for clip in (str(text), str(broken), str(tmp_path / "missing.wav"), str(tmp_path), "memory://clips/none.wav"):
        with pytest.raises(ValueError, match=r"^engine\.options\.voices\.anna\.clip: found .*, which cannot") as caught:
            one(clip)
        assert clip in str(caught.value)
        with pytest.raises(
            ValueError, match=r"^engine\.options\.voices\.anna\.emotions\.anger: found .*, which cannot"
        ):
            one(whole, emotions={"anger": clip})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "voices: found nothing, expected voices by name, each with a clip"),
        (["anna"], r"voices: found \['anna'\], expected voices by name"),
        ({"anna": "anna.wav"}, r"voices\.anna: found 'anna.wav', expected a mapping of clip, text, emotions"),
        (
            {"anna": {"clips": "a.wav"}},
            r"voices\.anna: found the key 'clips', expected a mapping of clip, text, emotions",
        ),
        ({"anna": {}}, r"voices\.anna\.clip: found nothing, expected the path or URL of a reference clip"),
        ({"anna": {"clip": 3}}, r"voices\.anna\.clip: found 3, expected the path or URL"),
        ({"a@b": {"clip": "a.wav"}}, r"voices\.a@b: found 'a@b', expected a name without @"),
        ({" ": {"clip": "a.wav"}}, "voices. : found ' ', expected a name without @"),
        ({"anna": {"clip": "a.wav", "text": ["a"]}}, r"voices\.anna\.text: found \['a'\], expected what is spoken"),
    ],
)
def test_wrong_options_are_told(options: Any, told: str) -> None:
    with pytest.raises(ValueError, match=r"^engine\.options\." + told):
        read_voices(options)


def test_an_engine_without_voices_may_be_allowed() -> None:
    assert read_voices({}, needed=False) == {}


@pytest.mark.parametrize(
    ("emotions", "told"),
    [
        (["anger"], r"emotions: found \['anger'\], expected clips by emotion"),
        ({"angry": "a.wav"}, r"emotions: found 'angry', expected one of elation, .*, helplessness, .*singing"),
        ({"laughter": "a.wav"}, "emotions: found 'laughter', expected one of elation"),
        ({"fear": 1}, r"emotions\.fear: found 1, expected the path or URL of a reference clip"),
    ],
)
def test_wrong_emotions_are_told(clips: dict[str, str], emotions: Any, told: str) -> None:
    with pytest.raises(ValueError, match=r"^engine\.options\.voices\.anna\." + told):
        one(clips["anna"], emotions=emotions)


def test_every_emotion_and_style_may_have_a_clip(clips: dict[str, str]) -> None:
    terms = (*EMOTIONS, *STYLES)
    assert set(one(clips["anna"], emotions=dict.fromkeys(terms, clips["anna-afraid"])).emotions) == set(terms)


def test_a_spelling_is_of_the_content(clips: dict[str, str], tmp_path: Path) -> None:
    """Whatever a voice's clips are called and packed in; and another name, text or clip is another voice."""
    samples = soundfile.read(clips["anna"], dtype="int16")
    packed = write(tmp_path / "packed.flac", *samples)
    afraid = {"fear": clips["anna-afraid"]}
    first = one(clips["anna"], text="Anna.", emotions=afraid).spelling
    assert first.startswith("anna@")
    assert len(first) == len("anna@") + 16
    assert one(packed, text="Anna.", emotions=afraid).spelling == first
    others = {
        one(clips["anna"], text="Anna!", emotions=afraid).spelling,
        one(clips["anna"], text="Anna.").spelling,
        one(clips["anna"], text="Anna.", emotions={"anger": clips["anna-afraid"]}).spelling,
        one(clips["anna-afraid"], text="Anna.", emotions=afraid).spelling,
        read_voices({"maria": {"clip": clips["anna"], "text": "Anna.", "emotions": afraid}})["maria"].spelling,
        first,
    }
    assert len(others) == 6


def test_the_order_of_emotions_does_not_count(clips: dict[str, str]) -> None:
    pairs = [("fear", clips["anna-afraid"]), ("anger", clips["anna"])]
    assert one(clips["anna"], emotions=dict(pairs)).spelling == one(clips["anna"], emotions=dict(pairs[::-1])).spelling


def test_a_spelling_is_the_same_in_every_process(clips: dict[str, str]) -> None:
    code = f"from pipeline.engines.higgs.voices import *; print(read_voices({{'anna': {{'clip': {clips['anna']!r}}}}})"
    done = subprocess.run(
        [sys.executable, "-c", code + "['anna'].spelling)"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == one(clips["anna"]).spelling


def test_a_file_is_read_again_once_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, tone(4))
    first = one(str(path))
    assert one(str(path)).clip.samples is first.clip.samples
    status = path.stat()
    write(path, tone(4, hertz=300))  # as many bytes
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert one(str(path)).spelling != first.spelling
