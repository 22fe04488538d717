"""The second layer: finds the keyed sway of loudness, which survives whatever invents new phases."""

from functools import cache

import numpy as np
from scipy import fft, special
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from pipeline.watermark.reference import BANDS, BEAT, HOPS, Reference
from pipeline.watermark.spectrum import FRAME, HIGH, LOW

FLOOR = 1e-7  # of the loudest hop: what lies 70 dB under it tells nothing
AROUND = 2.0  # hops and bands of the surroundings that a band is compared with
TEMPO_STEP, TEMPO_SPAN = 0.003, 0.12
PITCH_STEP, PITCH_SPAN = 1 / 72, 13  # octaves, steps either way: 2.2 semitones


@cache
def _bands(shift: float) -> np.ndarray:
    """Weights (257, 28) that gather bins into bands which lie `shift` times as high."""
    edges = LOW * (HIGH / LOW) ** (np.arange(BANDS + 1) / BANDS) * shift
    bins = np.arange(FRAME // 2 + 1)[:, None]
    # A bin counts for a band by how much of its width, half a bin to either side, lies inside.
    inside = np.minimum(bins + 0.5, edges[1:]) - np.maximum(bins - 0.5, edges[:-1])
    return np.clip(inside, 0, None).astype(np.float32)


def features(power: np.ndarray, shift: float = 1.0) -> np.ndarray:
    """How far each band stands out of its surroundings, float32 (n, 28), from power spectra (n, 257).

    `shift` undoes a change of pitch. Each value is divided by the spread around it, so that no loud change of the
    speech itself weighs more than others.
    """
    loud = power @ _bands(shift)
    level = np.log(loud + FLOOR * loud.max(initial=1e-12))
    level -= gaussian_filter1d(level, AROUND, axis=1, mode="nearest")
    level -= gaussian_filter1d(level, AROUND, axis=0)
    square = level * level
    spread = uniform_filter1d(square, 25, axis=0) + uniform_filter1d(square, 5, axis=1)
    return level / (np.sqrt(np.maximum(spread, 0)) + np.float32(0.05))


def paced(found: np.ndarray, tempo: float) -> np.ndarray:
    """Features (n, 28) as they were before the pace changed by `tempo`."""
    if tempo == 1:
        return found
    at = np.arange(int(len(found) * tempo)) / tempo
    low = at.astype(int)
    part = (at - low).astype(np.float32)[:, None]
    return found[low] * (1 - part) + found[np.minimum(low + 1, len(found) - 1)] * part


def score(found: np.ndarray, keyed: Reference) -> np.ndarray:
    """Correlation with the key's sway at all 2,000 lags, in units of its standard deviation.

    `found` are features of at most 2,000 hops. The sign of each beat is random and the features are given, so under
    chance alone the variance is the sum of squares of what each beat contributes.
    """
    whole = np.zeros((HOPS, BANDS), np.float32)
    whole[: len(found)] = found[:HOPS]
    sums = fft.irfft((fft.rfft(whole, axis=0) * keyed.loudness_spectrum).sum(axis=1), HOPS)
    total = np.cumsum(np.concatenate([whole, whole[:BEAT]]), axis=0)
    total = np.concatenate([np.zeros((1, BANDS), np.float32), total])
    half = BEAT // 2
    beats = 2 * total[half : half + HOPS] - total[:HOPS] - total[BEAT : BEAT + HOPS]
    energy = (beats * beats).sum(axis=1).reshape(-1, BEAT).sum(axis=0)
    return sums / np.sqrt(np.tile(energy, HOPS // BEAT) + 1e-12)


def log_p(z: np.ndarray | float) -> np.ndarray | float:
    """Logarithm of the chance that a score exceeds `z`."""
    return special.log_ndtr(-z)


@cache
def changes() -> list[tuple[float, list[float]]]:
    """Changes of pitch, each with the changes of pace to try with it: either alone, and both as by another speed."""
    tempi = np.arange(-round(TEMPO_SPAN / TEMPO_STEP), round(TEMPO_SPAN / TEMPO_STEP) + 1) * TEMPO_STEP + 1
    steps = np.arange(-PITCH_SPAN, PITCH_SPAN + 1)
    nearest = np.round(np.log2(tempi) / PITCH_STEP)
    found = []
    for step in steps.tolist():
        fitting = tempi if step == 0 else tempi[np.abs(nearest - step) <= 1]
        found.append((2 ** (step * PITCH_STEP), sorted({1.0, *np.round(fitting, 4).tolist()})))
    return found
