"""The watermark of a track: put in before it is levelled, found again in the encoded file."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.audio.codec import blocks
from pipeline.config import Job
from pipeline.watermark import THRESHOLD, Embedder, Payload, Verifier

PROOF = 2.0  # seconds of speech from which a track must prove its mark


class Unmarked(ValueError):
    """The watermark is not found in the file that was to be delivered."""


def marked(mix: Iterable[np.ndarray], rate: int, job: Job, digest: str) -> Iterator[np.ndarray]:
    """The blocks of a mix (n,), marked with the id of the track; unchanged where the watermark is off."""
    if job.key is None or job.watermark is None:
        yield from mix
        return
    embedder = Embedder(rate, job.key, Payload.of(job.key, digest), strength=job.watermark.strength)
    for block in mix:
        yield embedder.process(block)
    yield embedder.flush()


def verified(file: Path, mix: Iterable[np.ndarray], rate: int, spoken: float, job: Job, digest: str) -> float | None:
    """The p-value of the mark in an encoded file; None where the watermark is off. Raises Unmarked.

    A track with less than PROOF seconds `spoken` holds too little for any proof. It must hold half of the evidence that
    the marked `mix` held before it was encoded.
    """
    if job.key is None:
        return None
    payload = Payload.of(job.key, digest)
    found: Verifier | None = None
    for block, encoded_rate in blocks(file):
        found = found or Verifier(encoded_rate, job.key, payload)
        found.add(block)
    assert found is not None, "blocks gives at least one"
    if (p := found.p()) < THRESHOLD:
        if not found.agrees():
            raise Unmarked(f"the encoded file holds the watermark of another track than {payload.hex()}")
        return p
    put = Verifier(rate, job.key, payload)
    for block in mix:
        put.add(block)
    if spoken >= PROOF or found.evidence() < put.evidence() / 2:
        raise Unmarked(
            f"the watermark is not found in the encoded file: p = {p:.1e}, expected under {THRESHOLD:.0e}; "
            "raise watermark.strength or delivery.bitrate, or deliver it with watermark: off"
        )
    return p
