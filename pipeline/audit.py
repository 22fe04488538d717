"""The audit trail of a job: who did what, when, and why, in a chain of entries that names every one before it."""

import getpass
import hashlib
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pipeline.store import Store, canonical

START = "0" * 64  # what the first entry names as the one before it
_NAME = re.compile(r"(\d{8})-([0-9a-f]{16})\.json")
KEYS = {"number", "previous", "when", "who", "job", "what", "why", "about"}


class Trail:
    """One object an entry, written once and never again: `jobs/<job>/audit/<number>-<hash>.json`.

    An entry holds the SHA-256 of the one before it, so that none can be altered, taken out or put in without a trace.
    What was cut off at the end shows against a `head` that was kept elsewhere.
    """

    def __init__(self, store: Store, job: str):
        self.store, self.job, self.folder = store, job, f"jobs/{job}/audit"

    def add(self, what: str, why: str = "", **about: Any) -> str:
        """Append an entry; its hash. The time is UTC in whole seconds."""
        names = self._names()
        previous, number = START, 1
        if names:
            previous, number = _hash(self.store.read(names[-1])), _number(names[-1]) + 1
        entry = {
            "number": number, "previous": previous, "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "who": f"{_user()}@{socket.gethostname()}", "job": self.job, "what": what, "why": why, "about": about,
        }  # fmt: skip
        data = canonical(entry) + b"\n"
        self.store.write(f"{self.folder}/{number:08}-{_hash(data)[:16]}.json", data, sync=True)
        return _hash(data)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The entries that can be read, in order, each with its `hash`."""
        for name in self._names():
            data = self.store.read(name)
            try:
                yield {**json.loads(data), "hash": _hash(data)}
            except (ValueError, TypeError):
                continue

    def faults(self, head: str | None = None) -> list[str]:
        """Everything that is wrong with the chain, with its place; nothing where it holds.

        Two runs that wrote at the same moment both follow the same entry: that is no fault. `head` is the hash of an
        entry that must be there, as a whole or its first 16 digits.
        """
        found, hashes, numbers = [], {START: 0}, []
        follows: list[tuple[str, int, str]] = []
        for name in self._names():
            data, place = self.store.read(name), self.store.show(name)
            digest, number = _hash(data), _number(name)
            hashes[digest] = number
            numbers.append(number)
            if not name.endswith(f"-{digest[:16]}.json"):
                found.append(f"{place}: altered, its name is not that of its contents")
                continue
            try:
                entry = json.loads(data)
                if set(entry) != KEYS or entry["number"] != number or entry["job"] != self.job:
                    raise ValueError("not an entry of this place")
            except (ValueError, TypeError) as error:
                found.append(f"{place}: not an entry of this chain ({error})")
                continue
            follows.append((place, number, str(entry["previous"])))
        for place, number, previous in follows:
            if hashes.get(previous) != number - 1:
                found.append(f"{place}: follows an entry {previous[:16]} that is not there as number {number - 1}")
        gaps = sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers))
        found += [f"{self.store.show(self.folder)}: entry {number} is missing" for number in gaps]
        if head and not any(digest.startswith(head) for digest in hashes):
            found.append(f"{self.store.show(self.folder)}: no entry {head}, which was written: the end was cut off")
        return found

    def _names(self) -> list[str]:
        return sorted(name for name in self.store.sizes(self.folder) if _NAME.fullmatch(name.rpartition("/")[2]))


def _number(name: str) -> int:
    found = _NAME.fullmatch(name.rpartition("/")[2])
    assert found
    return int(found[1])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        return "unknown"
