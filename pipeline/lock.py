"""One writer a job: a lease in the job's folder, which a dead owner cannot keep."""

import os
import socket
import threading
import time
import uuid
from typing import Any, Self

from pipeline.parse import ConfigError
from pipeline.store import Store, StoreError, pretty

BEAT = 5.0  # seconds between two signs of life
LEASE = 20.0  # seconds without one after which an owner on another host is taken for dead
_KEYS = {"owner": str, "host": str, "pid": int, "born": str, "beat": int}


def read_lock(store: Store, job: str) -> dict[str, Any] | None:
    """Who runs a job, or was killed while doing so; None where nobody does, or what is there is no lock."""
    found = store.read_json(_name(job))
    if not isinstance(found, dict) or any(type(found.get(key)) is not kind for key, kind in _KEYS.items()):
        return None
    return found


def _name(job: str) -> str:
    return f"jobs/{job}/lock.json"


class Lock:
    """Held from `with` to its end. Raises ConfigError where another run of the job is alive.

    An owner on this host is dead when its process is; elsewhere, when its sign of life has not changed for
    `LEASE` seconds of our own clock, so that clocks need not agree.
    """

    def __init__(self, store: Store, name: str):
        self.store, self.name, self.job = store, _name(name), name
        self.owner = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "born": _born(),
        }
        self.lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        current = read_lock(self.store, self.job)
        if current and not self._dead(current, self.job):
            raise ConfigError(
                f"job {self.job!r} is being run by process {current['pid']} on {current['host']}; "
                f"expected one run at a time ({self.store.show(self.name)})"
            )
        self._write(0)
        time.sleep(0 if self.store.local else 0.5)  # of two that write at once, the last one holds it
        if not self._ours():
            raise ConfigError(f"job {self.job!r} was started twice at the same time; the other run goes on")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._ours():
            self.store.delete(self.name)

    def check(self) -> None:
        """Raises StoreError when another run has taken over."""
        if self.lost:
            raise StoreError("hold", self.store.show(self.name), "another run of this job has taken over")

    def others(self) -> list[str]:
        """Other jobs with this output that are being run, or were when they were killed: `holder` tells."""
        names = [name.split("/") for name in self.store.sizes("jobs")]
        return sorted(job for _, job, *rest in names if rest == ["lock.json"] and job != self.job)

    def holder(self, job: str) -> str | None:
        """Who runs another job; None where nobody does. It may take `LEASE` seconds to know."""
        current = read_lock(self.store, job)
        return f"process {current['pid']} on {current['host']}" if current and not self._dead(current, job) else None

    def _dead(self, current: dict[str, Any], job: str) -> bool:
        if current["host"] == self.owner["host"]:
            return current["born"] != _born(current["pid"])
        beat, until = current["beat"], time.monotonic() + LEASE
        while time.monotonic() < until:
            time.sleep(BEAT / 2)
            now = read_lock(self.store, job)
            if now is None:
                return True
            if now["beat"] != beat or now["owner"] != current["owner"]:
                return False
        return True

    def _beat(self) -> None:
        beat = 0
        while not self._over.wait(BEAT):
            beat += 1
            try:
                if self._ours():
                    self._write(beat)
                else:
                    self.lost = True
            except StoreError:
                continue  # the lease is longer than a passing fault

    def _write(self, beat: int) -> None:
        self.store.write(self.name, pretty({**self.owner, "beat": beat}))

    def _ours(self) -> bool:
        current = read_lock(self.store, self.job)
        return current is not None and current["owner"] == self.owner["owner"]


def _born(pid: int | None = None) -> str:
    """When a process started, in ticks since boot; empty where it is gone (or a zombie). Tells reused ids apart."""
    try:
        with open(f"/proc/{pid or os.getpid()}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
