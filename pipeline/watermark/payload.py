"""What a watermark says: which track it marks, signed with the key."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.watermark import code
from pipeline.watermark.keys import Key

VERSIONS = (1,)  # that a detector tries; a new one says that the meaning of a track id has changed
_TRACK = 6  # bytes sent of the track
_MAC = 3  # bytes sent of its signature
_BITS = 8 * (_TRACK + _MAC)
LENGTH = code.length(_BITS)  # coded bits
_WIDTHS = {"version": 4, "key_id": 12, "track": 48}  # bits, in the order of the bytes


@dataclass(frozen=True, slots=True)
class Payload:
    """64 bits: the public id of the key (12), the track (48), the version (4). ValueError for a field out of range."""

    key_id: int
    track: int
    version: int = 1

    def __post_init__(self) -> None:
        for name, width in _WIDTHS.items():
            if not 0 <= (value := getattr(self, name)) < 1 << width:
                raise ValueError(f"{name} is {value}, expected 0 to {(1 << width) - 1}")

    @classmethod
    def of(cls, key: Key, digest: str | bytes) -> Self:
        """The payload of the track with this digest, in hexadecimal or raw: its first 48 bits. Raises ValueError."""
        try:
            raw = bytes.fromhex(digest) if isinstance(digest, str) else digest
        except ValueError:
            raise ValueError(f"the digest of a track is hexadecimal, found {digest!r}") from None
        if len(raw) < _TRACK:
            raise ValueError(f"the digest of a track has at least {_TRACK} bytes, found {len(raw)}")
        return cls(key.id, int.from_bytes(raw[:_TRACK], "big"))

    def hex(self) -> str:
        """16 hexadecimal digits."""
        return self.bytes().hex()

    def bytes(self) -> bytes:
        """8 bytes: version, key id and track, the highest bit first."""
        return (self.version << 60 | self.key_id << 48 | self.track).to_bytes(8, "big")


def encode(payload: Payload, key: Key) -> NDArray[np.uint8]:
    """Coded bits (LENGTH,) of 0 and 1. Raises ValueError for the payload of another key or an unknown version.

    They carry the track and 24 bits of an HMAC-SHA256 over the whole payload; version and key are not sent, since
    a detector tries the ones it knows. A keyed mask makes the code words unpredictable.
    """
    if payload.key_id != key.id:
        raise ValueError(f"key_id is {payload.key_id}, expected {key.id}, the id of {key!r}")
    if payload.version not in VERSIONS:
        raise ValueError(f"version is {payload.version}, expected one of {VERSIONS}")
    sent = payload.bytes()[-_TRACK:] + _mac(payload, key)
    return code.encode(np.unpackbits(np.frombuffer(sent, np.uint8))) ^ (_mask(key) < 0)


def decode(soft: NDArray[np.floating], key: Key) -> Payload | None:
    """The payload of soft values (LENGTH,), positive where a coded bit is 0, at any scale; None where none is signed.

    Noise and the marks of other keys pass the signature with a probability of 2^-21: 8 candidates, 24 bits each.
    Raises ValueError for another number of values.
    """
    for bits in code.decode(soft * _mask(key), _BITS):
        sent = np.packbits(bits).tobytes()
        for version in VERSIONS:
            payload = Payload(key.id, int.from_bytes(sent[:_TRACK], "big"), version)
            if hmac.compare_digest(_mac(payload, key), sent[_TRACK:]):
                return payload
    return None


def _mac(payload: Payload, key: Key) -> bytes:
    return hmac.digest(key.derive("payload mac"), payload.bytes(), hashlib.sha256)[:_MAC]


def _mask(key: Key) -> NDArray[np.int8]:
    return key.signs("payload mask", (LENGTH,))
