"""The audit trail: what it holds, and every way to tamper with it."""

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import dub
from conftest import srt
from made import LINES

from pipeline.audit import Trail
from pipeline.config import load_job
from pipeline.run import run
from pipeline.store import Store, canonical

Tamper = Callable[[list[Path]], None]


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    trail = Trail(Store(str(tmp_path)), "night")
    for number in range(5):
        trail.add("run ended", "planned", delivered={"a/fr": str(number)}, refused=[])
    return trail


def paths(trail: Trail) -> list[Path]:
    return sorted(Path(trail.store.path(trail.folder)).iterdir())


def change(path: Path, **keys: Any) -> None:
    """Alter an entry and give the file the name that its new contents ask for."""
    data = canonical({**json.loads(path.read_bytes()), **keys}) + b"\n"
    path.unlink()
    path.with_name(f"{path.name[:8]}-{hashlib.sha256(data).hexdigest()[:16]}.json").write_bytes(data)


def test_a_trail_says_who_did_what_and_when(trail: Trail) -> None:
    entries = list(trail.entries())
    assert [entry["number"] for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry["previous"] for entry in entries[1:]] == [entry["hash"] for entry in entries[:-1]]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entries[0]["when"])
    assert re.fullmatch(r".+@.+", entries[0]["who"])
    assert entries[2]["about"]["delivered"] == {"a/fr": "2"}
    assert trail.faults() == []
    assert trail.faults(entries[-1]["hash"][:16]) == []


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (lambda p: p[2].write_bytes(p[2].read_bytes().replace(b"a/fr", b"b/fr")), "00000003-.*: altered"),
        (
            lambda p: change(p[2], what="nothing"),
            "00000004-.*: follows [0-9a-f]{16}, which is not what is there as number 3",
        ),
        (lambda p: change(p[2], number=4), "not an entry of this place"),
        (lambda p: change(p[2], job="day"), "not an entry of this place"),
        (lambda p: change(p[2], more=1), "not an entry of this place"),
        (lambda p: p[2].unlink(), "entry 3 is missing"),
        (lambda p: p[0].unlink(), "entry 1 is missing"),
        (lambda p: p[2].write_bytes(p[2].read_bytes()[:-20]), "00000003-.*: altered"),
        (lambda p: p[2].write_bytes(b""), "00000003-.*: altered"),
        (lambda p: (p[1].rename(p[1].with_suffix(".x")), p[2].rename(p[1])), "00000002-.*: altered"),
    ],
)
def test_tampering_shows(trail: Trail, tamper: Tamper, told: str) -> None:
    tamper(paths(trail))
    assert any(re.search(told, fault) for fault in trail.faults()), trail.faults()


def test_an_end_that_was_cut_off_shows_against_a_head_that_was_kept(trail: Trail) -> None:
    head = list(trail.entries())[-1]["hash"]
    paths(trail)[-1].unlink()
    assert trail.faults() == []  # a shorter chain is a chain
    assert ["cut off" in fault for fault in trail.faults(head)] == [True]


def test_a_forged_entry_at_the_end_does_not_follow(trail: Trail) -> None:
    last = paths(trail)[-1]
    forged = canonical({**json.loads(last.read_bytes()), "number": 6, "previous": "f" * 64}) + b"\n"
    last.with_name(f"00000006-{hashlib.sha256(forged).hexdigest()[:16]}.json").write_bytes(forged)
    assert any("00000006" in fault and "not what is there as number 5" in fault for fault in trail.faults())


def twin(path: Path) -> None:
    """Somebody puts another entry beside one, which follows what that follows."""
    data = canonical({**json.loads(path.read_bytes()), "who": "mallory@home"}) + b"\n"
    path.with_name(f"{path.name[:8]}-{hashlib.sha256(data).hexdigest()[:16]}.json").write_bytes(data)


def test_an_entry_put_in_beside_an_older_one_shows(trail: Trail) -> None:
    twin(paths(trail)[1])
    assert any("00000003" in fault and "as number 2" in fault for fault in trail.faults())


def test_an_entry_put_in_beside_the_last_shows_against_the_head(trail: Trail) -> None:
    head = trail.head()
    assert trail.faults(head) == []
    twin(paths(trail)[-1])
    trail.add("run ended")
    assert trail.faults() == []
    assert ["altered" in fault for fault in trail.faults(head)] == [True]


def test_what_is_no_entry_is_a_fault_and_shown_by_no_command(trail: Trail) -> None:
    paths(trail)[-1].with_name("00000006-0123456789abcdef.json").write_bytes(b"{}")
    assert "00000006" in str(trail.faults())
    assert len(list(trail.entries())) == 5


def test_an_entry_of_any_form_is_shown_with_all_that_it_says(make_job: Any) -> None:
    path = str(make_job({"a": {"en.srt": srt(LINES[0])}}))
    job = load_job(path)
    made = Trail(Store(job.output), "test")
    for about in ({"refused": [{}]}, {"refused": 5}, {"[/b]": "[red]forged[/red] \x1b[2K"}):
        made.add("run [ended]", **about)
    change(paths(made)[-1], when=5, who=["mallory"])
    told = dub("audit", "show", path)
    for shown in ("refused 5", "[/b] [red]forged[/red] \\x1b[2K", "['mallory']", "run [ended]"):
        assert shown in told


def test_a_link_into_nothing_is_told(make_job: Any) -> None:
    path = str(make_job({"a": {"en.srt": srt(LINES[0])}}))
    name = "jobs/test/audit/00000001-0123456789abcdef.json"
    link = Path(load_job(path).output) / name
    link.parent.mkdir(parents=True)
    link.symlink_to("nowhere")
    for command in ("show", "verify"):
        assert f"{name} does not exist" in dub("audit", command, path, code=2)


def test_two_runs_at_the_same_moment_are_no_fault(trail: Trail) -> None:
    twin(paths(trail)[-1])
    assert trail.faults() == []
    trail.add("run ended")
    assert trail.faults() == []
    assert len(list(trail.entries())) == 7


def test_an_entry_with_the_greatest_number_hides_none_that_come_later(trail: Trail) -> None:
    planted = canonical({**json.loads(paths(trail)[-1].read_bytes()), "number": 99999999}) + b"\n"
    path = paths(trail)[0].with_name(f"99999999-{hashlib.sha256(planted).hexdigest()[:16]}.json")
    path.write_bytes(planted)
    trail.add("run started")
    trail.add("run ended", delivered={"b/fr": "6"})
    assert [entry["number"] for entry in trail.entries()][-3:] == [99999999, 100000000, 100000001]
    assert any("entries 6 to 99999998 are missing" in fault for fault in trail.faults())
    path.unlink()
    assert [entry["number"] for entry in trail.entries()][-2:] == [100000000, 100000001]
    assert any("entries 6 to 99999999 are missing" in fault for fault in trail.faults())
    assert any("100000000-" in fault and "as number 99999999" in fault for fault in trail.faults())


@pytest.mark.parametrize(
    "name", ["note.txt", "00000006.json", "0000005-{}.json", "more/00000001-{}.json", "٠٠٠٠٠٠٠٦-{}.json"]
)
def test_a_file_in_the_folder_that_is_no_entry_is_a_fault(trail: Trail, name: str) -> None:
    path = paths(trail)[0].parent / name.format("0123456789abcdef")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"{}")
    assert [fault for fault in trail.faults() if "not an entry by its name" in fault and path.name in fault]
    assert len(list(trail.entries())) == 5


def test_an_entry_whose_number_is_written_longer_is_altered(trail: Trail) -> None:
    last = paths(trail)[-1]
    last.rename(last.with_name(f"0{last.name}"))
    assert any("altered, its name is not that of its contents" in fault for fault in trail.faults())


class Slow(Store):
    """A store that lets others write two entries before the first one of its own."""

    others: Trail | None = None

    def write(self, name: str, data: bytes, *, sync: bool = False) -> None:
        others, self.others = self.others, None
        if others:
            others.add("run started")
            others.add("run ended")
        super().write(name, data, sync=sync)


def test_an_entry_that_is_written_late_comes_to_the_end(trail: Trail) -> None:
    store = Slow(trail.store.url)
    store.others = trail
    head = Trail(store, "night").add("late")
    assert trail.faults() == []
    assert [entry["what"] for entry in trail.entries()][5:] == ["run started", "run ended", "late"]
    assert head == trail.head()


def test_an_empty_trail_and_one_in_object_storage_hold() -> None:
    trail = Trail(Store("memory://audit-test"), "night")
    assert (trail.faults(), list(trail.entries())) == ([], [])
    trail.add("run started")
    trail.add("run ended")
    assert trail.faults() == []


def test_a_job_leaves_a_trail_that_the_commands_read(make_job: Any, ray_session: None) -> None:
    path = make_job({"a": {"en.srt": srt(LINES[0])}, "b": {"en.srt": "nothing"}}, watermark="off")
    job = load_job(str(path))
    assert run(job).exit_code == 3
    started, ended = Trail(Store(job.output), "test").entries()
    assert (started["what"], ended["what"]) == ("run started", "run ended")
    assert started["about"] == {
        "watermark": "off", "consent": "on", "blocklist": "on", "rules": "on", "disclosure": "on",
        "tracks": ended["about"]["delivered"],
    }  # fmt: skip
    manifest = json.loads((path.parent / "out/a/en/manifest.json").read_text())
    assert ended["about"]["delivered"] == {"a/en": manifest["plan"]}
    assert [lost["title"] for lost in ended["about"]["refused"]] == ["b"]
    assert run(job).idle
    assert len(list(Trail(Store(job.output), "test").entries())) == 2  # a rerun that does nothing says nothing

    audit = partial(dub, "audit")
    assert ended["hash"] in audit("verify", str(path), "--head", ended["hash"])
    assert "watermark off" in audit("show", str(path))
    assert [json.loads(row)["number"] for row in audit("show", str(path), "--json").splitlines()] == [1, 2]
    assert "16 hexadecimal digits" in audit("verify", str(path), "--head", "x", code=2)
    next(path.parent.glob("out/jobs/test/audit/00000001-*")).unlink()
    assert "entry 1 is missing" in audit("verify", str(path), code=3)
