"""Recorded consent: who allowed which clips of a voice to be cloned, for what, and until when."""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pipeline.signing import Refusal, SignatureError, SigningKey, believe
from pipeline.store import canonical

KIND, REVOKED = "consent", "revocations"
EVERY = "*"  # of languages and titles: all of them
SKEW = 300  # seconds by which the clock of the issuer may be ahead of ours
_HASH = 64  # hexadecimal digits of SHA-256


class ConsentError(Refusal):
    """A voice that must not be used.

    `reason` is one of missing, malformed, kind, untrusted, altered, not-yet, expired, revoked, voice, clip, purpose,
    language, title.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a person allowed. Times are UTC, such as 2026-11-24T00:00:00Z; hashes are SHA-256 in hexadecimal."""

    voice: str
    subject: str  # whose voice it is
    granted_by: str  # the same person, or who may sign for them
    purposes: tuple[str, ...]
    languages: tuple[str, ...]  # tags, or * alone
    titles: tuple[str, ...]  # ids, or * alone
    not_before: str
    not_after: str
    clips: tuple[str, ...]  # hashes of the reference clips' files
    statement: str  # hash of the recording in which the phrase is spoken
    phrase: str  # what the person was asked to say: new for every record, so that no old recording will do

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Raises ConsentError for anything but a whole record."""
        fields = cls.__dataclass_fields__
        if wrong := set(body) ^ set(fields):
            raise ConsentError(
                "malformed", f"found {_or_none(body)}, expected {', '.join(fields)} ({', '.join(wrong)})"
            )
        for name, field in fields.items():
            many = field.type is not str
            texts = body[name] if many else [body[name]]
            if not isinstance(texts, list | tuple) or not texts or not all(isinstance(t, str) and t for t in texts):
                raise ConsentError("malformed", f"{name}: found {body[name]!r}, expected {'texts' if many else 'text'}")
            if name in ("clips", "statement") and not all(_is_hash(t) for t in texts):
                raise ConsentError("malformed", f"{name}: found {body[name]!r}, expected SHA-256 in hexadecimal")
        values: dict[str, Any] = {
            name: tuple(body[name]) if isinstance(body[name], list) else body[name] for name in fields
        }
        made = cls(**values)
        if moment(made.not_before) >= moment(made.not_after):
            raise ConsentError("malformed", f"not_after: found {made.not_after}, expected later than {made.not_before}")
        return made

    def body(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def id(self) -> str:
        """16 hexadecimal digits that manifests and revocations name it by."""
        return hashlib.sha256(canonical(self.body())).hexdigest()[:16]

    def sign(self, key: SigningKey) -> bytes:
        return key.sign(KIND, self.body())


def _or_none(body: Mapping[str, Any]) -> str:
    return ", ".join(map(str, body)) or "nothing"


def _is_hash(text: str) -> bool:
    return len(text) == _HASH and set(text) <= set("0123456789abcdef")


def moment(text: str) -> float:
    """Seconds since 1970 of a time in UTC. Raises ConsentError for other than 2026-11-24T00:00:00Z."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise ConsentError("malformed", f"found the time {text!r}, expected one such as 2026-11-24T00:00:00Z") from None


def phrase(subject: str, granted_to: str) -> str:
    """A statement to be spoken, which ends in digits that nobody could have recorded before."""
    digits = " ".join(str(secrets.randbelow(10)) for _ in range(6))
    return (f"I, {subject}, allow {granted_to} to use recordings of my voice to make and use a synthetic version "
            f"of it. My number is {digits}.")  # fmt: skip


def read_consent(data: bytes, trusted: Collection[str], now: float) -> Consent:
    """A record that a trusted issuer signed and that is valid now. Raises ConsentError."""
    try:
        found = Consent.parse(believe(data, KIND, trusted))
    except SignatureError as error:
        raise ConsentError(error.reason, str(error)) from error
    if now + SKEW < moment(found.not_before):
        raise ConsentError("not-yet", f"found a consent from {found.not_before} on, which is still to come")
    if now >= moment(found.not_after):
        raise ConsentError("expired", f"found a consent until {found.not_after}, which is over")
    return found


def cover(consent: Consent, *, voice: str, clips: Collection[str], purpose: str, language: str, title: str) -> None:
    """Raises ConsentError unless the record covers this use of these clips (hashes of their files)."""
    if consent.voice != voice:
        raise ConsentError("voice", f"found the consent for {consent.voice!r}, expected one for {voice!r}")
    named(consent, clips)
    if purpose not in consent.purposes:
        raise ConsentError("purpose", f"found the purpose {purpose!r}, expected {' or '.join(consent.purposes)}")
    if EVERY not in consent.languages and language not in consent.languages:
        raise ConsentError("language", f"found the language {language!r}, expected {' or '.join(consent.languages)}")
    if EVERY not in consent.titles and title not in consent.titles:
        raise ConsentError("title", f"found the title {title!r}, expected {' or '.join(consent.titles)}")


def named(consent: Consent, clips: Collection[str]) -> None:
    """Raises ConsentError unless the record names these clips (hashes of their files)."""
    if stranger := sorted(set(clips) - set(consent.clips)):
        raise ConsentError(
            "clip", f"found a clip with the SHA-256 {stranger[0][:16]}…, which the consent does not name"
        )
    if not clips:
        raise ConsentError("clip", "found no clip, expected those that the consent names")


def revoke(old: bytes | None, key: SigningKey, ids: Collection[str], why: str, when: str) -> bytes:
    """The list of revoked consents with some more, one version up. Raises ConsentError for a list of another key."""
    body: dict[str, Any] = {"version": 0, "revoked": {}} if old is None else _revocations(old, [key.public])
    moment(when)
    for name in ids:
        if len(name) != 16 or not set(name) <= set("0123456789abcdef"):
            raise ConsentError("malformed", f"found the consent {name!r}, expected 16 hexadecimal digits")
    added = {name: {"when": when, "why": why} for name in ids if name not in body["revoked"]}
    return key.sign(REVOKED, {"version": body["version"] + 1, "revoked": {**body["revoked"], **added}})


def read_revocations(data: bytes, trusted: Collection[str], newest: int = 0) -> tuple[int, frozenset[str]]:
    """Version and ids of the revoked consents. Raises ConsentError, also for a list older than version `newest`."""
    body = _revocations(data, trusted)
    if body["version"] < newest:
        raise ConsentError("older", f"found revocations of version {body['version']}, version {newest} was seen before")
    return body["version"], frozenset(body["revoked"])


def _revocations(data: bytes, trusted: Collection[str]) -> dict[str, Any]:
    try:
        body = believe(data, REVOKED, trusted)
    except SignatureError as error:
        raise ConsentError(error.reason, f"the list of revocations: {error}") from error
    if set(body) != {"version", "revoked"} or type(body["version"]) is not int or not isinstance(body["revoked"], dict):
        raise ConsentError("malformed", "the list of revocations: found other keys than version and revoked")
    return body
