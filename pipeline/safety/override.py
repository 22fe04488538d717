"""A reviewer's signed word that a script may be spoken although a rule refuses it."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.signing import Refusal, SignatureError, SigningKey, believe
from pipeline.store import canonical
from pipeline.voices.consent import ConsentError, moment

KIND = "override"


class OverrideError(Refusal):
    """An override that does not count. `reason` is one of missing, malformed, kind, untrusted, altered, expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """These rules do not refuse this script: it is named by the SHA-256 of its file, so that no other text passes."""

    script: str  # SHA-256 of the file, hexadecimal
    rules: tuple[str, ...]  # ids
    reviewer: str
    why: str
    not_after: str  # UTC, such as 2026-11-24T00:00:00Z

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Raises OverrideError for anything but a whole one."""
        if set(body) != set(cls.__dataclass_fields__):
            told = f"found {', '.join(body) or 'nothing'}, expected {', '.join(cls.__dataclass_fields__)}"
            raise OverrideError("malformed", told)
        rules = body["rules"]
        texts = [body[name] for name in ("script", "reviewer", "why", "not_after")]
        if not isinstance(rules, list) or not rules or not all(isinstance(t, str) and t for t in [*texts, *rules]):
            raise OverrideError("malformed", "found other than texts, expected texts, and a list of rules")
        try:
            moment(body["not_after"])
        except ConsentError as error:
            raise OverrideError("malformed", str(error)) from error
        return cls(**{**body, "rules": tuple(rules)})

    def body(self) -> dict[str, Any]:
        return {**asdict(self), "rules": list(self.rules)}

    @property
    def id(self) -> str:
        """16 hexadecimal digits that manifests name it by."""
        return hashlib.sha256(canonical(self.body())).hexdigest()[:16]

    def sign(self, key: SigningKey) -> bytes:
        return key.sign(KIND, self.body())


def read_override(data: bytes, trusted: Collection[str], now: float) -> Override:
    """One that a trusted reviewer signed and that is not over. Raises OverrideError."""
    try:
        found = Override.parse(believe(data, KIND, trusted))
    except SignatureError as error:
        raise OverrideError(error.reason, str(error)) from error
    if now >= moment(found.not_after):
        raise OverrideError("expired", f"found an override until {found.not_after}, which is over")
    return found
