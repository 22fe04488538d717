"""Lapped transforms at the watermark's own rate: short-time spectra, and the MDCT that references are made in."""

from functools import cache, lru_cache
from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft

RATE = 16000  # Hz; the mark lives below 3.5 kHz, where every codec keeps the waveform
FRAME, HOP = 512, 128  # samples of a short-time spectrum: 32 ms, 8 ms
CELL = 256  # samples and bands of an MDCT frame
LOW, HIGH = 20, 112  # bins that are marked: 625 Hz to 3.5 kHz, of spectrum and MDCT alike
BINS = HIGH - LOW


@cache
def _window() -> np.ndarray:
    return np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME).astype(np.float32)


def spectrum(samples: np.ndarray) -> np.ndarray:
    """Short-time spectra of float32 samples (n * HOP,): complex64 (n + 3, 257), frame i ending with hop i."""
    padded = np.concatenate([np.zeros(FRAME - HOP, np.float32), samples, np.zeros(FRAME - HOP, np.float32)])
    return fft.rfft(sliding_window_view(padded, FRAME)[::HOP] * _window(), axis=1)


def waveform(spectra: np.ndarray) -> np.ndarray:
    """The samples (n * HOP,) whose short-time spectra come nearest to `spectra` (n + 3, 257)."""
    frames = fft.irfft(spectra, FRAME, axis=1) * (_window() * np.float32(2 * HOP / FRAME))
    count, steps = frames.shape[0], FRAME // HOP
    samples = np.zeros((count + steps - 1, HOP), np.float32)
    for step in range(steps):
        samples[step : step + count] += frames[:, step * HOP : (step + 1) * HOP]
    return samples[steps - 1 : 1 - steps].reshape(-1)


@cache
def _cosines() -> np.ndarray:
    """The MDCT's orthonormal basis in the marked band, shape (512, 92) (Princen and Bradley, 1986)."""
    n, k = np.arange(2 * CELL)[:, None] + 0.5, np.arange(LOW, HIGH) + 0.5
    basis = np.sin(np.pi * n / (2 * CELL)) * np.cos(np.pi / CELL * (n + CELL / 2) * k)
    return (np.sqrt(2 / CELL) * basis).astype(np.float32)


def mdct(samples: np.ndarray) -> np.ndarray:
    """Coefficients (n, 92) of samples ((n + 1) * CELL,) in the marked band."""
    return sliding_window_view(samples, 2 * CELL)[::CELL] @ _cosines()


def periodic(coefficients: np.ndarray) -> np.ndarray:
    """One period (n * CELL,) of the signal that repeats these MDCT coefficients (n, 92)."""
    frames = coefficients.astype(np.float32) @ _cosines().T
    return (frames[:, :CELL] + np.roll(frames[:, CELL:], 1, axis=0)).reshape(-1)


def resample(samples: np.ndarray, rate: int, target: int) -> np.ndarray:
    """Samples (n,) at `target` Hz; sample 0 stays at time 0. A few samples more come out, for a whole number of them.

    By the Fourier transform of all of them, so the first and the last 10 ms run into each other a little.
    """
    if rate == target:
        return samples
    step = rate // gcd(rate, target)
    size = -(-len(samples) // step) * step
    bins = fft.rfft(samples, size)
    count = size * target // rate
    kept = bins[: min(size, count) // 2 + 1]
    return np.asarray(fft.irfft(kept * _edge(len(kept)), count)) * np.float32(count / size)


@lru_cache(8)  # streams come in few sizes, files in any
def _edge(size: int) -> np.ndarray:
    """A soft end of so many bins, so that nothing rings."""
    return np.sin(np.pi / 2 * np.clip((size - np.arange(size)) / (0.1 * size), 0, 1).astype(np.float32)) ** 2
