"""Resemble AI's Perth, a neural watermark without a message, to compare with: a network changes the magnitudes of
what lies below 2 kHz, another tells whether one has.

Needs the package resemble-perth, which ships the weights, with setuptools below 81. It works at 32 kHz, on one CPU core
here.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import perth
import torch

from pipeline.audio.blocks import Samples

THRESHOLD = 0.5  # at which Perth's own command rounds the score up: marked


def mark(samples: Samples, rate: int) -> Samples:
    """(n,) mono float32 at ``rate`` Hz with the mark in it, as many samples."""
    with torch.inference_mode():
        out = _perth().apply_watermark(samples, sample_rate=rate)
    # Back from 32 kHz, resampling may leave a sample more or less.
    return np.pad(out, (0, max(0, len(samples) - len(out))))[: len(samples)].astype(np.float32)


def found(samples: Samples, rate: int) -> float:
    """How sure Perth is of its mark in (n,) mono float32 at ``rate`` Hz, 0 to 1; 0 for silence."""
    with torch.inference_mode():
        score = float(_perth().get_watermark(samples, sample_rate=rate, round=False))
    return score if math.isfinite(score) else 0.0


@cache
def _perth() -> Any:
    torch.set_num_threads(1)
    return perth.PerthImplicitWatermarker()
