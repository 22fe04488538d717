"""Tracks are marked, and the mark is looked for in what was written."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeJob, srt

from pipeline.assemble import assemble
from pipeline.audio.codec import Delivery, Encoder, decode
from pipeline.catalogue import read_catalogue
from pipeline.config import Job, load_job
from pipeline.engines import open_engine
from pipeline.evidence import examine, look_up
from pipeline.marking import Unmarked, marked, verified
from pipeline.parse import ConfigError
from pipeline.plan import TrackPlan, plan
from pipeline.speak import speak
from pipeline.store import Store
from pipeline.watermark import Key, detect, write_key

LINES = ("The lamp is out again, and nobody has seen why.", "Somebody went up the stairs in the dark, I tell you.")


def made(path: Path) -> tuple[Job, TrackPlan, Path]:
    job = load_job(str(path))
    (track,) = plan(job, read_catalogue(job))
    store = Store(job.output)
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    assert all(outcome.error == "" for outcome in speak(chunks, open_engine("espeak", {}), store))
    assemble(job, track, {}, store)
    return job, track, Path(job.output) / track.name


@pytest.mark.parametrize("delivery", [{}, {"format": "opus", "bitrate": 24}, {"format": "mp3", "rate": 24000}])
def test_a_track_leads_back_to_its_manifest(make_job: MakeJob, delivery: dict[str, object]) -> None:
    job, track, folder = made(make_job({"a": {"en.srt": srt(*LINES, *LINES, span=4)}}, delivery=delivery))
    assert job.key
    manifest = json.loads((folder / "manifest.json").read_text())
    assert json.loads((folder / "report.json").read_text())["figures"]["watermark_p"] < 1e-9
    [evidence] = examine(f"{folder}/dub.{job.delivery.format}", [Key.new(), job.key])
    assert evidence.marked
    assert evidence.findings[0].key == job.key.name == manifest["watermark"]["key"]
    assert evidence.findings[1].p > 1e-6
    payload = evidence.findings[0].payload
    assert payload
    assert payload.hex() == manifest["watermark"]["payload"]
    assert look_up(Store(job.output), [payload.hex()[4:]])[track.digest[:12]] == manifest


def test_a_track_without_a_mark_says_so(make_job: MakeJob) -> None:
    path = make_job({"a": {"en.srt": srt(*LINES, span=4)}})
    key = load_job(str(path)).key
    assert key
    path.write_text(path.read_text() + "watermark: off\n")
    _, _, folder = made(path)
    assert json.loads((folder / "manifest.json").read_text())["watermark"] == "off"
    assert json.loads((folder / "report.json").read_text())["figures"]["watermark_p"] is None
    audio, rate = decode(folder / "dub.flac")
    assert detect(audio, rate, key)[0].p > 1e-6


def test_another_key_or_strength_is_another_track(make_job: MakeJob, tmp_path: Path) -> None:
    digests = set()
    write_key(tmp_path / "other", Key.new())
    for watermark in ({}, {"strength": 1.5}, {"keys": "other"}, False):
        job = load_job(str(make_job({"a": {"en.srt": srt("One.")}}, watermark=watermark)))
        digests |= {track.digest for track in plan(job, read_catalogue(job))}
    assert len(digests) == 4


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_a_file_that_lost_its_mark_is_refused(make_job: MakeJob, tmp_path: Path, rate: int) -> None:
    job, track, folder = made(make_job({"a": {"en.srt": srt(*LINES, span=4)}}, watermark=False))
    plain, _ = decode(folder / "dub.flac", rate)
    job = load_job(str(make_job({"a": {"en.srt": srt(*LINES, span=4)}})))
    mix = list(marked(np.array_split(plain, 7), rate, job, track.digest))
    assert sum(block.size for block in mix) == plain.size
    found = {}
    for name, audio in (("marked", np.concatenate(mix)), ("plain", plain)):
        with Encoder(tmp_path / f"{name}.wav", Delivery(format="wav", rate=rate, bits=16), {}) as encoder:
            encoder.write(audio)
        found[name] = tmp_path / f"{name}.wav"
    p = verified(found["marked"], mix, rate, 5.0, job, track.digest)
    assert p is not None
    assert p < 1e-9
    with pytest.raises(Unmarked, match=r"not found in the encoded file: p = .*, expected under 1e-09"):
        verified(found["plain"], mix, rate, 5.0, job, track.digest)
    with pytest.raises(Unmarked):  # of another track
        verified(found["marked"], mix, rate, 5.0, job, "ab" * 32)
    with pytest.raises(Unmarked):  # too short for proof, but what was put in is gone
        verified(found["plain"], mix, rate, 0.5, job, track.digest)


def test_a_word_alone_is_delivered_though_it_proves_little(make_job: MakeJob) -> None:
    _, _, folder = made(make_job({"a": {"en.srt": srt("Go!")}}))
    assert json.loads((folder / "report.json").read_text())["figures"]["watermark_p"] <= 1


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_job(str(path))
    return str(caught.value)


def test_a_job_without_a_key_is_refused(make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUBLINE_WATERMARK_KEY")
    scripts = {"a": {"en.srt": srt("One.")}}
    assert "found no key, expected watermark.keys with a file" in refusal(make_job(scripts))
    assert load_job(str(make_job(scripts, watermark="off"))).key is None
    assert f"found no file {tmp_path}/none, expected one; make it: dub keys new {tmp_path}/none" in refusal(
        make_job(scripts, watermark={"keys": "none"})
    )
    (tmp_path / "bad").write_text("dubmark1:tooshort\n")
    assert "bad, line 1: a watermark key has 32 bytes" in refusal(make_job(scripts, watermark={"keys": "bad"}))
    assert "found the URL s3://bucket/key, expected a file" in refusal(
        make_job(scripts, watermark={"keys": "s3://bucket/key"})
    )
    for wrong in (True, "on", 3, None):
        assert "expected off, or a mapping" in refusal(make_job(scripts, watermark=wrong))
    assert "watermark.key: found an unknown key, expected one of keys, strength" in refusal(
        make_job(scripts, watermark={"key": "x"})
    )
    assert "watermark.strength: found 9" in refusal(make_job(scripts, watermark={"strength": 9}))


def test_a_job_never_shows_its_key(make_job: MakeJob) -> None:
    job = load_job(str(make_job({"a": {"en.srt": srt("One.")}})))
    assert job.key
    shown = repr(job) + str(job) + job.model_dump_json() + repr(job.key)
    assert job.key.text() not in shown
    assert repr(job.key.secret)[2:20] not in shown
