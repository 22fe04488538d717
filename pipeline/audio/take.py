"""A take as it is kept: 16-bit mono FLAC whose Vorbis comments say what it is (RFC 9639)."""

import hashlib
import io

import numpy as np
import soundfile

from pipeline.audio.blocks import Samples

STREAMINFO, VORBIS_COMMENT = 0, 4
VENDOR = "dubline"


def encode_take(samples: Samples, rate: int, tags: dict[str, str]) -> bytes:
    """Takes (n,) float32, clipped to [-1, 1], and tags; the same ones give the same bytes.

    ValueError for a tag name that RFC 9639 section 8.6 does not allow, and for samples that are not (n,) or
    none at all.
    """
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"a take is mono and not empty, found an array of shape {samples.shape}")
    whole = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, whole, rate, format="FLAC", subtype="PCM_16")
    blocks, frames = _parsed(file.getvalue())
    info, comment = blocks[STREAMINFO], _comment(tags)
    return b"".join(
        [
            b"fLaC",
            bytes([STREAMINFO]) + len(info).to_bytes(3, "big") + info,
            bytes([VORBIS_COMMENT | 0x80]) + len(comment).to_bytes(3, "big") + comment,
            frames,
        ]
    )


def decode_take(data: bytes) -> tuple[Samples, int, dict[str, str]]:
    """Samples (n,), rate in Hz and tags. ValueError if anything is missing, or differs from what was written.

    STREAMINFO holds the MD5 of the samples (RFC 9639 section 8.2).
    """
    blocks, _ = _parsed(data)
    try:
        whole, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    except soundfile.LibsndfileError as fault:
        raise ValueError(f"damaged take: {fault.error_string}") from fault
    if hashlib.md5(whole.astype("<i2").tobytes()).digest() != blocks[STREAMINFO][18:34]:
        raise ValueError(f"damaged take: the {len(whole)} samples that can be read are not those written")
    return whole.astype(np.float32) / np.float32(32768), rate, _tags(blocks.get(VORBIS_COMMENT, b""))


def _parsed(data: bytes) -> tuple[dict[int, bytes], bytes]:
    """Metadata blocks by type, and the audio frames after them (RFC 9639 section 8.1)."""
    if data[:4] != b"fLaC":
        raise ValueError("damaged take: not a FLAC stream")
    blocks: dict[int, bytes] = {}
    start, last = 4, False
    while not last:
        header = data[start : start + 4]
        end = start + 4 + int.from_bytes(header[1:], "big")
        if len(header) < 4 or end > len(data):
            raise ValueError("damaged take: it ends within its metadata")
        last = bool(header[0] & 0x80)
        blocks[header[0] & 0x7F] = data[start + 4 : end]
        start = end
    if len(blocks.get(STREAMINFO, b"")) != 34:
        raise ValueError("damaged take: no STREAMINFO")
    return blocks, data[start:]


def _comment(tags: dict[str, str]) -> bytes:
    for key in tags:
        if not key or not key.isascii() or not key.isprintable() or set("=~") & set(key):
            raise ValueError(f"tag name {key!r} is not allowed in FLAC")
    fields = [VENDOR, *(f"{key}={value}" for key, value in sorted(tags.items()))]
    sized = [len(field.encode()).to_bytes(4, "little") + field.encode() for field in fields]
    return sized[0] + len(tags).to_bytes(4, "little") + b"".join(sized[1:])


def _tags(comment: bytes) -> dict[str, str]:
    file = io.BytesIO(comment)

    def number() -> int:
        return int.from_bytes(file.read(4), "little")

    try:
        file.read(number())
        fields = [file.read(number()).decode() for _ in range(number())]
        return dict(field.split("=", 1) for field in fields)
    except ValueError as fault:
        raise ValueError("damaged take: its tags cannot be read") from fault
