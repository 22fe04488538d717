"""The consents of a job, held against every cloned voice at plan, at speak and at commit."""

import json
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pipeline import lists
from pipeline.config import Job
from pipeline.store import StoreError
from pipeline.voices.consent import Consent, ConsentError, cover, named, read_consent, read_revocations
from pipeline.voices.reference import Reference, read_reference, spelling


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
        name = voice.partition("@")[0]
        try:
            cover(record, voice=name, clips=_digests(job, voice), purpose=job.consent.purpose, language=language,
                  title=title)  # fmt: skip
        except ConsentError as error:
            raise _named(error, name) from None
        found.append((name, record.id))
    return tuple(found)


def check(job: Job, voice: str) -> None:
    """Raises ConsentError for a cloned voice that must not speak now: its consent may be revoked while a job runs."""
    if job.consent is not None and entry(job, voice) is not None:
        named(_standing(job, voice), _digests(job, voice))


def look(job: Job) -> None:
    """Note the version of the list of revocations. Raises ConsentError where it cannot be relied on."""
    if job.consent is not None:
        _revoked(job)


def entry(job: Job, voice: str) -> Mapping[str, Any] | None:
    """What the job says of a cloned voice; None for one of the engine's own."""
    known = job.engine.options.get("voices")
    found = known.get(voice.partition("@")[0]) if isinstance(known, Mapping) else None
    return found if isinstance(found, Mapping) else None


def storage(job: Job) -> str:
    """The job's storage options as JSON: by them its clips are read."""
    return json.dumps(job.storage_options, sort_keys=True)


def clips(about: Mapping[str, Any]) -> dict[str, str]:
    """Paths or URLs of all clips of a voice: its own under "", the others under their emotions."""
    emotions = about.get("emotions")
    more = emotions if isinstance(emotions, Mapping) else {}
    return {"": str(about.get("clip")), **{str(term): str(path) for term, path in more.items()}}


def references(job: Job, voice: str) -> dict[str, Reference]:
    """The clips of a cloned voice as `clips` has them. ConsentError where they are not those that `voice` spells."""
    about = entry(job, voice) or {}
    name = voice.partition("@")[0]
    try:
        found = {term: read_reference(path, storage(job)) for term, path in clips(about).items()}
    except (OSError, ValueError) as error:
        raise ConsentError("clip", f"voice {name!r}: found {error}, expected a clip that can be read") from error
    spelled = spelling(name, {term: clip.samples for term, clip in found.items()}, str(about.get("text", "")))
    if spelled != voice:
        raise ConsentError("clip", f"found clips of {spelled}, expected those of {voice} as it was planned; run again")
    return found


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
    version, ids = read_revocations(_read(url, job), job.consent.issuers, _newest(url, job))
    lists.saw(url, version)
    return ids


def _read(url: str, job: Job) -> bytes:
    try:
        return lists.read(url, job)
    except (FileNotFoundError, StoreError) as error:
        raise ConsentError("missing", f"found {error}, expected a file that can be read") from error


def _newest(url: str, job: Job) -> int:
    try:
        return lists.newest(url, job)
    except StoreError as error:
        raise ConsentError("missing", f"found {error}, expected the versions of lists that the job has seen") from error


def _digests(job: Job, voice: str) -> set[str]:
    return {clip.sha256 for clip in references(job, voice).values()}


def _named(error: ConsentError, voice: str) -> ConsentError:
    return ConsentError(error.reason, f"voice {voice!r}: {error}")
