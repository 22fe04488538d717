"""Takes to a track, without Ray: the files, what is missing from them, and the order in which they come."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import MakeJob, srt
from made import LINES, RATE, Made, Make, planned, spoken

from pipeline.assemble import BadTakes, assemble, delivered
from pipeline.audio.take import decode_take, encode_take
from pipeline.speak import take_name
from pipeline.spool import Spool
from pipeline.store import Store

AGAIN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from made import Made
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
    beside = format == "opus"  # its C2PA manifest
    assert len(files(tmp_path / "here")) == 4 + beside + 6


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


def test_audio_of_another_format_goes_and_nothing_else_does(make: Make, tmp_path: Path) -> None:
    others = ("notes.txt", "dub.mp4", "dubbing.wav", "old/dub.wav", "dub.txt.c2pa")
    unmarked = make(srt("One."), watermark="off", disclosure="off", delivery={"format": "wav"})
    make(srt("One."), delivery={"format": "opus"})
    for name in others:
        (unmarked.folder / name).parent.mkdir(exist_ok=True)
        (unmarked.folder / name).write_bytes(b"not ours")
    assert (unmarked.folder / "dub.opus.c2pa").exists()
    made = make(srt("One."), delivery={"format": "opus"}, disclosure="off")
    files = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert files == {"dub.opus", "dub.srt", "report.json", "manifest.json", *others}
    assert {file["name"] for file in made.manifest["files"]} == {"dub.opus", "dub.srt", "report.json"}


def test_audio_of_another_format_goes_before_the_new_manifest_comes(make: Make) -> None:
    made = make(srt("One."), delivery={"format": "wav"})
    other = make(srt("One."))
    (made.folder / "dub.wav").write_bytes(b"left by one that was killed")
    store = Recorder(other.job.output)
    assemble(other.job, other.track, {}, store)
    assert store.done[:2] == [("delete", "a/en/manifest.json"), ("delete", "a/en/dub.wav")]


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
