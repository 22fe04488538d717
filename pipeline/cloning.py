"""What is asked of every cloned voice, at plan, at speak and at commit: a sound clip, a consent, no blocked voice."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline import blocked, consents, lists
from pipeline.config import Job
from pipeline.safety.blocklist import BlocklistError
from pipeline.store import StoreError
from pipeline.voices.consent import ConsentError
from pipeline.voices.reference import read_reference

Refused = (ConsentError, BlocklistError)


def allowed(job: Job, voices: Iterable[str], title: str, language: str) -> tuple[tuple[str, str], ...] | None:
    """Cloned voice and id of its consent, for every such voice of a track; None where the job says `consent: off`.

    Raises ConsentError, BlocklistError for the first voice that must not be used so now.
    """
    found = consents.consents(job, voices, title, language)
    for voice in sorted(set(voices)):
        blocked.check(job, voice)
    return found


def refusal(job: Job, voice: str) -> str:
    """Why a voice must not speak now, or nothing where it may: consents and lists change while a job runs."""
    found = _refusals(job, voice)
    note(job)
    return f"{found[0]} ({found[0].reason})" if found else ""


def withdrawn(job: Job, voice: str) -> bool:
    """Whether a voice was revoked or blocked, so that its takes must not stay."""
    return any(found.reason in ("revoked", "blocked") for found in _refusals(job, voice))


def _refusals(job: Job, voice: str) -> list[ConsentError | BlocklistError]:
    found = []
    for check in (blocked.check, consents.check):
        try:
            check(job, voice)
        except Refused as error:
            found.append(error)
    return found


def note(job: Job) -> None:
    """Let the job's other processes know how new the lists are that this one saw; the next call tries it again."""
    with contextlib.suppress(StoreError):
        lists.remember(job)


def look(job: Job) -> None:
    """Note the versions of the job's lists as they are now; one that cannot be read is refused where it matters."""
    if job.engine.options.get("voices"):
        with contextlib.suppress(*Refused):
            blocked.look(job)
        with contextlib.suppress(*Refused):
            consents.look(job)


def faults(job: Job, voice: str) -> list[tuple[str, str, str]]:
    """What is wrong with the clips of a cloned voice, unless the job accepts it: clip, found, expected."""
    about = consents.entry(job, voice)
    if about is None:
        return []
    return [fault for path in consents.clips(about).values() for fault in _faults(path, about, job)]


def _faults(path: str, about: Mapping[str, Any], job: Job) -> list[tuple[str, str, str]]:
    try:
        found = read_reference(path, consents.storage(job)).faults()
    except (OSError, ValueError) as error:
        return [(path, f"a clip that cannot be read ({error})", "audio or video")]
    return [(path, told, expected) for name, (told, expected) in found.items() if name not in about.get("accept", ())]


def cloned(job: Job, voices: Iterable[str]) -> list[str]:
    """Those of the voices that are cloned."""
    return sorted({voice for voice in voices if consents.entry(job, voice) is not None})
