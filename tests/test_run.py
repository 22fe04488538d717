"""Whole runs on a real Ray: what is delivered, what is listed, what is left alone."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeJob, srt

from pipeline.audit import Trail
from pipeline.config import Job, load_job
from pipeline.lock import Lock
from pipeline.parse import ConfigError
from pipeline.record import Summary
from pipeline.run import run
from pipeline.store import Store

pytestmark = pytest.mark.usefixtures("ray_session")


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file below a folder -> its SHA-256 and time of change."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in paths
    }


def go(path: Path) -> tuple[Job, Summary]:
    job = load_job(str(path))
    return job, run(job)


def check_manifests(output: Path) -> list[dict[str, Any]]:
    """Every manifest names only files that are there, whole."""
    manifests = []
    for path in output.glob("*/*/manifest.json"):
        manifest = json.loads(path.read_text())
        for file in manifest["files"]:
            data = (path.parent / file["name"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        manifests.append(manifest)
    return manifests


def test_a_rerun_is_a_no_op_and_an_edited_line_costs_one_line(make_job: MakeJob, tmp_path: Path) -> None:
    scripts = {
        "a": {"fr.srt": srt("Bonjour.", "Il pleut.", "Au revoir."), "de.srt": srt("Guten Tag.", "Es regnet.")},
        "b": {"fr.srt": srt("Bonjour.", "Merci.")},
    }
    _, first = go(make_job(scripts))
    assert first.exit_code == 0
    assert first.spoken == 6  # "Bonjour." is shared by two titles
    before = files(tmp_path / "out")
    assert len(check_manifests(tmp_path / "out")) == 3

    _, second = go(tmp_path / "job.yaml")
    assert (second.idle, second.spoken, second.exit_code) == (True, 0, 0)
    assert files(tmp_path / "out") == before

    scripts["a"]["fr.srt"] = srt("Bonjour.", "Il neige.", "Au revoir.")
    _, third = go(make_job(scripts))
    assert third.spoken == 1
    after = files(tmp_path / "out")
    changed = {name for name in after if after[name] != before.get(name)}
    takes = {name for name in changed if name.startswith("takes/")}
    assert len(takes) == 1
    assert {name.split("/dub")[0].rsplit("/", 1)[0] for name in changed if name.startswith(("a/", "b/"))} <= {
        "a/fr",
        "a",
    }
    assert all(name.startswith(("a/fr/", "takes/", "jobs/")) for name in changed)
    check_manifests(tmp_path / "out")


def test_the_faults_of_a_catalogue_stay_with_their_titles(make_job: MakeJob, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    sound = {f"t{n}": {"en.srt": srt(f"This is title {n}.", "It is sound.")} for n in range(6)}
    broken: dict[str, dict[str, str | bytes]] = {
        "binary": {"en.srt": bytes(range(256)) * 50, "fr.srt": srt("Tout va bien.")},
        "empty": {"en.srt": "", "fr.srt": srt("Tout va bien.")},
        "deadly": {"en.srt": srt("A fine line.", "POISON in this line.", "Another fine line.")},
        "foreign": {"xx.srt": srt("Blah."), "fr.srt": srt("Tout va bien.")},
    }
    engine = {"name": "faulty:Faulty", "options": {"log": str(log)}}
    _, summary = go(make_job({**sound, **broken}, engine=engine))
    assert summary.exit_code == 3
    states = {(row["title"], row["language"]): row["state"] for row in summary.tracks}
    assert all(states[title, "en"] == "delivered" for title in sound)
    assert [states[title, "fr"] for title in ("binary", "empty", "foreign")] == ["delivered"] * 3
    assert states["deadly", "en"] == "partial"
    assert [states[key] for key in (("binary", "en"), ("empty", "en"), ("foreign", "xx"))] == ["refused"] * 3

    failed = [json.loads(line) for line in (tmp_path / "out/jobs/test/failed.jsonl").read_text().splitlines()]
    assert [(row["title"], row["language"], row["stage"]) for row in failed] == [
        ("binary", "en", "plan"),
        ("empty", "en", "plan"),
        ("deadly", "en", "speak"),
        ("foreign", "xx", "plan"),
    ]
    deadly = failed[2]
    assert deadly["text"] == "POISON in this line."
    assert (Path(deadly["file"]).name, deadly["line"]) == ("deadly.en.srt", 6)
    assert "died each of the 3 times" in deadly["found"]
    tries = sum(path.read_text().count("POISON") for path in log.iterdir())
    assert tries == 3
    manifests = {(m["title"], m["language"]): m for m in check_manifests(tmp_path / "out")}
    assert [lost["text"] for lost in manifests["deadly", "en"]["missing"]] == ["POISON in this line."]
    report = json.loads((tmp_path / "out/deadly/en/report.json").read_text())
    assert [bool(row["spoken"]) for row in report["utterances"]] == [True, False, True]

    # Tried again, the same line fails in the same way, and nothing is written anew but that it was tried.
    before = files(tmp_path / "out")
    _, again = go(tmp_path / "job.yaml")
    assert again.exit_code == 3
    after = files(tmp_path / "out")
    anew = {name for name in after if after[name] != before.get(name) and not name.startswith("jobs/test/audit/")}
    assert anew <= {"jobs/test/plan.parquet"}


def test_damaged_files_of_a_run_are_written_anew(make_job: MakeJob, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt("One.")}})
    go(path)
    before = files(tmp_path / "out")
    manifest = tmp_path / "out/a/en/manifest.json"
    for name, data in (
        ("jobs/test/summary.json", "[1]"),
        ("jobs/test/summary.json", '{"tracks": [{}]}'),
        ("jobs/test/lock.json", "[1]"),
        ("a/en/manifest.json", json.dumps({**json.loads(manifest.read_text()), "missing": 5})),
        ("a/en/manifest.json", json.dumps({**json.loads(manifest.read_text()), "missing": [{}]})),
    ):
        (tmp_path / "out" / name).write_text(data)
        assert go(path)[1].exit_code == 0
        assert files(tmp_path / "out").keys() >= before.keys()
        assert check_manifests(tmp_path / "out")[0]["missing"] == []


def test_a_delivery_that_a_killed_run_did_not_enter_is_entered_by_the_next(make_job: MakeJob, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt("One.")}})
    job, _ = go(path)
    ended = sorted((tmp_path / "out/jobs/test/audit").iterdir())[-1]
    ended.unlink()  # as if it had been killed just before
    assert not go(path)[1].idle
    *_, last = Trail(Store(job.output), "test").entries()
    manifest = json.loads((tmp_path / "out/a/en/manifest.json").read_text())
    assert last["about"]["delivered"] == {"a/en": manifest["plan"]}
    assert go(path)[1].idle


def test_deliveries_of_a_killed_run_are_entered_whatever_the_next_ones_are_about(
    make_job: MakeJob, tmp_path: Path
) -> None:
    scripts = {name: {"en.srt": srt(f"This is {name}.")} for name in "abc"}
    job, _ = go(make_job(scripts))
    trail = Trail(Store(job.output), "test")

    def kill() -> None:
        """As if the last run had been killed just before it ended."""
        ended = sorted((tmp_path / "out/jobs/test/audit").iterdir())[-1]
        assert json.loads(ended.read_text())["what"] == "run ended"
        ended.unlink()

    def delivered() -> list[list[str]]:
        return [sorted(entry["about"].get("delivered", {})) for entry in trail.entries()]

    kill()
    go(make_job({"a": scripts["a"]}))  # nothing to do, and two titles fewer
    assert delivered() == [[], ["a/en", "b/en", "c/en"]]
    kill()
    go(make_job({"d": {"en.srt": srt("This is d.")}}))  # other work
    kill()
    go(make_job(scripts))
    assert delivered() == [[], ["a/en", "b/en", "c/en"], ["d/en"]]
    assert go(make_job(scripts))[1].idle
    assert trail.faults() == []


def test_two_jobs_do_not_make_one_track_at_the_same_time(make_job: MakeJob, tmp_path: Path) -> None:
    scripts = {name: {"en.srt": srt(f"This is {name}.")} for name in "ab"}
    job = load_job(str(make_job(scripts)))
    store = Store(job.output)
    other = Trail(store, "other")
    with Lock(store, "other"):
        other.add("run started", tracks={"b/en": "0" * 64, "c/en": "0" * 64})
        with pytest.raises(ConfigError, match=f"the track b/en in {job.output} made by two jobs, 'test' and 'other'"):
            run(job)
        assert not list((tmp_path / "out").glob("takes/*/*"))
        assert go(make_job({"a": scripts["a"]}))[1].exit_code == 0  # another track
    assert go(make_job(scripts))[1].exit_code == 0  # the other one was killed, or has ended


def test_a_damaged_manifest_is_made_anew(make_job: MakeJob, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt("One.")}})
    go(path)
    manifest = tmp_path / "out/a/en/manifest.json"
    for damage in ('{"plan": "x", "files": [{}]}', '{"files": 3}', "[]"):
        manifest.write_text(damage)
        assert go(path)[1].exit_code == 0
        assert "files" in json.loads(manifest.read_text())


@pytest.mark.parametrize(
    ("word", "reason"),
    [("RAISE", "RuntimeError: the engine is unwell"), ("EXIT", "SystemExit: 3"), ("MUTE", "the engine gave silence")],
)
def test_an_engine_that_fails_on_a_line_loses_that_line_only(
    make_job: MakeJob, tmp_path: Path, word: str, reason: str
) -> None:
    path = make_job({"a": {"en.srt": srt("One.", f"Two {word}.", "Three.")}}, engine="faulty:Faulty")
    _, summary = go(path)
    assert [(row["found"], row["line"]) for row in summary.failed] == [(reason, 6)]
    report = json.loads((tmp_path / "out/a/en/report.json").read_text())
    assert [bool(row["spoken"]) for row in report["utterances"]] == [True, False, True]


def test_a_damaged_take_is_spoken_again(make_job: MakeJob, tmp_path: Path) -> None:
    path = make_job({"a": {"en.srt": srt("One.", "Two.")}})
    go(path)
    before = {name: content for name, (content, _) in files(tmp_path / "out").items()}
    take = next((tmp_path / "out/takes").rglob("*.flac"))
    take.write_bytes(take.read_bytes()[:-40])
    (tmp_path / "out/a/en/manifest.json").unlink()
    _, summary = go(path)
    assert (summary.exit_code, summary.spoken) == (0, 1)
    after = {name: content for name, (content, _) in files(tmp_path / "out").items()}
    assert {n: c for n, c in after.items() if not n.startswith("jobs/")} == {
        n: c for n, c in before.items() if not n.startswith("jobs/")
    }


def test_tracks_are_finished_while_others_are_still_spoken(make_job: MakeJob, tmp_path: Path) -> None:
    titles = {f"t{n}": {"en.srt": srt(*(f"Title {n}, line {k}." for k in range(25)))} for n in range(12)}
    engine = {"name": "faulty:Faulty", "options": {"pause": 0.05}}
    path = make_job(titles, speak={"batch": 1.0, "replicas": 1}, engine=engine)
    seen = []
    run(load_job(str(path)), watch=lambda p: seen.append((p.tracks_done, p.takes_done, p.takes)))
    assert any(0 < done < 12 and takes < total for done, takes, total in seen)
