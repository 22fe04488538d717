"""A keyed watermark in the phase of the waveform, with a second layer in its loudness. Knows nothing of dubbing.

>>> import numpy as np
>>> from pipeline.watermark import Key, Payload, detect, embed
>>> key = Key.new()
>>> noise = np.random.default_rng(1).normal(0, 0.1, 160_000)
>>> marked = embed(noise, 16_000, key, Payload.of(key, "0123456789abcdef"))
>>> [finding] = detect(marked[30_000:], 16_000, key)
>>> finding.marked, finding.payload.hex()[4:], round(finding.offset, 3)
(True, '0123456789ab', 1.875)
"""

from pipeline.watermark.detect import THRESHOLD, Detector, Finding, detect
from pipeline.watermark.embed import Embedder, embed
from pipeline.watermark.keys import Key, read_keys, write_key
from pipeline.watermark.payload import Payload
from pipeline.watermark.verify import Verifier

__all__ = [
    "THRESHOLD",
    "Detector",
    "Embedder",
    "Finding",
    "Key",
    "Payload",
    "Verifier",
    "detect",
    "embed",
    "read_keys",
    "write_key",
]
