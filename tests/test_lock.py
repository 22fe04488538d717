"""One writer a job: who holds it, who is dead, who has lost it."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline import lock
from pipeline.lock import Lock
from pipeline.parse import ConfigError
from pipeline.store import Store, StoreError, pretty

HOLD = """
import sys
from pipeline.lock import Lock
from pipeline.store import Store
with Lock(Store(sys.argv[1]), "test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def holder(store: Store) -> subprocess.Popen[str]:
    """A process that holds the lock until its standard input closes."""
    command = [sys.executable, "-c", HOLD, store.url]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_there_while_it_is_held(store: Store) -> None:
    with Lock(store, "test") as held:
        assert store.read_json("jobs/test/lock.json")["owner"] == held.owner["owner"]
        held.check()
    assert store.sizes() == {}


def test_a_second_holder_is_told_who_holds_it(store: Store) -> None:
    process = holder(store)
    with pytest.raises(ConfigError) as caught, Lock(store, "test"):
        pass
    assert str(caught.value) == (
        f"job 'test' is being run by process {process.pid} on {socket.gethostname()}; "
        f"expected one run at a time ({store.url}/jobs/test/lock.json)"
    )
    process.communicate("")
    assert process.returncode == 0
    with Lock(store, "test"):
        pass


def test_this_process_cannot_hold_it_twice(store: Store) -> None:
    with Lock(store, "test"), pytest.raises(ConfigError, match="is being run by process"), Lock(store, "test"):
        pass


def test_two_jobs_have_two_locks(store: Store) -> None:
    with Lock(store, "one"), Lock(store, "two"):
        assert sorted(store.sizes()) == ["jobs/one/lock.json", "jobs/two/lock.json"]


def test_other_jobs_of_an_output_are_told_with_who_runs_them(store: Store) -> None:
    process = holder(store)
    store.write(
        "jobs/killed/lock.json", store.read("jobs/test/lock.json").replace(str(process.pid).encode(), b"4194305")
    )
    store.write("jobs/done/audit/lock.json", b"{}")
    with Lock(store, "mine") as held:
        assert held.others() == ["killed", "test"]
        assert held.holder("test") == f"process {process.pid} on {socket.gethostname()}"
        assert (held.holder("killed"), held.holder("done")) == (None, None)
    process.communicate("")


def test_the_lock_of_a_killed_process_is_taken_over(store: Store) -> None:
    process = holder(store)
    process.kill()
    process.wait()
    assert store.read_json("jobs/test/lock.json")["pid"] == process.pid
    with Lock(store, "test") as held:
        assert store.read_json("jobs/test/lock.json")["pid"] == held.owner["pid"]


def test_a_zombie_holds_nothing(store: Store) -> None:
    process = holder(store)
    process.kill()
    with open(f"/proc/{process.pid}/stat") as file:  # dead, but not waited for
        while file.read().rpartition(")")[2].split()[0] != "Z":
            file.seek(0)
    with Lock(store, "test"):
        pass
    process.wait()


def test_a_reused_process_id_holds_nothing(store: Store) -> None:
    with Lock(store, "test") as held:
        facts = store.read_json("jobs/test/lock.json")
    assert held.owner["born"] == facts["born"] != ""
    store.write("jobs/test/lock.json", pretty({**facts, "owner": "another", "born": "1"}))
    with Lock(store, "test"):
        pass


@pytest.mark.parametrize("data", [b'{"owner": ', b"[1]", b"5", b"{}", b'{"host": "a", "pid": "1", "owner": "b"}'])
def test_a_damaged_lock_holds_nothing(store: Store, data: bytes) -> None:
    store.write("jobs/test/lock.json", data)
    assert lock.read_lock(store, "test") is None
    with Lock(store, "test"):
        pass


def test_a_holder_notices_that_another_has_taken_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    with Lock(store, "test") as held:
        held.check()
        other = {**held.owner, "owner": "another", "beat": 0}
        store.write("jobs/test/lock.json", pretty(other))
        while not held.lost:
            held._over.wait(0.01)
            if held.lost is False:  # a beat that was on its way when the other one wrote
                store.write("jobs/test/lock.json", pretty(other))
        with pytest.raises(StoreError, match="another run of this job has taken over"):
            held.check()
    assert store.read_json("jobs/test/lock.json") == other  # not ours to delete


def test_a_holder_on_another_host_is_dead_when_its_beat_stops(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    monkeypatch.setattr(lock, "LEASE", 0.2)
    away = {"owner": "another", "host": "elsewhere", "pid": 1, "born": "1", "beat": 7}
    store.write("jobs/test/lock.json", pretty(away))
    with Lock(store, "test"):
        pass


def test_a_holder_on_another_host_is_alive_while_its_beat_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.02)
    away = {"owner": "another", "host": "elsewhere", "pid": 1, "born": "1"}
    over = threading.Event()
    store.write("jobs/test/lock.json", pretty({**away, "beat": 0}))

    def beat() -> None:
        count = 0
        while not over.wait(0.005):
            count += 1
            store.write("jobs/test/lock.json", pretty({**away, "beat": count}))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ConfigError, match="is being run by process 1 on elsewhere"), Lock(store, "test"):
            pass
    finally:
        over.set()
        thread.join()


def test_the_lock_beats_while_it_is_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with Lock(store, "test") as held:
        path = Path(store.path("jobs/test/lock.json"))
        while json.loads(path.read_text())["beat"] < 3:
            held.check()
