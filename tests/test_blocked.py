"""The blocklist in a job: at plan, while it speaks, when a track is written, after a newer list, and its commands."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cloning import OTHER, TEXT, cast, clip, heard, reasons
from commands import dub
from conftest import srt
from made import LINES, planned

pytest.importorskip("torch")

from pipeline import blocked, lists
from pipeline.assemble import assemble
from pipeline.cloning import refusal
from pipeline.config import load_job
from pipeline.engines.espeak import VARIANTS
from pipeline.parse import ConfigError
from pipeline.plan import engine
from pipeline.run import run
from pipeline.safety.blocklist import BlocklistError, Calibration, calibrate, draft, sign
from pipeline.signing import SigningKey
from pipeline.speak import speak
from pipeline.store import Store
from pipeline.voices.encoder import EMBEDDED, centre, open_encoder

KEY = SigningKey(bytes(range(32)))
listed = partial(dub, "blocklist")
Setting = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    lists.forget()
    blocked._parsed.clear()
    yield
    lists.forget()


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    """eSpeak's thirteen voices are cousins: the threshold is set between m7 and its next."""
    return replace(calibrate(open_encoder(EMBEDDED).id, heard(), 0.2), threshold=1.25, together=0.7)


@pytest.fixture(scope="module")
def spoken_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in ("anna.f2.wav", "tom.m7.wav"):
        clip(folder / name)
    return folder


@pytest.fixture
def write(tmp_path: Path, calibration: Calibration) -> Callable[..., None]:
    """Write the list of the job, with voices of eSpeak on it."""

    def make(*variants: str, version: int = 1, days: float = 30, key: SigningKey = KEY, **about: Any) -> None:
        people = {f"the person {v}": [centre(pieces) for pieces in heard()[v]] for v in variants}
        body = {"people": [], "vectors": "", "calibration": calibration.body()} if not people else draft(
            replace(calibration, **about), people
        )  # fmt: skip
        now = datetime.now(UTC)
        moments = [f"{when:%Y-%m-%dT%H:%M:%SZ}" for when in (now - timedelta(days=40), now + timedelta(days=days))]
        (tmp_path / "list.json").write_bytes(sign(body, key, version=version, issued=moments[0], expires=moments[1]))
        lists._kept.cache_clear()  # as it is done every 30 seconds

    return make


@pytest.fixture
def setting(tmp_path: Path, spoken_clips: Path) -> Setting:
    """Keys of a job that clones anna (f2) and tom (m7), under a list."""

    def make(**about: Any) -> dict[str, Any]:
        for name in ("anna.f2.wav", "tom.m7.wav"):
            shutil.copy(spoken_clips / name, tmp_path / name)
        voices = {"anna": {"clip": "anna.f2.wav"}, "tom": {"clip": "tom.m7.wav"}}
        return {
            "engine": {"name": "cloning:Cloning", "options": {"voices": voices}}, "default_voice": None,
            "consent": "off", "blocklist": {"url": "list.json", "issuers": [KEY.public], **about},
        }  # fmt: skip

    return make


def test_a_job_delivers_free_voices_and_refuses_a_blocked_one(
    make_job: Any, setting: Setting, write: Any, ray_session: None
) -> None:
    write("m7", version=5)
    path = make_job({name: {"en.srt": srt(*LINES)} for name in "ab"}, titles=cast(a="anna", b="tom"), **setting())
    summary = run(load_job(str(path)))
    assert summary.exit_code == 3
    assert {t["title"]: t["state"] for t in summary.tracks} == {"a": "delivered", "b": "refused"}
    (row,) = summary.failed
    assert "found the voice of 'the person m7', which is blocked" in row["found"]
    out = path.parent / "out"
    assert {p.name for p in out.iterdir()} - {".tmp"} == {"a", "takes", "jobs"}
    manifest = json.loads((out / "a/en/manifest.json").read_text())
    assert manifest["blocklist"]["version"] == 5
    assert manifest["blocklist"]["people"] == 1
    assert list(manifest["takes_heard"].values()) == [3]
    assert list(json.loads((out / "jobs/test/lists.json").read_text()).values()) == [5]
    assert run(load_job(str(path))).idle


def test_a_list_that_names_somebody_meanwhile_stops_what_is_not_spoken_and_not_written(
    make_job: Any, setting: Setting, write: Any
) -> None:
    write("m1")
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="tom"), **setting())
    job, track = planned(path)
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    say = partial(speak, engine=engine(job), store=Store(job.output), refusal=partial(refusal, job))
    assert not any(outcome.error for outcome in say(chunks[:-1]))
    write("m1", "m7", version=2)
    (outcome,) = say(chunks[-1:])
    assert "found the voice of 'the person m7'" in outcome.error
    with pytest.raises(BlocklistError) as told:
        assemble(job, track, {chunks[-1].key: outcome.error}, Store(job.output))
    assert told.value.reason == "blocked"
    assert not list(Path(job.output).glob("a/**/*"))


def test_takes_that_sound_like_a_blocked_voice_are_refused_and_deleted(
    make_job: Any, setting: Setting, write: Any, tmp_path: Path
) -> None:
    """Whatever the reference is: here the engine speaks with another voice than the clip's."""
    write("m7")
    keys = setting()
    shutil.copy(tmp_path / "anna.f2.wav", tmp_path / "harmless.m7.wav")
    keys["engine"]["options"]["voices"]["tom"]["clip"] = "harmless.m7.wav"
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="tom"), **keys)
    job, track = planned(path)
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    assert not any(o.error for o in speak(chunks, engine(job), Store(job.output), partial(refusal, job)))
    with pytest.raises(BlocklistError, match="takes of the voice 'tom': found the voice of 'the person m7'"):
        assemble(job, track, {}, Store(job.output))
    assert not list(Path(job.output).glob("a/**/*"))
    assert not list(Path(job.output).glob("takes/*/*.flac"))


SHORT = ("Yes.", "No.", "Go.", "I do.", "Come.", "Why?", "Stop.", "We can.", "It is.", "Now.")


def test_a_sample_that_holds_too_little_speech_is_made_larger(
    make_job: Any, setting: Setting, write: Any, tmp_path: Path
) -> None:
    write("m7")
    keys = setting(sample=1)
    path = make_job({"a": {"en.srt": srt(*SHORT)}}, titles=cast(a="anna"), **keys)
    job, track = planned(path)
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    voice, store = chunks[0].voice, Store(job.output)
    assert not any(o.error for o in speak(chunks, engine(job), store, partial(refusal, job)))
    assert 1 < blocked.check_takes(job, voice, chunks, store) < len(chunks)
    assert blocked.check_takes(job, voice, chunks[:1], store) == 0  # there is no more

    shutil.copy(tmp_path / "anna.f2.wav", tmp_path / "harmless.m7.wav")
    keys["engine"]["options"]["voices"]["tom"]["clip"] = "harmless.m7.wav"
    job, track = planned(make_job({"a": {"en.srt": srt(*SHORT)}}, titles=cast(a="tom"), **keys))
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    assert not any(o.error for o in speak(chunks, engine(job), store, partial(refusal, job)))
    with pytest.raises(BlocklistError, match="takes of the voice 'tom': found the voice of 'the person m7'"):
        assemble(job, track, {}, store)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"days": -1.0}, "expired"),
        ({"key": SigningKey(bytes(32))}, "untrusted"),
        ({"encoder": "wavlm/0123456789abcdef"}, "encoder"),
    ],
)
def test_a_list_that_cannot_be_relied_on_refuses(
    make_job: Any, setting: Setting, write: Any, how: dict[str, Any], reason: str
) -> None:
    write("m1", **how)
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **setting())
    assert f"(title 'a', {reason})" in reasons(path)["a"]


def test_a_list_that_is_gone_or_damaged_refuses(make_job: Any, setting: Setting, write: Any, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **setting())
    assert "(title 'a', missing)" in reasons(path)["a"]
    write("m1")
    data = (tmp_path / "list.json").read_bytes()
    (tmp_path / "list.json").write_bytes(data.replace(b"the person m1", b"the person m2"))
    assert "(title 'a', altered)" in reasons(path)["a"]
    (tmp_path / "list.json").write_bytes(data[:1000])
    lists._kept.cache_clear()
    assert "(title 'a', malformed)" in reasons(path)["a"]


def test_an_older_list_refuses_in_this_process_and_after_a_restart(
    make_job: Any, setting: Setting, write: Any, ray_session: None
) -> None:
    write("m1", version=7)
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **setting())
    assert run(load_job(str(path))).exit_code == 0
    write("m1", version=6)
    assert "(title 'a', older)" in reasons(path)["a"]
    lists.forget()  # a new process
    summary = run(load_job(str(path)))
    assert "version 6, version 7 was seen before" in summary.failed[0]["found"]


def test_a_job_that_clones_without_a_list_is_refused_and_off_is_written_down(make_job: Any, setting: Setting) -> None:
    script, titles = {"a": {"en.srt": srt(*LINES)}}, cast(a="anna")
    keys = setting()
    del keys["blocklist"]
    assert "expected blocklist.url, or blocklist: off" in reasons(make_job(script, titles=titles, **keys))["a"]
    job, track = planned(make_job(script, titles=titles, **keys, blocklist="off"))
    list(speak([c for u in track.utterances for c in u.chunks], engine(job), Store(job.output), partial(refusal, job)))
    assemble(job, track, {}, Store(job.output))
    assert json.loads((Path(job.output) / "a/en/manifest.json").read_text())["blocklist"] == "off"


def test_a_faulty_clip_is_refused_with_the_measured_value_unless_it_is_accepted(
    make_job: Any, setting: Setting, write: Any, tmp_path: Path
) -> None:
    import soundfile

    write("m1")
    keys = setting()
    samples, rate = soundfile.read(tmp_path / "anna.f2.wav", dtype="float32")
    soundfile.write(tmp_path / "anna.f2.wav", samples * 0.005, rate, subtype="FLOAT")
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **keys)
    assert "anna.f2.wav: found speech at -" in reasons(path)["a"]
    assert "expected at least -45 dBFS" in reasons(path)["a"]
    keys["engine"]["options"]["voices"]["anna"]["accept"] = ["quiet"]
    assert not reasons(make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **keys))["a"]


def test_an_unknown_encoder_is_an_error_of_the_job_file(make_job: Any, setting: Setting) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}}, titles=cast(a="anna"), **setting(encoder="ears"))
    with pytest.raises(ConfigError, match=r"blocklist\.encoder: found the encoder 'ears'"):
        reasons(path)


def test_the_commands_from_the_recordings_to_the_list(tmp_path: Path) -> None:
    speakers, people = tmp_path / "speakers", tmp_path / "people"
    for variant in VARIANTS:
        (speakers / variant).mkdir(parents=True)
        for n, text in enumerate((TEXT, OTHER)):
            clip(speakers / variant / f"{n}.{variant}.wav", text)
    (people / "somebody").mkdir(parents=True)
    shutil.copy(speakers / "m7" / "0.m7.wav", people / "somebody")
    measured, drafted, signed = (str(tmp_path / name) for name in ("c.json", "d.json", "l.json"))
    assert "13 speakers, 26 clips, 312 pairs" in listed("calibrate", str(speakers), measured, "--rate", "0.05")
    assert "for a rate of 0.001" in listed("calibrate", str(speakers), f"{measured}2", code=2)
    assert "1 people drafted" in listed("build", str(people), drafted, "--calibration", measured)
    KEY.write(tmp_path / "key")
    assert "version 1" in listed("sign", drafted, signed, "--key", str(tmp_path / "key"))
    assert "version 2" in listed("sign", drafted, signed, "--key", str(tmp_path / "key"), "--days", "3")
    assert "1 people" in listed("verify", signed, "--issuer", KEY.public)
    assert "refused (untrusted)" in listed("verify", signed, "--issuer", SigningKey(bytes(32)).public, code=3)
    trusted = ["--issuer", KEY.public]
    assert "free" in listed("test", signed, str(speakers / "f1" / "1.f1.wav"), *trusted)
    assert "found the voice of 'somebody'" in listed(
        "test", signed, str(speakers / "m7" / "0.m7.wav"), *trusted, code=3
    )
    assert "refused" in listed("test", signed, str(tmp_path / "c.json"), *trusted, code=3)
    assert "nothing is overwritten" in listed("build", str(people), drafted, "--calibration", measured, code=2)
    assert "found no recordings" in listed(
        "build", str(tmp_path / "none"), f"{drafted}2", "--calibration", measured, code=2
    )
    assert "--calibration: " in listed("build", str(people), f"{drafted}2", "--calibration", signed, code=2)
    assert "found no file" in listed("verify", f"{signed}2", *trusted, code=2)
