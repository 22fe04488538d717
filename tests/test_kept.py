"""What a run that was killed had spoken, and what of it goes when its tracks are refused later."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cloning import cast, clip
from conftest import srt
from made import LINES

from pipeline import kept, lists
from pipeline.assemble import assemble
from pipeline.catalogue import read_catalogue
from pipeline.config import Job, load_job
from pipeline.plan import engine, plan
from pipeline.run import run
from pipeline.safety.override import Override
from pipeline.signing import SigningKey
from pipeline.speak import speak
from pipeline.store import Store
from pipeline.survey import SCHEMA, survey
from pipeline.voices.consent import read_consent, revoke

KEY = SigningKey(bytes(range(32)))
WHEN = "2026-11-24T12:00:00Z"
SCAM = (
    "Grandma, it's me. I had an accident with the car.", "They put me in jail.",
    "Please send the bail money right now.", "And don't tell Dad.",
)  # fmt: skip
Spoken = Callable[[Path], Job]


@pytest.fixture
def cloned(tmp_path: Path) -> dict[str, Any]:
    """Keys of a job that clones anna, with her consent and an empty list of revocations."""
    sound = clip(tmp_path / "anna.f2.wav")
    body = {
        "voice": "anna", "subject": "anna", "granted_by": "anna", "purposes": ["dubbing"], "languages": ["en"],
        "titles": ["*"], "not_before": "2020-01-01T00:00:00Z", "not_after": "2120-01-01T00:00:00Z",
        "clips": [hashlib.sha256(sound.read_bytes()).hexdigest()], "statement": "c" * 64, "phrase": "Yes. 4",
    }  # fmt: skip
    (tmp_path / "anna.json").write_bytes(KEY.sign("consent", body))
    (tmp_path / "revoked.json").write_bytes(revoke(None, KEY, [], "", WHEN))
    voices = {"anna": {"clip": sound.name, "consent": "anna.json"}}
    return {
        "engine": {"name": "cloning:Cloning", "options": {"voices": voices}}, "default_voice": None,
        "consent": {"issuers": [KEY.public], "revoked": "revoked.json"}, "blocklist": "off",
    }  # fmt: skip


@pytest.fixture
def spoken(tmp_path: Path) -> Spoken:
    """Leave what a run of a job leaves that was killed when all was spoken."""

    def make(path: Path) -> Job:
        job = load_job(str(path))
        store, titles, rows = Store(job.output), read_catalogue(job), tmp_path / "rows"
        list(survey(job, titles, store, rows))
        kept.keep_plan(job, store, rows, SCHEMA.empty_table())
        for track in plan(job, titles):
            assert not track.errors
            list(speak([chunk for u in track.utterances for chunk in u.chunks], engine(job), store))
        lists.forget()
        return job

    return make


def takes(folder: Path) -> int:
    return len(list(folder.glob("out/takes/*/*.flac")))


def withdraw_consent(folder: Path) -> None:
    record = read_consent((folder / "anna.json").read_bytes(), [KEY.public], 1.8e9)
    old = (folder / "revoked.json").read_bytes()
    (folder / "revoked.json").write_bytes(revoke(old, KEY, [record.id], "withdrawn", WHEN))
    lists.reread()


def cleared(path: Path, folder: Path) -> bool:
    """What a run does at its start with what earlier ones left: whether any takes had to go."""
    job, rows = load_job(str(path)), folder / "rows"
    store = Store(job.output)
    left, gone = kept.clear(job, store, list(survey(job, read_catalogue(job), store, rows)), rows)
    kept.keep_plan(job, store, rows, left)
    return gone


def test_takes_of_a_voice_that_was_revoked_after_a_run_was_killed_go(
    make_job: Any, cloned: dict[str, Any], spoken: Spoken, tmp_path: Path
) -> None:
    job = spoken(make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **cloned))
    assert takes(tmp_path) == len(LINES)
    withdraw_consent(tmp_path)
    summary = run(job)
    assert ([t["state"] for t in summary.tracks], summary.idle) == (["refused"], False)
    assert takes(tmp_path) == 0
    assert run(job).idle


def test_takes_of_a_voice_that_the_title_is_not_cast_with_any_more_go_as_well(
    make_job: Any, cloned: dict[str, Any], spoken: Spoken, tmp_path: Path
) -> None:
    clip(tmp_path / "tom.m3.wav")
    cloned["engine"]["options"]["voices"]["tom"] = {"clip": "tom.m3.wav", "consent": "tom.json"}
    body = json.loads((tmp_path / "anna.json").read_bytes())["body"]
    sound = hashlib.sha256((tmp_path / "tom.m3.wav").read_bytes()).hexdigest()
    (tmp_path / "tom.json").write_bytes(KEY.sign("consent", {**body, "voice": "tom", "clips": [sound]}))
    script = {"a": {"en.srt": srt(*LINES)}}
    spoken(make_job(script, titles=cast(a="anna"), **cloned))
    assert not cleared(make_job(script, titles=cast(a="tom"), **cloned), tmp_path)
    assert takes(tmp_path) == len(LINES)
    withdraw_consent(tmp_path)
    assert cleared(tmp_path / "job.yaml", tmp_path)
    assert takes(tmp_path) == 0


def test_takes_stay_while_the_list_cannot_be_read_and_go_when_it_says_so(
    make_job: Any, cloned: dict[str, Any], spoken: Spoken, tmp_path: Path
) -> None:
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **cloned)
    spoken(path)
    list_of_revoked = (tmp_path / "revoked.json").read_bytes()
    (tmp_path / "revoked.json").unlink()
    assert not cleared(path, tmp_path)
    assert takes(tmp_path) == len(LINES)
    (tmp_path / "revoked.json").write_bytes(list_of_revoked)
    lists.forget()
    withdraw_consent(tmp_path)
    assert cleared(path, tmp_path)
    assert takes(tmp_path) == 0


def test_takes_of_a_delivered_track_stay(make_job: Any, cloned: dict[str, Any], spoken: Spoken, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt(*LINES)}}, titles=cast(a="anna"), **cloned)
    job = spoken(path)
    (track,) = plan(job, read_catalogue(job))
    assemble(job, track, {}, Store(job.output))
    withdraw_consent(tmp_path)
    assert not cleared(path, tmp_path)
    assert takes(tmp_path) == len(LINES)


def test_takes_of_a_text_that_is_forbidden_now_go_but_for_those_of_allowed_tracks(
    make_job: Any, spoken: Spoken, tmp_path: Path
) -> None:
    scripts = {"a": {"en.srt": srt(*SCAM, "The lamp is out.")}, "b": {"en.srt": srt("The lamp is out.", span=2.5)}}
    spoken(make_job(scripts, rules="off"))
    before = takes(tmp_path)
    path = make_job(scripts)
    assert cleared(path, tmp_path)
    assert (before, takes(tmp_path)) == (5, 1)
    assert pq.read_table(tmp_path / "out/jobs/test/plan.parquet")["track"].unique().to_pylist() == ["b/en"]
    assert not cleared(path, tmp_path)


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_a_plan_that_cannot_be_read_is_none(make_job: Any, tmp_path: Path, damage: bytes | None) -> None:
    job = load_job(str(make_job({"a": {"en.srt": srt(*SCAM)}})))
    if damage is not None:
        Store(job.output).write("jobs/test/plan.parquet", damage)
    assert [t["state"] for t in run(job).tracks] == ["refused"]


def test_takes_of_a_text_whose_override_goes_while_the_job_runs_go(
    make_job: Any, spoken: Spoken, tmp_path: Path, ray_session: None
) -> None:
    script, until = srt(*SCAM), "2120-01-01T00:00:00Z"
    rules = ("en.relative-in-distress", "en.impersonation")
    sha256 = hashlib.sha256(script.encode()).hexdigest()
    override = Override(script=sha256, rules=rules, reviewer="r", why="w", not_after=until).sign(KEY)
    (tmp_path / "override.json").write_bytes(override)
    keys = {"rules": {"reviewers": [KEY.public], "overrides": ["override.json"]}}
    job = spoken(make_job({"a": {"en.srt": script}}, **keys))
    assert takes(tmp_path) == len(SCAM)

    def watch(progress: Any) -> None:
        (tmp_path / "override.json").unlink(missing_ok=True)  # the track is planned

    summary = run(job, watch=watch)
    assert "en.relative-in-distress" in summary.failed[0]["found"]
    assert takes(tmp_path) == 0
