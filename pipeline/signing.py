"""Signed documents: canonical JSON under an Ed25519 signature (RFC 8032), for what must not be altered."""

import base64
import binascii
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.store import canonical

SECRET, PUBLIC = "dubsign1:", "dubkey1:"
LARGEST = 1 << 30  # bytes of a document


class Refusal(ValueError):
    """Something that must not be believed or used, with a word for the reason that stays the same."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason, str(self)))


class SignatureError(Refusal):
    """A signed document that must not be believed. `reason` is one of malformed, kind, untrusted, altered."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """The secret half of a pair. It is never shown: not by repr, not by str, not by an error."""

    secret: bytes  # 32 bytes, the seed of RFC 8032

    def __repr__(self) -> str:
        return f"SigningKey({self.public})"

    @classmethod
    def new(cls) -> Self:
        return cls(os.urandom(32))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The key of a file that `dub consent key` made. ValueError for another file, OSError for none."""
        return cls(_bytes(Path(path).read_text("utf-8", errors="replace").strip(), SECRET, f"{path}: a signing key"))

    def write(self, path: str | Path) -> None:
        """Into a file that only its owner can read. FileExistsError rather than overwrite anything."""
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(_text(SECRET, self.secret) + "\n")

    @property
    def public(self) -> str:
        """The half that others know: ``dubkey1:`` and 43 characters of base64url."""
        return _text(PUBLIC, self._private().public_key().public_bytes_raw())

    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)

    def sign(self, kind: str, body: dict[str, Any]) -> bytes:
        """A document of one kind, as `believe` reads it: canonical JSON with a line's end."""
        value = base64.urlsafe_b64encode(self._private().sign(_message(kind, body))).decode()
        return canonical({"kind": kind, "body": body, "key": self.public, "signature": value}) + b"\n"


def public_key(text: str) -> str:
    """A public key, checked. ValueError says what is wrong with it."""
    Ed25519PublicKey.from_public_bytes(_bytes(text, PUBLIC, "a public key"))
    return text


def believe(data: bytes, kind: str, trusted: Collection[str]) -> dict[str, Any]:
    """The body of a document of this kind that one of the trusted public keys has signed. Raises SignatureError.

    The signature covers the kind and the body, so that a document of one kind never passes for another. A key that
    stands twice, a number that is not whole, and anything beside kind, body, key and signature are refused.
    """
    document = parse(data)
    if set(document) != {"kind", "body", "key", "signature"} or not isinstance(document["body"], dict):
        raise SignatureError("malformed", "found other keys than kind, body, key and signature")
    if document["kind"] != kind:
        raise SignatureError("kind", f"found a document of the kind {document['kind']!r}, expected {kind!r}")
    if document["key"] not in trusted:
        raise SignatureError(
            "untrusted", f"found the issuer key {document['key']!r}, which is none of the trusted ones"
        )
    try:
        signature = base64.b64decode(str(document["signature"]), altchars=b"-_", validate=True)
        public = Ed25519PublicKey.from_public_bytes(_bytes(document["key"], PUBLIC, "a public key"))
        public.verify(signature, _message(kind, document["body"]))
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            "altered", "found contents that the signature does not cover: they were altered"
        ) from error
    body: dict[str, Any] = document["body"]
    return body


def parse(data: bytes) -> dict[str, Any]:
    """A JSON object of one meaning: no key twice, no fractions, no NaN. Raises SignatureError."""
    if len(data) > LARGEST:
        raise SignatureError("malformed", f"found {len(data)} bytes, expected at most {LARGEST}")
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise SignatureError("malformed", f"found {error}, expected JSON") from error
    if not isinstance(found, dict):
        raise SignatureError("malformed", f"found {type(found).__name__}, expected a JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
        raise ValueError(f"the key {twice!r} twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text}, which is not whole")


def _message(kind: str, body: dict[str, Any]) -> bytes:
    return b"dubline\0" + kind.encode() + b"\0" + canonical(body)


def _text(prefix: str, value: bytes) -> str:
    return prefix + base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str, prefix: str, what: str) -> bytes:
    """32 bytes of a key's text form. ValueError shows none of it."""
    if not text.startswith(prefix):
        raise ValueError(f"{what} begins with {prefix!r}, this one does not")
    try:
        value = base64.b64decode(text[len(prefix) :] + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        value = b""
    if len(value) != 32 or _text(prefix, value) != text:
        raise ValueError(f"{what} is {prefix} and 43 characters of base64url, this one is not")
    return value
