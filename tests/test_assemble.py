"""Takes to a track, without Ray: what is heard, when and how loud."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soundfile
from conftest import srt
from made import LINES, RATE, Make

from pipeline.audio.codec import decode
from pipeline.audio.take import decode_take
from pipeline.speak import take_name
from pipeline.store import Store


def vtt(*cues: tuple[float, float, str, str]) -> str:
    rows = (
        f"00:{start // 60:02.0f}:{start % 60:06.3f} --> 00:{end // 60:02.0f}:{end % 60:06.3f}\n<v {speaker}>{text}\n"
        for start, end, speaker, text in cues
    )
    return "WEBVTT\n\n" + "\n".join(rows)


def onset(audio: np.ndarray, after: float, before: float, rate: int = RATE) -> float:
    """Seconds at which the speech between two times begins: the first sample within 50 dB of its peak."""
    first = round(after * rate)
    level = np.abs(audio[first : round(before * rate)])
    return (first + int(np.argmax(level > level.max() * 10 ** (-50 / 20)))) / rate


def true_peak(audio: np.ndarray) -> float:
    return 20 * math.log10(np.abs(scipy.signal.resample_poly(audio.astype(np.float64), 8, 1)).max())


def test_utterances_that_overlap_are_added_at_full_level(make: Make) -> None:
    cues = (
        (1.0, 5.0, "Anna", "The lamp is out again, and nobody has seen why."),
        (1.7, 5.7, "Bob", "Somebody went up the stairs in the dark, I tell you."),
    )
    cast = {"a": {"cast": {"Anna": "f1", "Bob": "m2"}}}
    level = {"loudness": -30.0}  # so far down that nothing is limited
    parts = []
    for chosen in (cues, cues[:1], cues[1:]):
        made = make(vtt(*chosen), "en.vtt", titles=cast, delivery=level, watermark=False)
        assert [row["stretch"] for row in made.report["utterances"]] == [1.0] * len(chosen)
        assert made.figures["limited"] is False
        parts.append(made.audio() / 10 ** (made.figures["gain_db"] / 20))
    both = parts[0]
    alone = np.stack([np.pad(part, (0, both.size - part.size)) for part in parts[1:]], axis=1)
    assert ((np.abs(alone) > 0.01).all(axis=1)).sum() > RATE / 20  # they do speak at once
    shares, *_ = np.linalg.lstsq(alone, both, rcond=None)
    assert shares == pytest.approx([1.0, 1.0], rel=0.002)  # the report gives the gain to 0.01 dB
    assert np.abs(both - alone @ shares).max() < 1e-4


@pytest.mark.parametrize(
    ("language", "voice"), [("en", "m1"), ("fr", "f2@62"), ("de", "m5@40"), ("zh", "f1"), ("ar", "m3")]
)
def test_every_onset_is_within_5_ms_of_its_plan(make: Make, language: str, voice: str) -> None:
    texts = {"zh": ("灯灭了。", "有人上了楼。"), "ar": ("انطفأ المصباح.", "صعد شخص ما.")}.get(language, LINES[:3])
    made = make(srt(*texts, start=0.5, span=3.0, gap=0.217), f"{language}.srt", default_voice=voice)
    audio = made.audio()
    assert made.figures["onset_error_ms"]["p95"] <= 5
    for utterance in made.track.utterances:
        assert utterance.start is not None
        found = onset(audio, utterance.start - 0.1, utterance.start + 1.0)
        assert found == pytest.approx(utterance.start, abs=0.005)


def test_a_stretched_utterance_begins_in_time_and_ends_within_its_window(make: Make) -> None:
    text = "Somebody went up all of the stairs and turned the old switch."
    made = make(srt(text, text, text, start=1.0, span=2.8, gap=0.1), fit={"max_rate": 1.0})
    rows = made.report["utterances"]
    assert all(1.02 < row["stretch"] <= 1.3 for row in rows[:2])
    assert made.figures["overruns"]["count"] == 0
    audio = made.audio()
    for utterance, row in zip(made.track.utterances[:2], rows[:2], strict=True):
        assert utterance.start is not None
        assert utterance.window is not None
        assert onset(audio, utterance.start - 0.04, utterance.start + 1.0) == pytest.approx(utterance.start, abs=0.005)
        assert row["spoken"][1] <= utterance.window + 0.0001
        quiet = audio[round(utterance.window * RATE) + 1 : round((utterance.window + 0.03) * RATE)]
        assert not quiet.any()


def test_nothing_is_cut_where_it_cannot_fit(make: Make) -> None:
    text = "Somebody went up all of the stairs and turned the old switch, and then he came down again."
    made = make(srt(text, "No.", start=1.0, span=1.0, gap=0.1))
    first = made.report["utterances"][0]
    assert "overrun" in first["flags"]
    assert (first["rate"], first["stretch"]) == (1.3, 1.3)
    assert (made.figures["overruns"]["count"], made.figures["truncations"]) == (1, 0)
    (key,) = (chunk.key for chunk in made.track.utterances[0].chunks)
    natural = decode_take(Store(made.job.output).read(take_name(key)))[0].size / 22050
    assert first["spoken"][1] - first["spoken"][0] == pytest.approx(natural / 1.3, abs=0.001)


@pytest.mark.parametrize(("loudness", "peak"), [(-23.0, -1.0), (-16.0, -1.0), (-27.0, -2.0)])
def test_the_decoded_file_has_the_loudness_and_peak_of_the_delivery(make: Make, loudness: float, peak: float) -> None:
    made = make(srt(*LINES * 3), delivery={"loudness": loudness, "true_peak": peak})
    audio = made.audio()
    assert made.figures["limited"] == (loudness == -16.0)
    measured = pyloudnorm.Meter(RATE).integrated_loudness(audio.astype(np.float64))
    assert measured == pytest.approx(made.figures["loudness_lufs"], abs=0.1)
    assert measured == pytest.approx(loudness, abs=0.2)
    assert true_peak(audio) <= peak + 0.01
    assert true_peak(audio) == pytest.approx(made.figures["true_peak_dbtp"], abs=0.1)


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("flac", {}),
        ("flac", {"rate": 44100, "bits": 16}),
        ("wav", {"rate": 24000, "bits": 16}),
        ("opus", {"bitrate": 64}),
        ("mp3", {"rate": 44100, "bitrate": 128}),
        ("m4a", {"bitrate": 128}),
    ],
)
def test_every_format_comes_out_in_its_full_length(
    make: Make, tmp_path: Path, format: str, options: dict[str, int]
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8 * 8000), 8000)
    made = make(srt(*LINES[:2]), titles={"a": {"media": "a.wav"}}, delivery={"format": format, **options})
    audio, rate = decode(made.folder / f"dub.{format}")
    assert rate == options.get("rate", 48000)
    assert audio.size == pytest.approx(8 * rate, abs=0 if format in ("flac", "wav", "opus") else 2048)
    assert made.figures["seconds"] == 8.0
    for utterance in made.track.utterances:
        assert utterance.start is not None
        loud = np.abs(audio[round(utterance.start * rate) :][: rate // 2]).max()
        assert loud > 0.05
    beside = ["dub.opus.c2pa"] if format == "opus" else []
    names = [f"dub.{format}", "dub.srt", "report.json", *beside]
    assert sorted(file["name"] for file in made.manifest["files"]) == sorted(names)


def test_an_untimed_script_is_spoken_in_order_with_pauses(make: Make) -> None:
    made = make("ANNA: The lamp is out.\nBOB: Again?\n\nANNA (softly): Somebody went up.\n", "en.txt")
    rows = made.report["utterances"]
    assert [(row["speaker"], row["text"]) for row in rows] == [
        ("ANNA", "The lamp is out."), ("BOB", "Again?"), ("ANNA", "Somebody went up."),
    ]  # fmt: skip
    spans = [row["spoken"] for row in rows]
    assert spans[0][0] == 0
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start - end == pytest.approx(0.5, abs=0.006)  # a lead of up to 5 ms reaches into the pause
    audio = made.audio()
    assert audio.size / RATE == pytest.approx(spans[-1][1], abs=0.0001)
    assert not audio[round(spans[0][1] * RATE) + 1 : round(spans[1][0] * RATE) - 1].any()


@pytest.mark.parametrize("name", ["en.txt", "en.srt"])
def test_a_single_short_word_is_brought_to_its_level(make: Make, name: str) -> None:
    made = make("Go!" if name == "en.txt" else srt("Go!", start=0.0), name)
    assert made.audio().size < 0.4 * RATE
    assert math.isfinite(made.figures["loudness_lufs"])
    assert 0.05 < np.abs(made.audio()).max() <= 10 ** (-1 / 20)
    json.loads((made.folder / "report.json").read_text(), parse_constant=pytest.fail)


def test_an_utterance_at_the_very_start_is_whole(make: Make) -> None:
    made = make(srt("The lamp is out.", start=0.0))
    (key,) = (chunk.key for chunk in made.track.utterances[0].chunks)
    natural = decode_take(Store(made.job.output).read(take_name(key)))[0].size / 22050
    assert made.audio().size / RATE == pytest.approx(natural, abs=0.0001)
    assert onset(made.audio(), 0.0, 0.5) <= 0.005


def test_a_track_is_as_long_as_its_programme(make: Make, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(30 * 8000), 8000)
    made = make(srt("One."), titles={"a": {"media": "a.wav"}})
    assert made.audio().size == 30 * RATE


def test_speech_beyond_the_end_of_the_programme_is_not_cut(make: Make, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(2 * 8000), 8000)
    made = make(srt(LINES[1], start=1.5, span=0.5), titles={"a": {"media": "a.wav"}})
    (row,) = made.report["utterances"]
    assert row["flags"] == ["fast", "overrun"]
    assert made.audio().size / RATE == pytest.approx(row["spoken"][1], abs=0.0001)
    assert row["spoken"][1] > 2.4
