"""Integrated loudness and true peak of a stream, in constant memory (ITU-R BS.1770-4)."""

import math
from array import array

import numpy as np
from numpy.typing import NDArray

from pipeline.audio.blocks import Blocks, Samples
from pipeline.audio.peak import BOUND, HALF, envelope, sample_peak

ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU
HOPS = 4  # a gating block is 400 ms and moves by 100 ms
RUNG_OUT = 1e-9  # a filter state below -180 dBFS adds nothing that the gates would let pass


def k_weighting(rate: int) -> NDArray[np.float64]:
    """Second-order sections (2, 6) of the K-weighting at ``rate`` Hz.

    BS.1770-4 Annex 1 tabulates them for 48 kHz only; these are its analogue prototypes, found by Mansbridge,
    Finn and Reiss (AES 132, 2012), taken to any rate by the bilinear transform.
    """
    k, q = math.tan(math.pi * 1681.974450955533 / rate), 0.7071752369554196
    high = 10 ** (3.999843853973347 / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / q + k * k
    numerator = [(high + middle * k / q + k * k), 2 * (k * k - high), (high - middle * k / q + k * k)]
    shelf = [*(b / a0 for b in numerator), 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    k, q = math.tan(math.pi * 38.13547087602444 / rate), 0.5003270373238773
    a0 = 1 + k / q + k * k
    highpass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return np.array([shelf, highpass])


def _lufs(energy: float) -> float:
    return -0.691 + 10 * math.log10(energy) if energy > 0 else -math.inf


class Meter:
    """Measures a mono or stereo stream given block by block; the cut of the blocks does not matter.

    Mono counts as one channel of weight 1, as in BS.1770-4, so the same speech in both channels of a stereo
    stream reads 3 LU higher. Keeps one float per 100 ms.
    """

    def __init__(self, rate: int, channels: int = 1):
        self._blocks = Blocks(round(rate / 10), channels)
        self._sections = k_weighting(rate)
        self._state = np.zeros((2, 2, channels))
        self._energies = array("d")  # K-weighted mean square of each 100 ms, summed over channels
        self._past: Samples = np.zeros((2 * HALF, channels), np.float32)
        self._peak = 0.0

    def add(self, block: Samples) -> None:
        """Takes (n,) mono or (n, channels) float32, full scale 1.0. ValueError for other channels."""
        for hop in self._blocks.add(block):
            window = np.concatenate([self._past, hop])
            self._past = window[len(hop) :]
            silent = not window.any()
            self._energies.append(self._energy(hop, silent))
            if not silent:
                self._peak = self._raised(window)

    def integrated(self) -> float:
        """Gated loudness so far in LUFS; -inf for silence and for less than one block of 400 ms."""
        hops = np.frombuffer(self._energies, np.float64) if self._energies else np.zeros(0)
        if len(hops) < HOPS:
            return -math.inf
        blocks = np.convolve(hops, np.full(HOPS, 1 / HOPS), mode="valid")
        blocks = blocks[blocks > 10 ** ((ABSOLUTE_GATE + 0.691) / 10)]
        if not len(blocks):
            return -math.inf
        blocks = blocks[blocks > blocks.mean() * 10 ** (RELATIVE_GATE / 10)]
        return _lufs(float(blocks.mean()))

    def true_peak(self) -> float:
        """Largest magnitude so far in dBTP, between the samples as well; -inf for silence."""
        after = np.zeros((2 * HALF, self._blocks.channels), np.float32)
        peak = self._raised(np.concatenate([self._past, self._blocks.rest, after]))
        return 20 * math.log10(peak) if peak > 0 else -math.inf

    def _energy(self, hop: Samples, silent: bool) -> float:
        if silent and np.abs(self._state).max() < RUNG_OUT:
            self._state[:] = 0
            return 0.0
        from scipy.signal import sosfilt  # a second of CPU, which a command that measures nothing does without

        weighted, self._state = sosfilt(self._sections, hop, axis=0, zi=self._state)
        return float(np.vdot(weighted, weighted)) / len(hop)

    def _raised(self, window: Samples) -> float:
        """The peak after ``window``: interpolates only where the bound leaves room for a higher one."""
        if sample_peak(window) * BOUND <= self._peak:
            return self._peak
        return max(self._peak, float(envelope(window).max()))
