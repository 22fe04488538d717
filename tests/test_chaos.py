"""Kill a job at random moments, start it again, and compare what it leaves with an undisturbed run.

`KILLS=20 make chaos` for the long form.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import MakeJob, srt

KILLS = int(os.environ.get("KILLS", "2"))
SEED = int(os.environ.get("SEED", "7"))
DUB = str(Path(sys.executable).with_name("dub"))
LINES = int(os.environ.get("LINES", "40"))


@pytest.fixture
def jobs(make_job: MakeJob, tmp_path: Path) -> tuple[Path, Path]:
    """The same job twice, with an output folder each: one to disturb and one to leave alone."""
    titles = {
        f"t{n}": {
            "en.srt": srt(*(f"Line {k} of title {n} is spoken here." for k in range(LINES))),
            "fr.srt": srt(*(f"La phrase {k} du titre {n} est dite ici." for k in range(LINES))),
        }
        for n in range(10)
    }
    disturbed = make_job(titles, output="disturbed", speak={"batch": 20})
    quiet = tmp_path / "quiet.yaml"
    quiet.write_text(disturbed.read_text().replace("disturbed", "quiet"))
    return disturbed, quiet


def hashes(folder: Path) -> dict[str, str]:
    """Takes and tracks -> SHA-256. The job's own folder holds times of the run, and temporary files go."""
    paths = [p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).parts[0] not in ("jobs", ".tmp")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def check_manifests(folder: Path) -> int:
    manifests = list(folder.glob("*/*/manifest.json"))
    for path in manifests:
        for file in json.loads(path.read_text())["files"]:
            data = (path.parent / file["name"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"]), path
    return len(manifests)


def descendants(pid: int) -> list[tuple[int, str]]:
    """Processes below one, with their names."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                title = (entry / "cmdline").read_text().split("\0")[0] or name
            except OSError:
                continue
            parents.setdefault(int(rest.split()[1]), []).append((int(entry.name), title))
    found, todo = [], [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += [child for child, _ in children]
    return found


def start(job: Path, log: Path) -> subprocess.Popen[bytes]:
    with open(log, "ab") as file:
        return subprocess.Popen([DUB, "run", str(job), "--json"], stdout=file, stderr=file)


def kill(process: subprocess.Popen[bytes], draw: random.Random) -> str:
    """SIGKILL for the driver, or for one of its workers that speak or assemble."""
    workers = [(pid, name) for pid, name in descendants(process.pid) if "Replica" in name or "_assemble" in name]
    if workers and draw.random() < 0.5:
        pid, name = draw.choice(workers)
        os.kill(pid, signal.SIGKILL)
        return name
    process.kill()
    process.wait()
    return "driver"


def test_a_killed_job_ends_as_an_undisturbed_one(jobs: tuple[Path, Path], tmp_path: Path) -> None:
    disturbed, quiet = jobs
    began = time.monotonic()
    assert start(quiet, tmp_path / "quiet.log").wait() == 0
    length = time.monotonic() - began
    draw, killed, log = random.Random(SEED), [], tmp_path / "disturbed.log"
    process = start(disturbed, log)
    started = time.monotonic()
    while len(killed) < KILLS:
        now = time.monotonic()
        moment = draw.uniform(now + 0.5, max(now + 1.0, started + length))
        while process.poll() is None and time.monotonic() < moment:
            time.sleep(0.02)
        if process.poll() is None:
            killed.append(kill(process, draw))
            print(f"kill {len(killed)} at {time.monotonic() - started:.1f} s: {killed[-1]}", flush=True)
            check_manifests(tmp_path / "disturbed")
        if process.poll() is not None:
            if process.returncode == 0:  # it was done before its time came: there must be work to disturb again
                for path in (tmp_path / "disturbed").glob("t*/*/manifest.json"):
                    path.unlink()  # all of them: the takes of a delivered track are not missed
                takes = sorted((tmp_path / "disturbed" / "takes").rglob("*.flac"))
                for path in draw.sample(takes, len(takes) // 3):
                    path.unlink()
            process, started = start(disturbed, log), time.monotonic()
    assert process.wait() in (0, -signal.SIGKILL)
    assert start(disturbed, log).wait() == 0
    assert check_manifests(tmp_path / "disturbed") == 20
    assert hashes(tmp_path / "disturbed") == hashes(tmp_path / "quiet")
    assert not list((tmp_path / "disturbed").glob("jobs/*/lock.json"))
    last = json.loads(
        subprocess.run([DUB, "run", str(disturbed), "--json"], capture_output=True).stdout.splitlines()[-1]
    )
    assert (last["idle"], last["spoken"]) == (True, 0)
