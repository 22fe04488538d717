"""Signed documents at URLs that are read again while a job runs, and the newest versions that were seen of them."""

import functools
import json
import time

from pipeline.config import Job
from pipeline.store import Store, pretty, read_file

FRESH = 30  # seconds for which what was read counts as what is there

_newest: dict[str, int] = {}  # URL of a list -> the highest version that this process has seen


def read(url: str, job: Job) -> bytes:
    """What is at a URL, or was there less than 30 seconds ago. Raises FileNotFoundError, StoreError."""
    return _kept(url, json.dumps(job.storage_options, sort_keys=True), int(time.time() // FRESH))


@functools.lru_cache(maxsize=4096)
def _kept(url: str, options: str, tick: int) -> bytes:
    return read_file(url, json.loads(options))


def newest(url: str, job: Job) -> int:
    """The highest version of a list that this process has seen, or that any other of the job has noted; 0 for none.

    Raises StoreError.
    """
    return max(_newest.get(url, 0), _noted(job).get(url, 0))


def saw(url: str, version: int) -> None:
    _newest[url] = max(version, _newest.get(url, 0))


def reread() -> None:
    """What is asked for next is read again, however fresh."""
    _kept.cache_clear()
    _known.cache_clear()


def forget() -> None:
    """As in a new process."""
    reread()
    _newest.clear()


def remember(job: Job) -> None:
    """Note the versions that this process has seen where the job's other processes and later runs find them.

    An older list refuses from then on. What they have noted never goes down, and where nothing is news, nothing is
    written: it is cheap to ask before each take. Raises StoreError.
    """
    urls = [url for url in (job.consent and job.consent.revoked, job.blocklist and job.blocklist.url) if url]
    seen = {url: _newest[url] for url in urls if url in _newest}
    if all(version <= _noted(job).get(url, 0) for url, version in seen.items()):
        return
    store = Store(job.output, job.storage_options)
    known = _read(store, job.name)
    store.write(_name(job.name), pretty(known | {url: max(v, known.get(url, 0)) for url, v in seen.items()}))
    _known.cache_clear()


def _noted(job: Job) -> dict[str, int]:
    """What is noted in the job's folder, or was less than 30 seconds ago."""
    options = json.dumps(job.storage_options, sort_keys=True)
    return _known(job.output, options, job.name, int(time.time() // FRESH))


@functools.lru_cache(maxsize=64)
def _known(output: str, options: str, job: str, tick: int) -> dict[str, int]:
    return _read(Store(output, json.loads(options)), job)


def _read(store: Store, job: str) -> dict[str, int]:
    found = store.read_json(_name(job))
    versions = found.items() if isinstance(found, dict) else ()
    return {url: version for url, version in versions if isinstance(version, int)}


def _name(job: str) -> str:
    return f"jobs/{job}/lists.json"
