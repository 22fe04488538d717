"""The rules of a job, held against every script, and what reviewers have overridden of them."""

import time
from collections.abc import Sequence
from typing import Any

from pipeline import lists, notice
from pipeline.config import Job
from pipeline.model import Problem, Utterance
from pipeline.safety.override import Override, OverrideError, read_override
from pipeline.safety.rules import Hit, check, pack, release
from pipeline.store import StoreError

Ruling = tuple[str, tuple[int, ...], str]  # rule, lines of the file, id of its override; "" of a rule for review


def rule(
    spoken: Sequence[Utterance], language: str, job: Job, file: str, sha256: str
) -> tuple[list[Problem], list[Ruling]]:
    """What the rules refuse in a script, or want to be read by a person, and what of it is spoken all the same.

    They see whole sentences, as they will be spoken: a subtitle ends anywhere in one.
    """
    problems: list[Problem] = []
    rulings: list[Ruling] = []
    written = [said for said in spoken if said.id != notice.ID]  # the script itself, which is all that was reviewed
    for hit in _hits(spoken, language) if job.rules is not None else ():
        if hit.severity != "block":
            problems.append(_problem(hit, file, "read it before it is delivered", "note"))
            rulings.append((hit.rule, hit.places, ""))
            continue
        override, told = _overridden(hit, job, sha256)
        if override is not None and len(written) < len(spoken) and hit not in _hits(written, language):
            override, told = None, "; an override is for the script, and not for the notice"
        if override is None:
            problems.append(_problem(hit, file, f"a script without {hit.family}; docs/rules.md{told}", "error"))
        else:
            why = f"nothing: overridden by {override.reviewer} ({override.why})"
            problems.append(_problem(hit, file, why, "note"))
            rulings.append((hit.rule, hit.places, override.id))
    return problems, rulings


def _hits(spoken: Sequence[Utterance], language: str) -> list[Hit]:
    return check([(said.place, said.text) for said in spoken], language)


def state(job: Job, language: str, rulings: Sequence[Ruling]) -> str | dict[str, Any]:
    """Which rules a script was held against, as manifests say it: off, or the packs, of which one is its language's."""
    if job.rules is None:
        return "off"
    said = [
        {"rule": r, "lines": list(places), **({"override": o} if o else {"review": True})} for r, places, o in rulings
    ]
    own = pack(language)
    return {"pack": own and own.locale, "version": own and own.version, "packs": release(), "met": said}


def _problem(hit: Hit, file: str, expected: str, level: str) -> Problem:
    where = ", ".join(str(place) for place in hit.places)
    return Problem(file=file, line=hit.places[0], found=f"what the rule {hit.rule} is for, in the lines at {where}",
                   expected=expected, level=level)  # fmt: skip


def _overridden(hit: Hit, job: Job, sha256: str) -> tuple[Override | None, str]:
    """The override of a hit; or none, with what is wrong with those that the job names."""
    assert job.rules is not None
    wrong = []
    for url in job.rules.overrides:
        try:
            found = _read(url, job)
        except OverrideError as error:
            wrong.append(f"{url}: {error} ({error.reason})")
            continue
        if found.script == sha256 and hit.rule in found.rules:
            return found, ""
    return None, "".join(f"; {told}" for told in wrong)


def _read(url: str, job: Job) -> Override:
    assert job.rules is not None
    try:
        return read_override(lists.read(url, job), job.rules.reviewers, time.time())
    except (FileNotFoundError, StoreError) as error:
        raise OverrideError("missing", f"found {error}, expected an override that can be read") from error
