"""Bringing a track to its level: the gain that reaches a loudness, and a limiter for what sticks out."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, maximum_filter1d

from pipeline.audio.blocks import Blocks, Samples
from pipeline.audio.peak import BOUND, HALF, envelope, sample_peak

SIZE = 4096  # samples per inner block
MARGIN = 0.05  # dB taken off with any reduction, for what four times oversampling cannot see
RECOVERY = 6.0  # dB of reduction that are let go in one release time


def gain_db(integrated: float, target: float) -> float:
    """The gain in dB that brings ``integrated`` LUFS to ``target`` LUFS; 0.0 for silence (-inf)."""
    return target - integrated if np.isfinite(integrated) else 0.0


class Limiter:
    """Look-ahead true-peak limiter for a stream, linked over its channels.

    The reduction which each sample needs, in dB, is held over the look-ahead, let go along a straight line,
    and smoothed by a window as long as the hold: a weighted mean of values that each suffice suffices too.
    Where no true peak (BS.1770-4 Annex 2) exceeds the ceiling the samples pass unchanged, bit for bit.

    ``ceiling_dbtp`` in dBTP, ``lookahead`` and ``release`` (for 6 dB) in seconds. ValueError for others than
    a ceiling up to 0 dBTP and positive times.
    """

    def __init__(
        self,
        rate: int,
        ceiling_dbtp: float,
        lookahead: float = 0.005,
        release: float = 0.05,
        channels: int = 1,
    ):
        if not ceiling_dbtp <= 0:
            raise ValueError(f"ceiling_dbtp must be at most 0 dBTP, not {ceiling_dbtp}")
        if not (lookahead > 0 and release > 0):
            raise ValueError(f"lookahead and release must be positive, not {lookahead} and {release}")
        self._ceiling = 10 ** (ceiling_dbtp / 20)
        self._reach = max(1, round(lookahead * rate / 2))  # samples on either side of one that it acts upon
        self._slope = RECOVERY / (release * rate)  # dB per sample
        smooth = np.hanning(2 * self._reach + 3)[1:-1]
        self._smooth = smooth / smooth.sum()
        self._context = 2 * self._reach + HALF
        self._blocks = Blocks(SIZE, channels)
        self._past: Samples = np.zeros((2 * self._context, channels), np.float32)
        self._reduction = 0.0  # dB, held and released, just before the next block's first
        self._surplus = self._context  # samples still to be dropped, so that the output starts with the input

    def process(self, block: Samples) -> Samples:
        """Takes (n,) or (n, channels) float32; gives what is settled by now, in the same number of axes."""
        return self._shaped(self._settled(block), block.ndim)

    def flush(self) -> Samples:
        """The end of the stream, (n, channels) or (n,) for mono; the output is then as long as the input."""
        missing = len(self._blocks.rest) + self._context - self._surplus
        padding = np.zeros((self._context + SIZE, self._blocks.channels), np.float32)
        return self._shaped(self._settled(padding)[:missing], self._blocks.channels)

    def _shaped(self, samples: Samples, axes: int) -> Samples:
        return samples[:, 0] if axes == 1 else samples

    def _settled(self, block: Samples) -> Samples:
        done = [np.zeros((0, self._blocks.channels), np.float32)]
        for fresh in self._blocks.add(block):
            window = np.concatenate([self._past, fresh])
            self._past = window[SIZE:]
            done.append(self._limited(window)[self._surplus :])
            self._surplus = max(0, self._surplus - SIZE)
        return np.concatenate(done)

    def _limited(self, window: Samples) -> Samples:
        """The middle SIZE samples of a window that has the context on both sides."""
        middle = window[self._context : self._context + SIZE]
        if self._reduction == 0 and sample_peak(window) * BOUND <= self._ceiling:
            return middle
        true = envelope(window)
        if self._reduction == 0 and true.max() <= self._ceiling:
            return middle
        reduction = self._released(self._needed(true))
        gain = 10 ** (correlate1d(reduction, self._smooth)[self._reach : self._reach + SIZE] / -20)
        return (middle * gain[:, None]).astype(np.float32)

    def _needed(self, true: Samples) -> NDArray[np.float64]:
        """dB of reduction for an envelope, held over the reach; shorter than it by the reach at both ends."""
        over = np.maximum(true.astype(np.float64) / self._ceiling, 1.0)
        needed = np.where(over > 1, 20 * np.log10(over) + MARGIN, 0.0)
        return maximum_filter1d(needed, 2 * self._reach + 1)[self._reach : -self._reach]

    def _released(self, held: NDArray[np.float64]) -> NDArray[np.float64]:
        """``held`` with falls no steeper than the slope: max over k <= i of held[k] - slope * (i - k)."""
        line = self._slope * np.arange(len(held) + 1)
        falling = np.maximum.accumulate(np.concatenate([[self._reduction], held]) + line) - line
        released = np.maximum(falling[1:], held)
        self._reduction = float(released[SIZE - 1])
        return released
