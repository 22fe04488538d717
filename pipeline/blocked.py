"""The blocklist of a job, held against every cloned voice at plan, at speak and at commit."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline import lists
from pipeline.audio.blocks import Samples
from pipeline.audio.take import decode_take
from pipeline.config import Job
from pipeline.consents import clips, entry, references
from pipeline.model import Chunk
from pipeline.parse import ConfigError
from pipeline.safety.blocklist import Blocklist, BlocklistError, hold, read_blocklist
from pipeline.speak import take_name
from pipeline.store import Store, StoreError
from pipeline.voices.encoder import LEAST, Vector, open_encoder
from pipeline.voices.reference import RATE

_parsed: dict[tuple[str, ...], tuple[bytes, Blocklist]] = {}  # of this process: a list of many people takes a second
_heard: dict[tuple[str, str], Vector] = {}  # SHA-256 of a clip and encoder -> what it hears in it
_passed: dict[int, set[tuple[Any, ...]]] = {}  # a list that is in use, by its identity -> clips that are not on it


def ready(job: Job) -> None:
    """Raises ConfigError where the job clones voices and its speaker encoder cannot be used."""
    if job.blocklist is not None and job.engine.options.get("voices"):
        try:
            open_encoder(job.blocklist.encoder)
        except ValueError as error:
            raise ConfigError(f"blocklist.encoder: {error}, or blocklist: off") from error


def check(job: Job, voice: str) -> None:
    """Raises BlocklistError for a cloned voice that is on the list, or where the list cannot be relied on.

    ConsentError where its clips are others than were planned.
    """
    about = entry(job, voice)
    if job.blocklist is None or about is None:
        return
    name, found = voice.partition("@")[0], current(job)
    passed, paths = _passed.setdefault(id(found), set()), clips(about)
    for emotion, clip in references(job, voice).items():
        known = (clip.sha256, job.blocklist.encoder)
        if known in passed:
            continue
        where = f"voice {name!r}, clip{f' of {emotion}' if emotion else ''} {paths[emotion]}"
        try:
            if known not in _heard:
                _heard[known] = open_encoder(job.blocklist.encoder).pieces(clip.samples, RATE)
        except ValueError as error:
            raise BlocklistError("missing", f"{where}: {error}") from error
        found.refuse(where, _heard[known])
        passed.add(known)


def check_takes(job: Job, voice: str, chunks: Sequence[Chunk], store: Store) -> int:
    """Hear a sample of the takes of a cloned voice: the longest ones, and more until they hold a second of speech.

    How many were heard; 0 where all of them hold less.
    Raises BlocklistError for a voice on the list, whatever its reference is: its takes are deleted.
    """
    if job.blocklist is None or entry(job, voice) is None:
        return 0
    parts: list[Samples] = []
    pieces = None
    for chunk in sorted(chunks, key=lambda chunk: (-chunk.predicted, chunk.key)):
        samples, rate, _ = decode_take(store.read(take_name(chunk.key)))
        parts.append(samples)
        if len(parts) < min(job.blocklist.sample, len(chunks)) or sum(map(len, parts)) < LEAST * rate:
            continue
        with contextlib.suppress(ValueError):  # less than a second of it is speech
            pieces = open_encoder(job.blocklist.encoder).pieces(np.concatenate(parts), rate)
            break
    if pieces is None:
        return 0
    try:
        current(job).refuse(f"takes of the voice {voice.partition('@')[0]!r}", pieces, united=False)
    except BlocklistError as error:
        if error.reason == "blocked":
            for chunk in chunks:
                store.delete(take_name(chunk.key))
        raise
    return len(parts)


def current(job: Job) -> Blocklist:
    """The list as it is now. Raises BlocklistError where it is missing, not to be believed, expired or an older one."""
    found = _held(job)
    assert job.blocklist is not None
    try:
        encoder = open_encoder(job.blocklist.encoder).id
    except ValueError as error:  # a worker without what the driver has
        raise BlocklistError("encoder", str(error)) from error
    if found.calibration.encoder != encoder:
        raise BlocklistError(
            "encoder", f"found a blocklist for the encoder {found.calibration.encoder}, expected one for {encoder}"
        )
    return found


def look(job: Job) -> None:
    """Note the version of the list. Raises BlocklistError where it cannot be relied on."""
    if job.blocklist is not None:
        _held(job)


def _held(job: Job) -> Blocklist:
    assert job.blocklist is not None
    url = job.blocklist.url
    if url is None:
        raise BlocklistError(
            "missing", "found no blocklist for a cloned voice, expected blocklist.url, or blocklist: off"
        )
    try:
        data, newest = lists.read(url, job), lists.newest(url, job)
    except (FileNotFoundError, StoreError) as error:
        raise BlocklistError("missing", f"found {error}, expected a blocklist that can be read") from error
    known = (url, *job.blocklist.issuers)
    if known not in _parsed or _parsed[known][0] is not data:
        _parsed[known] = (data, read_blocklist(data, job.blocklist.issuers))
        _passed.clear()
    found = hold(_parsed[known][1], time.time(), newest)
    lists.saw(url, found.version)
    return found


def state(job: Job, cloned: bool) -> str | dict[str, Any] | None:
    """What manifests say of the list: its version, off, or nothing for a track without cloned voices."""
    if not cloned:
        return None
    if job.blocklist is None:
        return "off"
    found = current(job)
    return {"version": found.version, "expires": found.expires, "people": len(found.people),
            "encoder": found.calibration.encoder}  # fmt: skip
