"""What a job's processes know of the newest versions of its signed lists."""

from pathlib import Path
from typing import Any

import pytest
from conftest import srt

from pipeline import lists
from pipeline.config import Job, load_job
from pipeline.store import Store

REVOKED, BLOCKED = "memory://lists-of-test/revoked.json", "memory://lists-of-test/blocklist.json"


@pytest.fixture
def job(make_job: Any) -> Job:
    lists.forget()
    keys = {"consent": {"revoked": REVOKED}, "blocklist": {"url": BLOCKED}}
    return load_job(str(make_job({"a": {"en.srt": srt("One.")}}, **keys)))


def noted(job: Job) -> Any:
    return Store(job.output).read_json("jobs/test/lists.json")


def test_a_version_that_another_process_noted_never_goes_down(job: Job) -> None:
    lists.saw(REVOKED, 1)
    lists.remember(job)
    Store(job.output).write("jobs/test/lists.json", b'{"%s": 2, "memory://other": 9}' % REVOKED.encode())
    lists.saw(BLOCKED, 5)
    lists.remember(job)
    assert noted(job) == {REVOKED: 2, BLOCKED: 5, "memory://other": 9}
    lists.reread()  # as it is done every 30 seconds
    assert lists.newest(REVOKED, job) == 2


def test_a_new_process_knows_what_was_noted(job: Job) -> None:
    lists.saw(BLOCKED, 5)
    lists.remember(job)
    lists.forget()
    assert (lists.newest(BLOCKED, job), lists.newest(REVOKED, job)) == (5, 0)


def test_nothing_is_written_where_nothing_is_news(job: Job) -> None:
    lists.remember(job)
    assert noted(job) is None
    lists.saw(BLOCKED, 5)
    lists.remember(job)
    file = Path(job.output) / "jobs/test/lists.json"
    before = file.stat().st_ino
    lists.saw(BLOCKED, 4)
    lists.remember(job)
    assert file.stat().st_ino == before


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"memory://lists-of-test/revoked.json": "2"}'])
def test_what_is_no_note_is_none(job: Job, damage: bytes) -> None:
    Store(job.output).write("jobs/test/lists.json", damage)
    assert lists.newest(REVOKED, job) == 0
    lists.saw(REVOKED, 1)
    lists.remember(job)
    assert noted(job) == {REVOKED: 1}
