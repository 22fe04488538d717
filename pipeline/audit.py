"""The audit trail of a job: who did what, when, and why, in a chain of entries that names every one before it."""

import getpass
import hashlib
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from pipeline.store import Store, canonical, from_json

START = "0" * 64  # what the first entry names as the one before it
STARTED, ENDED = "run started", "run ended"  # what runs enter
_NAME = re.compile(r"([0-9]{8,})-[0-9a-f]{16}\.json")
LATE = 3  # times that an entry is written anew because others came before it
KEYS = {"number", "previous", "when", "who", "job", "what", "why", "about"}


class Trail:
    """One object an entry, never altered: `jobs/<job>/audit/<number>-<hash>.json`.

    An entry holds the SHA-256 of the one before it, so that none can be altered, taken out or put in without a trace.
    What was cut off at the end shows against a `head` that was kept elsewhere.
    """

    def __init__(self, store: Store, job: str):
        self.store, self.job, self.folder = store, job, f"jobs/{job}/audit"

    def add(self, what: str, why: str = "", **about: Any) -> str:
        """Append an entry; its hash. The time is UTC in whole seconds."""
        name, written = self._append(what, why, about)
        for _ in range(LATE):
            if _number(self._names()[-1]) <= _number(name):
                break
            # Others went on meanwhile, and what they wrote does not follow this: it belongs to the end.
            late = name
            name, written = self._append(what, why, about)
            self.store.delete(late)  # only now: a crash leaves it twice, and never not at all
        return written

    def _append(self, what: str, why: str, about: dict[str, Any]) -> tuple[str, str]:
        """The name and the hash of a new entry."""
        names = self._names()
        number = _number(names[-1]) if names else 0
        last = [_hash(self.store.read(name)) for name in names if _number(name) == number]
        entry = {
            "number": number + 1, "previous": _link(last), "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "who": f"{_user()}@{socket.gethostname()}", "job": self.job, "what": what, "why": why, "about": about,
        }  # fmt: skip
        data = canonical(entry) + b"\n"
        name = f"{self.folder}/{_file(number + 1, data)}"
        self.store.write(name, data, sync=True)
        return name, _hash(data)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The entries that can be read, in order, each with its `hash`."""
        for name in self._names():
            data = self.store.read(name)
            if (entry := self._entry(data)) is not None:
                yield {**entry, "hash": _hash(data)}

    def unfinished(self) -> dict[str, Any]:
        """What the last entry is about, if it says that a run started, which was killed or is at work; else nothing."""
        names = self._names()
        entry = self._entry(self.store.read(names[-1])) if names else None
        return entry["about"] if entry is not None and entry["what"] == STARTED else {}

    def head(self) -> str | None:
        """What the next entry will follow: kept elsewhere, it shows whether the chain up to here is changed later."""
        names = self._names()
        last = [name for name in names if _number(name) == _number(names[-1])]
        return _link([_hash(self.store.read(name)) for name in last]) if last else None

    def faults(self, head: str | None = None) -> list[str]:
        """Everything that is wrong with the chain, with its place; nothing where it holds.

        Two runs that wrote at the same moment have one number, and what comes after follows both: that is no fault.
        `head` is what `head` gave earlier, or its first 16 digits: it must be there, with nothing put in before it.
        """
        found, follows = [], []
        hashes: dict[int, list[str]] = {}
        for name in self._names():
            data, place, number = self.store.read(name), self.store.show(name), _number(name)
            hashes.setdefault(number, []).append(_hash(data))
            entry = self._entry(data)
            if name != f"{self.folder}/{_file(number, data)}":
                found.append(f"{place}: altered, its name is not that of its contents")
            elif entry is None or entry["number"] != number or entry["job"] != self.job:
                found.append(f"{place}: not an entry of this place in this chain")
            else:
                follows.append((place, number, str(entry["previous"])))
        links = {0: START, **{number: _link(of) for number, of in hashes.items()}}
        for place, number, previous in follows:
            if links.get(number - 1) != previous:
                found.append(f"{place}: follows {previous[:16]}, which is not what is there as number {number - 1}")
        found += [f"{self.store.show(self.folder)}: {gap} missing" for gap in _gaps(sorted(hashes))]
        strangers = sorted(set(self.store.sizes(self.folder)) - set(self._names()))
        found += [f"{self.store.show(name)}: not an entry by its name" for name in strangers]
        if head and not any(link.startswith(head) for link in links.values()):
            found.append(f"{self.store.show(self.folder)}: no {head}, which was there: the end was cut off or altered")
        return found

    @staticmethod
    def _entry(data: bytes) -> dict[str, Any] | None:
        try:
            entry = from_json(data)
        except ValueError:
            return None
        return entry if isinstance(entry, dict) and set(entry) == KEYS and isinstance(entry["about"], dict) else None

    def _names(self) -> list[str]:
        """The files of the folder that are entries by their names, in order."""
        found = [
            name for name in self.store.sizes(self.folder) if _NAME.fullmatch(name.removeprefix(f"{self.folder}/"))
        ]
        return sorted(found, key=lambda name: (_number(name), name))


def _number(name: str) -> int:
    found = _NAME.fullmatch(name.rpartition("/")[2])
    assert found
    return int(found[1])


def _file(number: int, data: bytes) -> str:
    return f"{number:08}-{_hash(data)[:16]}.json"


def _gaps(numbers: list[int]) -> Iterator[str]:
    """What lacks of 1, 2, 3 ... up to the last of these."""
    for before, number in pairwise([0, *numbers]):
        if number == before + 2:
            yield f"entry {before + 1} is"
        elif number > before + 2:
            yield f"entries {before + 1} to {number - 1} are"


def _link(last: list[str]) -> str:
    """What an entry follows: the hash of the one before it, or of all that stand there with one number."""
    if not last:
        return START
    return last[0] if len(last) == 1 else _hash("\n".join(sorted(last)).encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a number without a name
        return "unknown"
