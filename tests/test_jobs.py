"""The same run as a Ray job, submitted to a cluster."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HERE, MakeJob, srt

RAY = str(Path(sys.executable).with_name("ray"))
PORTS = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """A cluster started as an operator does, with ports and an access token of its own."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    ports = {name: free_port() for name in PORTS}
    folder = tempfile.mkdtemp(prefix="ray-")  # its sockets need a short path
    options = ["--num-cpus=2", "--include-dashboard=true", "--disable-usage-stats", f"--temp-dir={folder}"]
    options += [f"--{name}={port}" for name, port in ports.items()]
    # With --block the command lives as long as its cluster; `ray stop` would stop every cluster of the machine.
    head = subprocess.Popen([RAY, "start", "--head", "--block", *options], stdout=subprocess.PIPE, text=True)
    assert head.stdout
    while "Ray runtime started" not in (row := head.stdout.readline()):
        assert row, "the cluster did not start"
    yield ports
    head.terminate()
    head.communicate()


def test_a_submitted_job_delivers(cluster: dict[str, int], make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job({"a": {"fr.srt": srt("Bonjour.", "Au revoir."), "de.srt": srt("Guten Tag.")}})
    address = f"http://127.0.0.1:{cluster['dashboard-port']}"
    entry = [sys.executable, str(HERE.parent / "jobs" / "dub_catalogue.py"), str(job), "--json"]
    environment = {**os.environ, "RAY_ADDRESS": ""}
    done = subprocess.run(
        [RAY, "job", "submit", "--address", address, "--", *entry], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"event": "summary"' in done.stdout
    assert {path.parent.name for path in (tmp_path / "out").glob("a/*/manifest.json")} == {"fr", "de"}
