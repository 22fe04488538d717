"""Spoken takes as whole arrays: cut to the speech, brought to another rate, fitted to a time."""

import math

import numpy as np
import python_stretch
import soxr

from pipeline.audio.blocks import Samples

SILENCE_DB = -70.0  # dBFS: what never exceeds this is silence, however loud the rest is
SEED = 1  # of the phases that the stretcher invents
BLOCK = 0.08  # seconds of its analysis: five periods of a low voice; longer ones smear onsets


def trim(samples: Samples, rate: int, floor_db: float = -50.0, keep: float = 0.005) -> tuple[Samples, int]:
    """Cuts the silence at both ends of a take (n,) or (n, channels).

    Speech is what exceeds ``floor_db`` relative to the take's own peak. Up to ``keep`` seconds around it
    stay, faded in and out. Returns the rest with the count of its samples before the onset; an empty array
    and 0 for a silent take.
    """
    first, end = sounding(samples, floor_db)
    if first == end:
        return samples[:0].copy(), 0
    margin = round(keep * rate)
    start, stop = max(0, first - margin), min(len(samples), end + margin)
    kept = samples[start:stop].copy()
    lead, tail = first - start, stop - end
    fades = (-1,) + (1,) * (samples.ndim - 1)
    kept[:lead] *= _fade_in(lead).reshape(fades)
    kept[len(kept) - tail :] *= _fade_in(tail)[::-1].reshape(fades)
    return kept, lead


def sounding(samples: Samples, floor_db: float = -50.0) -> tuple[int, int]:
    """Where the sound of (n,) or (n, channels) begins and ends: what exceeds ``floor_db`` relative to its own peak.

    Equal for silence.
    """
    level = np.abs(samples) if samples.ndim == 1 else np.abs(samples).max(axis=1)
    peak = float(level.max(initial=0.0))
    floor = max(peak * 10 ** (floor_db / 20), 10 ** (SILENCE_DB / 20))
    if peak <= floor:
        return 0, 0
    loud = level > floor
    return int(loud.argmax()), len(loud) - int(loud[::-1].argmax())


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """(n,) or (n, channels) at another rate in Hz, by soxr HQ; the array itself where the rates agree."""
    if from_rate == to_rate:
        return samples
    return soxr.resample(samples, from_rate, to_rate, quality="HQ").astype(np.float32, copy=False)


def stretch(samples: Samples, rate: int, factor: float) -> Samples:
    """Speaks ``factor`` times as fast at the same pitch: exactly round(n / factor) samples.

    Takes (n,) or (n, channels). By Signalsmith Stretch, in silence on both sides, so that the ends see whole
    analysis blocks and the onset stays at its place. ValueError for a factor outside [0.5, 2.0].
    """
    if not 0.5 <= factor <= 2.0:
        raise ValueError(f"stretch factor must be between 0.5 and 2.0, not {factor}")
    if factor == 1.0 or not len(samples):
        return samples
    columns = samples[:, None] if samples.ndim == 1 else samples
    stretcher = python_stretch.Signalsmith.Stretch(SEED)
    stretcher.configure(columns.shape[1], round(BLOCK * rate), round(BLOCK * rate / 4))
    stretcher.setTimeFactor(factor)
    length, lead = round(len(samples) / factor), 2 * stretcher.blockSamples()
    silence = np.zeros((2 * lead, columns.shape[1]), np.float32)
    padded = np.concatenate([silence[: round(lead * factor)], columns, silence])
    out = np.asarray(stretcher.process(np.ascontiguousarray(padded.T))).T[lead : lead + length]
    return np.ascontiguousarray(out[:, 0] if samples.ndim == 1 else out)


def _fade_in(count: int) -> Samples:
    """Raised cosine from just above 0 to just below 1."""
    return (0.5 - 0.5 * np.cos(math.pi * (np.arange(count) + 1) / (count + 1))).astype(np.float32)
