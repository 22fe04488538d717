"""The commands as a person meets them: good and wrong input, interruption, output for eyes and for machines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import commands
import pytest
import typer
from conftest import MakeJob, srt

from pipeline.guard import guarded

DUB = str(Path(sys.executable).with_name("dub"))


def dub(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([DUB, *arguments], capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def test_languages_are_listed_for_people_and_machines() -> None:
    assert "Swahili" in dub("languages").stdout
    facts = json.loads(dub("languages", "--json").stdout)
    assert len(facts["languages"]) > 100
    assert len(set(facts["voices"])) == len(facts["voices"]) > 12


def test_a_plan_tells_what_would_be_done_and_writes_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job({"a": {"fr.srt": srt("Bonjour.", "Bonjour.", "Au revoir."), "xx.srt": srt("Blah.")}})
    done = dub("plan", str(job))
    assert done.returncode == 3
    assert "1 titles, 2 tracks (1 todo, 1 refused); 3 lines, 2 takes and 1 duplicates" in done.stdout
    assert "found language 'xx' in title 'a', expected one that the engine espeak speaks" in done.stdout
    facts = json.loads(dub("plan", str(job), "--json").stdout)
    assert (facts["takes"], facts["duplicates"]) == (2, 1)
    assert {track["language"]: track["state"] for track in facts["tracks"]} == {"fr": "todo", "xx": "refused"}
    assert not (tmp_path / "out").exists()


def test_predicted_overruns_are_counted(make_job: MakeJob) -> None:
    long = "This sentence is far too long to be spoken in the half second that its cue gives to it, as anyone can see."
    job = make_job({"a": {"en.srt": srt(long, "Next.", span=0.5, gap=0.1)}})
    track = json.loads(dub("plan", str(job), "--json").stdout)["tracks"][0]
    assert track["overruns"] == 1
    assert 1 < track["overrun_seconds"] < 8


def test_a_run_reports_as_json_and_status_and_failed_agree(make_job: MakeJob) -> None:
    damaged = srt("Bonjour.", "Au revoir.") + "\n3\n00:00:xx,000 --> 00:00:20,000\nPerdu.\n"
    job = str(make_job({"a": {"fr.srt": damaged, "de.srt": srt("Guten Tag.")}}))
    assert "0 of 2 tracks delivered" in dub("status", job).stdout
    done = dub("run", job, "--json")
    assert done.returncode == 3
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events} == {"progress", "summary"}
    assert {track["language"]: track["state"] for track in events[-1]["tracks"]} == {"fr": "partial", "de": "delivered"}
    assert [track["figures"]["truncations"] for track in events[-1]["tracks"]] == [0, 0]
    status = json.loads(dub("status", job, "--json").stdout)
    assert (status["delivered"], status["todo"], status["running"]) == (2, [], None)
    rows = [json.loads(line) for line in dub("failed", job, "--json").stdout.splitlines()]
    assert [(Path(row["file"]).name, row["line"]) for row in rows] == [("a.fr.srt", 10)]
    again = dub("run", job)
    assert again.returncode == 3
    assert "Nothing to do: 1 delivered, 1 partial" in again.stdout


def test_damaged_files_of_a_run_are_told_or_passed_over(make_job: MakeJob, tmp_path: Path) -> None:
    job = str(make_job({"a": {"fr.srt": srt("Bonjour.")}}))
    for name, data in {
        "jobs/test/lock.json": "[1]",
        "a/fr/manifest.json": '{"files": [{"name": [], "bytes": 1}]}',
        "jobs/test/failed.jsonl": '{"stage":"s", "title":"a", "language":"fr", "found": "\u2028", "expected": "x"}\n',
    }.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(data)
    assert "0 of 1 tracks delivered, 0 refused, 0 takes in the store; not running" in commands.dub("status", job)
    assert "a/fr s: track: found \u2028, expected x" in commands.dub("failed", job, code=3)
    for data, told in (("{}", "without stage, title"), ("5", "without stage"), ('{"a', "found Unterminated string")):
        (tmp_path / "out/jobs/test/failed.jsonl").write_text(data)
        for more in ([], ["--json"]):
            found = commands.dub("failed", job, *more, code=2)
            assert "failed.jsonl:1: found " in found
            assert told in found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "job.yaml: found no such file, expected a job file"),
        ("name: [", "expected YAML"),
        ("- a", "found list, expected a mapping with name, catalogue and output"),
        ("name: a\ncatalogue: c.yaml\noutput: o\nloudnes: -16", "loudnes: found an unknown key, expected one of"),
        ("name: a\ncatalogue: c.yaml\noutput: o\ndelivery: {rate: fast}", "delivery.rate: found 'fast'"),
        ("name: a\ncatalogue: c.yaml\noutput: o", "c.yaml: found no such file, expected the catalogue"),
        ("name: a/b\ncatalogue: c.yaml\noutput: o", "name: found 'a/b', expected a name"),
        ("name: a\ncatalogue: gopher://c\noutput: o", "gopher"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run", "status"])
def test_wrong_job_files_are_named(tmp_path: Path, command: str, content: str | None, message: str) -> None:
    path = tmp_path / "job.yaml"
    if content is not None:
        path.write_text(content)
    done = dub(command, str(path))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"engine": "siri"}, "engine: found 'siri', expected one of espeak, higgs, openai or package.module:Class"),
        ({"engine": {"name": "espeak", "options": {"speed": 2}}}, "does not take these options"),
        ({"delivery": {"format": "opus", "rate": 44100}}, "delivery.rate: opus takes"),
        ({"speak": {"cpus": 4096}}, "speak.cpus: found 4096 for a replica, expected at most"),
        ({"speak": {"gpus": 4096}}, "speak.gpus: found 4096 for a replica, expected at most"),
        (
            {"engine": {"name": "faulty:Faulty", "options": {"broken": "no weights here"}}},
            "engine: 'faulty:Faulty' cannot be loaded on a worker: no weights here",
        ),
        ({"output": "/proc/nothing/here"}, "/proc/nothing/here"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(make_job: MakeJob, keys: dict, message: str) -> None:
    done = dub("run", str(make_job({"a": {"fr.srt": srt("Bonjour.")}}, **keys)))
    assert done.returncode == 2
    assert message in done.stderr


def test_a_cluster_that_is_not_there_is_named(make_job: MakeJob) -> None:
    done = dub("run", str(make_job({"a": {"fr.srt": srt("Bonjour.")}})), "--address", "nonsense://x")
    assert done.returncode == 2
    assert "--address: found 'nonsense://x'" in done.stderr


def test_wrong_options_are_named() -> None:
    for arguments in (["run"], ["run", "a", "--speed"], ["dance"], ["languages", "--engine", "siri"]):
        assert dub(*arguments).returncode == 2


def hears() -> None:
    """A shell that starts tests in the background lets them, and what they start, ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_run_says_so_and_goes_on(make_job: MakeJob, tmp_path: Path) -> None:
    titles = {f"t{n}": {"en.srt": srt(*(f"Title {n}, line {k}." for k in range(40)))} for n in range(4)}
    job = make_job(titles)
    process = subprocess.Popen([DUB, "run", str(job)], stderr=subprocess.PIPE, text=True, preexec_fn=hears)
    while not list((tmp_path / "out").glob("takes/*/*.flac")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what is finished is kept" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").glob("jobs/*/lock.json"))
    assert dub("run", str(job)).returncode == 0


def test_what_cannot_go_on_does_not_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    def detect() -> int:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        guarded(detect)()
    assert (caught.value.exit_code, capsys.readouterr().err) == (130, "dub: stopped\n")


def test_two_runs_of_one_job_exclude_each_other(make_job: MakeJob, tmp_path: Path) -> None:
    titles = {f"t{n}": {"en.srt": srt(*(f"Title {n}, line {k}." for k in range(40)))} for n in range(4)}
    job = make_job(titles)
    process = subprocess.Popen([DUB, "run", str(job)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "out").glob("jobs/*/lock.json")):
        assert process.poll() is None
        time.sleep(0.02)
    second = dub("run", str(job))
    assert second.returncode == 2
    assert f"is being run by process {process.pid}" in second.stderr
    assert process.wait() == 0


def test_an_interrupted_plan_says_so_in_one_line(make_job: MakeJob, tmp_path: Path) -> None:
    titles = {f"t{n}": {"en.srt": srt(*(f"Title {n}, line {k}." for k in range(500)))} for n in range(150)}
    process = subprocess.Popen(
        [DUB, "run", str(make_job(titles))],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears,
    )
    assert process.stderr
    assert "plan:" in process.stderr.readline()  # the first track is planned, by one of several processes
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "dub: stopped; what is finished is kept, run the same command to go on\n"
    assert not (tmp_path / "out").exists()
