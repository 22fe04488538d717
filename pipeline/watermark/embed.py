"""Marks speech: phases move toward a keyed reference, and loudness sways by a keyed fraction of a decibel.

After Arnold, Baum and Voessing, "A phase modulation audio watermarking technique" (IH 2009), with limits of our own:
docs/watermark.md has the formulas.
"""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d, uniform_filter1d

from pipeline.watermark.check import check_rate, check_samples
from pipeline.watermark.keys import Key
from pipeline.watermark.payload import Payload
from pipeline.watermark.reference import HOPS, reference
from pipeline.watermark.spectrum import HIGH, HOP, LOW, RATE, resample, spectrum, waveform

STEP = 0.45  # radians that a phase moves toward the reference in one pass
PASSES = 2  # that move phases; one more restores magnitudes
REACH = 0.9  # radians that a phase moves in all
ROOM = 0.315  # amplitude of the mark against that of the speech around it, in frequency and in time
SWAY_DB = 1.5  # of the loudness of a band, either way
CRISP = 32  # samples at 16 kHz (2 ms) over which the mark's level follows the speech's
BLOCK = 4  # seconds marked at once
RATES = (8_000, 192_000)
STRENGTHS = (0.5, 2.0)


class Embedder:
    """Marks a stream, block by block; what comes out does not depend on how it was cut.

    >>> embedder = Embedder(24000, key, Payload.of(key, digest))  # doctest: +SKIP
    >>> marked = [embedder.process(block) for block in blocks] + [embedder.flush()]  # doctest: +SKIP
    """

    def __init__(self, rate: int, key: Key, payload: Payload, *, strength: float = 1.0):
        """`rate` in Hz, 8,000 to 192,000; `strength` 0.5 to 2. Raises ValueError for others."""
        check_rate(rate, *RATES)
        if not STRENGTHS[0] <= strength <= STRENGTHS[1]:
            raise ValueError(f"found strength {strength}, expected {STRENGTHS[0]} to {STRENGTHS[1]}")
        self._rate, self._strength = rate, strength
        keyed = reference(key)
        self._phases = keyed.phases(payload)
        self._sway = 10 ** (strength * SWAY_DB / 20 * keyed.loudness_of_bins()) - 1
        self._edge = rate // 5 if rate % 5 == 0 else rate  # around a block: whole at both rates, longer than any reach
        self._block = BLOCK * rate
        self._waiting = np.zeros((0, 1), np.float32)  # from `edge` before the next block on
        self._at = 0  # blocks marked
        self._mono = True

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Takes floats (n,) or (n, channels) in [-1, 1] and gives out what is ready, in the same shape and type."""
        check_samples(samples)
        taken = samples[:, None] if samples.ndim == 1 else samples
        if self._at or len(self._waiting):
            if taken.shape[1] != self._waiting.shape[1]:
                raise ValueError(f"found {taken.shape[1]} channels, expected {self._waiting.shape[1]} as before")
            self._waiting = np.concatenate([self._waiting, taken])
        else:
            self._waiting = np.concatenate([np.zeros((self._edge, taken.shape[1]), taken.dtype), taken])
            self._mono = samples.ndim == 1
        ready = list(self._blocks(self._block + 2 * self._edge))
        return self._joined(ready)

    def flush(self) -> np.ndarray:
        """The rest. The embedder is then at its end."""
        rest = max(0, len(self._waiting) - self._edge)
        padding = np.zeros((self._block + self._edge, self._waiting.shape[1]), self._waiting.dtype)
        self._waiting = np.concatenate([self._waiting, padding])
        out = list(self._blocks(self._block + 2 * self._edge))
        return self._joined(out)[:rest]

    def _joined(self, blocks: list[np.ndarray]) -> np.ndarray:
        empty = np.zeros((0, self._waiting.shape[1]), self._waiting.dtype)
        out = np.concatenate([empty, *blocks]).astype(self._waiting.dtype)
        return out[:, 0] if self._mono else out

    def _blocks(self, need: int) -> Iterator[np.ndarray]:
        while len(self._waiting) >= need:
            around = self._waiting[:need]
            marked = [self._mark(around[:, channel]) for channel in range(around.shape[1])]
            yield np.stack(marked, axis=1)
            self._waiting = self._waiting[self._block :]
            self._at += 1

    def _mark(self, around: np.ndarray) -> np.ndarray:
        """The middle of `around` (edge + block + edge,), marked."""
        speech = np.ascontiguousarray(around, np.float32)
        inside = slice(self._edge, self._edge + self._block)
        if not speech.any():
            return around[inside]
        low = resample(speech, self._rate, RATE)
        low = low[: len(low) // HOP * HOP]
        first = (self._at * BLOCK * RATE - self._edge * RATE // self._rate) // HOP - 3
        places = np.arange(first, first + len(low) // HOP + 3) % HOPS
        mark = self._shaped(low, self._phases[places], self._sway[places])
        mark = resample(mark, RATE, self._rate)
        mark = np.pad(mark[: len(speech)], (0, max(0, len(speech) - len(mark))))
        return around[inside] + _tamed(speech, mark, self._rate)[inside]

    def _shaped(self, speech: np.ndarray, phases: np.ndarray, sway: np.ndarray) -> np.ndarray:
        """The mark alone: what is added to `speech` (n,) at 16 kHz."""
        before = spectrum(speech)
        band = before[:, LOW:HIGH]
        size = np.abs(band)
        unit = band / np.maximum(size, 1e-9)
        wanted = size * (1 + sway)
        step, reach, room = (np.float32(self._strength * x) for x in (STEP, REACH, ROOM))
        turned, out = unit, before.copy()
        for n in range(PASSES + 1):
            if n:
                moved = spectrum(waveform(out))[:, LOW:HIGH]
                turned = moved / np.maximum(np.abs(moved), 1e-9)
            angle = _angle(turned * np.conj(unit))
            if n < PASSES:
                angle += np.clip(_angle(phases * np.conj(turned)), -step, step)
            np.clip(angle, -reach, reach, out=angle)
            out[:, LOW:HIGH] = wanted * unit * _turn(angle)
        change = out[:, LOW:HIGH] - band
        out[:] = 0
        out[:, LOW:HIGH] = change * _room(band, change, room)
        mark = waveform(out)
        heard, added = _power(speech), _power(mark)
        share = np.minimum(1, room * np.sqrt(heard / np.maximum(added, 1e-16)))
        return mark * uniform_filter1d(share, CRISP, mode="constant")


def embed(samples: np.ndarray, rate: int, key: Key, payload: Payload, *, strength: float = 1.0) -> np.ndarray:
    """Marked samples, in the shape and type of `samples` (n,) or (n, channels), floats in [-1, 1]; ValueError."""
    embedder = Embedder(rate, key, payload, strength=strength)
    return np.concatenate([embedder.process(samples), embedder.flush()])


def _angle(z: np.ndarray) -> np.ndarray:
    return np.arctan2(z.imag, z.real)


def _turn(angle: np.ndarray) -> np.ndarray:
    z = np.empty(angle.shape, np.complex64)
    z.real, z.imag = np.cos(angle), np.sin(angle)
    return z


def _power(samples: np.ndarray) -> np.ndarray:
    return uniform_filter1d(samples * samples, CRISP, mode="constant").clip(0)


def _room(speech: np.ndarray, change: np.ndarray, room: np.float32) -> np.ndarray:
    """Share of `change` that stays masked: at most `room` times the speech, both smoothed over a few bins."""
    heard, added = (gaussian_filter1d(z.real**2 + z.imag**2, 1.0, axis=1, truncate=3) for z in (speech, change))
    return np.minimum(1, room * np.sqrt(heard / np.maximum(added, 1e-16)))


def _tamed(speech: np.ndarray, mark: np.ndarray, rate: int) -> np.ndarray:
    """The mark, gone where there is digital silence, and smaller where the sum would clip."""
    silence = 2 * (rate // 2000) + 1  # samples: 1 ms of zeros, not the zero crossing of a wave
    zeros = maximum_filter1d(np.abs(speech), silence) == 0
    mark = np.where(maximum_filter1d(zeros, silence), 0, mark)
    over = (np.abs(speech + mark) > 1) & (np.abs(speech) <= 1)
    if not over.any():
        return mark
    share = np.where(over, (1 - np.abs(speech)) / np.maximum(np.abs(mark), 1e-9), 1).astype(np.float32)
    width = 2 * (rate // 500) + 1
    return mark * uniform_filter1d(minimum_filter1d(share, width), width)
