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
    """The highest version of a list that this process, or an earlier run of the job, has seen; 0 for none."""
    return max(_newest.get(url, 0), job.seen.get(url, 0))


def saw(url: str, version: int) -> None:
    _newest[url] = max(version, _newest.get(url, 0))


def reread() -> None:
    """What is asked for next is read again, however fresh."""
    _kept.cache_clear()


def forget() -> None:
    """As in a new process."""
    reread()
    _newest.clear()


def _name(job: Job) -> str:
    return f"jobs/{job.name}/lists.json"


def recall(job: Job, store: Store) -> None:
    """Let the job know which versions its earlier runs have seen: an older list refuses, also after a restart."""
    known = store.read_json(_name(job))
    if isinstance(known, dict):
        job.seen.update({str(url): version for url, version in known.items() if isinstance(version, int)})


def remember(job: Job, store: Store) -> None:
    """Keep the versions that this process has seen, where there are any and they are news."""
    urls = [url for url in (job.consent and job.consent.revoked, job.blocklist and job.blocklist.url) if url]
    found = {url: version for url in urls if (version := newest(url, job))}
    if found and store.read_json(_name(job)) != {**job.seen, **found}:
        store.write(_name(job), pretty({**job.seen, **found}))
