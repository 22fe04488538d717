"""The consents of a job, held against every cloned voice at plan, at speak and at commit."""

import functools
import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pipeline import lists
from pipeline.config import Job
from pipeline.store import StoreError, read_file
from pipeline.voices.consent import Consent, ConsentError, cover, read_consent, read_revocations
from pipeline.voices.reference import stamp


def consents(job: Job, voices: Iterable[str], title: str, language: str) -> tuple[tuple[str, str], ...] | None:
    """Cloned voice and id of its consent, for every such voice of a track; None where the job says `consent: off`.

    Raises ConsentError for the first that is missing, does not hold now, or does not cover this use.
    """
    cloned = sorted({voice for voice in voices if entry(job, voice) is not None})
    if job.consent is None:
        return None if cloned else ()
    found = []
    for voice in cloned:
        record = _standing(job, voice)
        name, about = voice.partition("@")[0], entry(job, voice) or {}
        try:
            cover(record, voice=name, clips=_digests(about, job), purpose=job.consent.purpose, language=language,
                  title=title)  # fmt: skip
        except ConsentError as error:
            raise _named(error, name) from None
        found.append((name, record.id))
    return tuple(found)


def refusal(job: Job, voice: str) -> str:
    """Why a voice must not speak now, or nothing where it may: its consent may be revoked while a job runs."""
    if job.consent is None or entry(job, voice) is None:
        return ""
    try:
        _standing(job, voice)
    except ConsentError as error:
        return f"{error} ({error.reason})"
    return ""


def entry(job: Job, voice: str) -> Mapping[str, Any] | None:
    """What the job says of a cloned voice; None for one of the engine's own."""
    known = job.engine.options.get("voices")
    found = known.get(voice.partition("@")[0]) if isinstance(known, Mapping) else None
    return found if isinstance(found, Mapping) else None


def clips(about: Mapping[str, Any]) -> dict[str, str]:
    """Paths or URLs of all clips of a voice: its own under "", the others under their emotions."""
    emotions = about.get("emotions")
    more = emotions if isinstance(emotions, Mapping) else {}
    return {"": str(about.get("clip")), **{str(term): str(path) for term, path in more.items()}}


def _standing(job: Job, voice: str) -> Consent:
    """The consent of a cloned voice, signed, valid now and not revoked."""
    assert job.consent is not None
    name = voice.partition("@")[0]
    url = (entry(job, voice) or {}).get("consent")
    try:
        if not isinstance(url, str):
            raise ConsentError("missing", "found no consent, expected engine.options.voices.NAME.consent with a record")
        record = read_consent(_read(url, job), job.consent.issuers, time.time())
        if record.id in _revoked(job):
            raise ConsentError("revoked", f"found the consent {record.id}, which was revoked")
    except ConsentError as error:
        raise _named(error, name) from None
    return record


def _revoked(job: Job) -> Collection[str]:
    assert job.consent is not None
    url = job.consent.revoked
    if url is None:
        return ()
    version, ids = read_revocations(_read(url, job), job.consent.issuers, lists.newest(url, job))
    lists.saw(url, version)
    return ids


def _read(url: str, job: Job) -> bytes:
    try:
        return lists.read(url, job)
    except (FileNotFoundError, StoreError) as error:
        raise ConsentError("missing", f"found {error}, expected a file that can be read") from error


def _digests(about: Mapping[str, Any], job: Job) -> set[str]:
    paths = clips(about).values()
    options = json.dumps(job.storage_options, sort_keys=True)
    return {_digest(str(path), options, stamp(str(path))) for path in paths}


@functools.lru_cache(maxsize=4096)
def _digest(path: str, options: str, stamp: tuple[int, int]) -> str:
    return hashlib.sha256(read_file(path, json.loads(options))).hexdigest()


def _named(error: ConsentError, voice: str) -> ConsentError:
    return ConsentError(error.reason, f"voice {voice!r}: {error}")
