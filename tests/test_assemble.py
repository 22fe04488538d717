"""Takes to a track, without Ray: speak and assemble in this process."""

import hashlib
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soundfile
from conftest import MakeJob, srt

from pipeline.assemble import BadTakes, assemble, delivered
from pipeline.audio.codec import decode
from pipeline.audio.take import decode_take, encode_take
from pipeline.catalogue import read_catalogue
from pipeline.config import Job, load_job
from pipeline.engines import open_engine
from pipeline.plan import TrackPlan, plan
from pipeline.speak import Outcome, speak, take_name
from pipeline.spool import Spool
from pipeline.store import Store

RATE = 48000
LINES = (
    "The lamp is out again.",
    "Somebody went up the stairs.",
    "Nobody comes here in March.",
    "Give me the lantern.",
)


def planned(path: Path) -> tuple[Job, TrackPlan]:
    job = load_job(str(path))
    (track,) = plan(job, read_catalogue(job))
    assert not track.errors, track.errors
    return job, track


def spoken(job: Job, track: TrackPlan) -> list[Outcome]:
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    return list(speak(chunks, open_engine(job.engine.name, job.engine.options), Store(job.output)))


class Made:
    """A track that was made: its plan and everything that lies in its folder."""

    def __init__(self, path: Path, missing: dict[str, str] | None = None):
        self.job, self.track = planned(path)
        failed = [outcome for outcome in spoken(self.job, self.track) if outcome.error]
        assert not failed
        self.facts = assemble(self.job, self.track, missing or {}, Store(self.job.output))
        self.folder = Path(self.job.output) / self.track.name
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.report = json.loads((self.folder / "report.json").read_text())
        self.figures = self.report["figures"]

    def audio(self, rate: int | None = None) -> np.ndarray:
        return decode(self.folder / f"dub.{self.job.delivery.format}", rate)[0]


Make = Callable[..., Made]


@pytest.fixture
def make(make_job: MakeJob) -> Make:
    def make(script: str, name: str = "en.srt", missing: dict[str, str] | None = None, **keys: Any) -> Made:
        return Made(make_job({"a": {name: script}}, **keys), missing)

    return make


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
    assert sorted(file["name"] for file in made.manifest["files"]) == sorted(
        [f"dub.{format}", "dub.srt", "report.json"]
    )


AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_assemble import Made
Made(Path(sys.argv[2]))
"""


@pytest.mark.parametrize("format", ["flac", "opus"])
def test_equal_inputs_give_equal_bytes_in_another_process(make_job: MakeJob, tmp_path: Path, format: str) -> None:
    text = "Somebody went up all of the stairs and turned the old switch."  # needs rate and stretch

    def made(output: str) -> Path:
        return make_job(
            {"a": {"en.srt": srt(*LINES, text, "No.", span=1.6)}}, output=output, delivery={"format": format}
        )

    def files(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*")
            if path.is_file()
        }

    assert Made(made("here")).figures["stretch"]["max"] > 1
    subprocess.run([sys.executable, "-c", AGAIN, str(Path(__file__).parent), str(made("there"))], check=True)
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert len(files(tmp_path / "here")) == 4 + 6


def test_a_chunk_that_is_missing_is_flagged_and_the_rest_is_there(make: Make) -> None:
    made = make(srt(*LINES[:3]))
    lost = made.track.utterances[1]
    facts = assemble(made.job, made.track, {lost.chunks[0].key: "the engine is unwell"}, Store(made.job.output))
    assert facts["flags"] == {"missing": 1}
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["missing"] == [
        {
            "utterance": "2",
            "place": lost.place,
            "key": lost.chunks[0].key,
            "text": LINES[1],
            "reason": "the engine is unwell",
        }
    ]
    rows = json.loads((made.folder / "report.json").read_text())["utterances"]
    assert [row["flags"] for row in rows] == [[], ["missing"], []]
    assert [bool(row["spoken"]) for row in rows] == [True, False, True]
    audio = made.audio()
    heard = [
        bool(audio[round(u.start * RATE) :][: 2 * RATE].any()) for u in made.track.utterances if u.start is not None
    ]
    assert heard == [True, False, True]
    subtitles = (made.folder / "dub.srt").read_text()
    assert LINES[0] in subtitles
    assert LINES[1] not in subtitles
    sizes = {file["name"]: file["bytes"] for file in manifest["files"]}
    assert not delivered(manifest, made.track.digest, sizes)


def test_an_utterance_speaks_what_it_has_of_its_chunks(make: Make) -> None:
    text = "The lamp on top of the old tower went out again. " * 8
    made = make(srt(text, span=30.0))
    chunks = made.track.utterances[0].chunks
    assert len(chunks) > 2
    assemble(made.job, made.track, {chunks[1].key: "x"}, Store(made.job.output))
    (row,) = json.loads((made.folder / "report.json").read_text())["utterances"]
    assert row["flags"] == ["missing"]
    assert 0 < row["spoken"][1] - row["spoken"][0] < made.report["utterances"][0]["spoken"][1]


def test_a_track_of_which_nothing_could_be_spoken_is_not_made(make_job: MakeJob) -> None:
    job, track = planned(make_job({"a": {"en.srt": srt("One.")}}))
    with pytest.raises(ValueError, match="not one of its utterances could be spoken"):
        assemble(job, track, {track.utterances[0].chunks[0].key: "x"}, Store(job.output))
    assert Store(job.output).sizes() == {}


def test_takes_that_cannot_be_used_are_told_by_their_keys(make_job: MakeJob) -> None:
    job, track = planned(make_job({"a": {"en.srt": srt(*LINES, "Yes.")}}))
    store = Store(job.output)
    spoken(job, track)
    keys = [utterance.chunks[0].key for utterance in track.utterances]
    data = [store.read(take_name(key)) for key in keys]
    store.delete(take_name(keys[0]))
    store.write(take_name(keys[1]), data[1][:-100])
    store.write(take_name(keys[2]), data[2][:-9] + bytes([data[2][-9] ^ 1]) + data[2][-8:])
    store.write(take_name(keys[3]), encode_take(decode_take(data[3])[0], 22050, {}))  # whole, but not of our making
    with pytest.raises(BadTakes) as caught:
        assemble(job, track, {}, store)
    assert caught.value.keys == keys[:4]
    assert set(store.sizes()) == {take_name(key) for key in keys[1:]}


def test_the_manifest_names_every_file_in_its_size_and_hash(make: Make) -> None:
    made = make(srt(*LINES[:2]), titles={"a": {"cast": {"": "f2"}}})
    files = {path.name: path.read_bytes() for path in made.folder.iterdir() if path.name != "manifest.json"}
    assert {file["name"]: (file["bytes"], file["sha256"]) for file in made.manifest["files"]} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()
    }
    assert set(files) == {"dub.flac", "dub.srt", "report.json"}
    assert (made.manifest["title"], made.manifest["language"], made.manifest["voices"]) == ("a", "en", {"": "f2"})
    assert made.manifest["plan"] == made.track.digest
    assert made.manifest["missing"] == []
    sizes = {name: len(data) for name, data in files.items()}
    assert delivered(made.manifest, made.track.digest, sizes)
    assert not delivered(made.manifest, "another plan", sizes)
    assert not delivered(made.manifest, made.track.digest, {**sizes, "dub.flac": 7})
    assert not delivered(None, made.track.digest, sizes)


def test_the_file_says_that_its_speech_is_synthetic(make: Make) -> None:
    made = make(srt("One."))
    with av.open(str(made.folder / "dub.flac")) as file:
        assert file.metadata["comment"].startswith("Synthetic speech by espeak 1.")
        assert (file.metadata["title"], file.metadata["language"]) == ("a", "en")


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


class Recorder(Store):
    """A store that notes what is done to it, in order."""

    def __init__(self, url: str):
        super().__init__(url)
        self.done: list[tuple[str, str]] = []

    def write(self, name: str, data: bytes, *, sync: bool = False) -> None:
        self.done.append(("write", name))
        super().write(name, data, sync=sync)

    def put(self, source: Path, name: str) -> None:
        assert not (Path(self.root) / "a/en/manifest.json").exists()
        self.done.append(("put", name))
        super().put(source, name)

    def delete(self, name: str) -> None:
        self.done.append(("delete", name))
        super().delete(name)


def test_an_older_manifest_goes_before_new_files_come_and_the_new_one_comes_last(make: Make) -> None:
    before = make(srt("One.", "Two."))
    made = make(srt("One.", "Three."))
    store = Recorder(made.job.output)
    assemble(made.job, made.track, {}, store)
    assert store.done == [
        ("delete", "a/en/manifest.json"),
        ("put", "a/en/dub.flac"),
        ("put", "a/en/dub.srt"),
        ("put", "a/en/report.json"),
        ("write", "a/en/manifest.json"),
    ]
    assert before.manifest["plan"] != made.manifest["plan"] == store.read_json("a/en/manifest.json")["plan"]


def test_nothing_is_left_in_the_workplace(make: Make) -> None:
    made = make(srt("One."))
    assert list((Path(made.job.output) / ".tmp").iterdir()) == []


def test_a_spool_gives_back_what_it_was_given_and_keeps_silence_off_the_disk(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    first, second = random.standard_normal(100_000, np.float32), random.standard_normal(7, np.float32)
    with Spool(tmp_path / "mix") as spool:
        assert spool.append(first) is first
        spool.skip(9_000_000)
        spool.append(np.zeros(1_000_000, np.float32))
        spool.skip(-5)
        spool.append(np.zeros(0, np.float32))
        spool.append(second)
        assert spool.length == 10_100_007
        whole = np.concatenate(list(spool.blocks()))
        assert np.array_equal(whole, np.concatenate([first, np.zeros(10_000_000, np.float32), second]))
        assert np.array_equal(np.concatenate(list(spool.blocks())), whole)
        assert max(block.size for block in spool.blocks()) <= 1 << 16
        assert (tmp_path / "mix").stat().st_size == 4 * (first.size + second.size)
