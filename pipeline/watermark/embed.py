"""Marks speech: phases move toward a keyed reference, and loudness sways by a keyed fraction of a decibel.

After Arnold, Baum and Voessing, "A phase modulation audio watermarking technique" (IH 2009), with limits of our own:
docs/watermark.md has the formulas.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, minimum_filter1d, uniform_filter1d

from pipeline.watermark.check import check_rate, check_samples
from pipeline.watermark.keys import Key
from pipeline.watermark.payload import Payload
from pipeline.watermark.queue import Queue
from pipeline.watermark.reference import HOPS, reference
from pipeline.watermark.spectrum import BINS, FRAME, HIGH, HOP, LOW, RATE, resample, spectrum, waveform

STEP = 0.45  # radians that a phase moves toward the reference in one pass
PASSES = 2  # that move phases; one more restores magnitudes
REACH = 0.9  # radians that a phase moves in all
ROOM = 0.315  # amplitude of the mark against that of the speech around it in time
ROOMS = (0.27, 0.38)  # likewise in frequency, at the lowest and at the highest bin: ears and PESQ forgive more up there
SWAY_DB = 1.75  # of the loudness of a band, either way
CRISP = 32  # samples at 16 kHz (2 ms) over which the mark's level follows the speech's
QUIET = 1e-6  # amplitude under which there is nothing to mark
SILENCE = 0.001  # seconds of zeros that stay zeros
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
        rate = check_rate(rate, *RATES)
        if not STRENGTHS[0] <= strength <= STRENGTHS[1]:
            raise ValueError(f"found strength {strength}, expected {STRENGTHS[0]} to {STRENGTHS[1]}")
        self._rate, self._strength = rate, strength
        keyed = reference(key)
        self._phases = keyed.phases(payload)
        self._sway = 10 ** (strength * SWAY_DB / 20 * keyed.loudness_of_bins()) - 1
        self._edge = rate // 5 if rate % 5 == 0 else rate  # around a block: whole at both rates, longer than any reach
        self._block = BLOCK * rate
        self._waiting: Queue | None = None  # from `edge` before the next block on
        self._ended = False
        self._at = 0  # blocks marked
        self._shape: tuple[int, ...] = ()  # of one sample, as given
        self._type: np.dtype = np.dtype(np.float32)

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Takes floats (n,) or (n, channels) in [-1, 1] and gives out what is ready, in the same shape and type.

        Raises ValueError for others, for another shape or type than before, and after `flush`.
        """
        if self._ended:
            raise ValueError("found more samples after flush(), expected a new Embedder for them")
        check_samples(samples)
        if self._waiting is None:
            self._shape, self._type = samples.shape[1:], samples.dtype
            self._waiting = Queue(np.zeros((self._edge, *self._shape), self._type))
        if (samples.shape[1:], samples.dtype) != (self._shape, self._type):
            found, before = (f"{t} of shape (n,{f' {s[0]}' if s else ''})" for t, s in
                             ((samples.dtype, samples.shape[1:]), (self._type, self._shape)))  # fmt: skip
            raise ValueError(f"found {found}, expected {before} as in the block before")
        self._waiting.append(samples)
        return self._ready()

    def flush(self) -> np.ndarray:
        """The rest. The embedder is then at its end, and gives out nothing more."""
        if self._waiting is None or self._ended:
            return np.zeros((0, *self._shape), self._type)
        self._ended = True
        rest = max(0, len(self._waiting) - self._edge)
        self._waiting.append(np.zeros((self._block + self._edge, *self._shape), self._type))
        return self._ready()[:rest]

    def _ready(self) -> np.ndarray:
        assert self._waiting is not None
        need = self._block + 2 * self._edge
        out = [np.zeros((0, *self._shape), self._type)]
        while len(self._waiting) >= need:
            around = self._waiting.first(need)
            channels = around.reshape(need, -1).T
            marked = np.stack([self._mark(channel) for channel in channels], axis=1)
            out.append(marked.reshape(-1, *self._shape).astype(self._type))
            self._waiting.drop(self._block)
            self._at += 1
        return np.concatenate(out)

    def _mark(self, around: np.ndarray) -> np.ndarray:
        """The middle of `around` (edge + block + edge,), marked."""
        speech = np.ascontiguousarray(around, np.float32)
        inside = slice(self._edge, self._edge + self._block)
        if not speech.any():
            return around[inside]
        low = resample(speech, self._rate, RATE)
        low = low[: len(low) // HOP * HOP]
        mark = np.zeros_like(low)
        first = (self._at * BLOCK * RATE - self._edge * RATE // self._rate) // HOP - 3
        for start, end in _runs(np.abs(low).reshape(-1, HOP).max(axis=1) > QUIET):
            places = np.arange(first + start, first + end + 3) % HOPS
            part = slice(start * HOP, end * HOP)
            mark[part] = self._shaped(low[part], self._phases[places], self._sway[places])
        mark = resample(mark, RATE, self._rate)
        mark = np.pad(mark[: len(speech)], (0, max(0, len(speech) - len(mark))))
        return around[inside] + _tamed(speech, mark, self._rate)[inside]

    def _shaped(self, speech: np.ndarray, phases: np.ndarray, sway: np.ndarray) -> np.ndarray:
        """The mark alone: what is added to `speech` (n,) at 16 kHz."""
        before = spectrum(speech)
        band = before[:, LOW:HIGH]
        size = np.abs(band)
        unit = band * (1 / np.maximum(size, 1e-9))
        wanted = band * (1 + sway)
        step, reach, room = (np.float32(self._strength * x) for x in (STEP, REACH, ROOM))
        turned, out = unit, before.copy()
        for n in range(PASSES + 1):
            if n:
                moved = spectrum(waveform(out))[:, LOW:HIGH]
                turned = moved * (1 / np.maximum(np.abs(moved), 1e-9))
            turn = turned * np.conj(unit)
            if n < PASSES:
                turn *= _within(phases * np.conj(turned), step)
            out[:, LOW:HIGH] = wanted * _within(turn, reach)
        change = out[:, LOW:HIGH] - band
        out[:] = 0
        rooms = np.linspace(*ROOMS, BINS, dtype=np.float32) * np.float32(self._strength)
        out[:, LOW:HIGH] = change * _room(band, change, rooms)
        mark = waveform(out)
        heard, added = _power(speech), _power(mark)
        share = np.minimum(1, room * np.sqrt(heard / np.maximum(added, 1e-16)))
        return mark * uniform_filter1d(share, CRISP, mode="constant")


def embed(samples: np.ndarray, rate: int, key: Key, payload: Payload, *, strength: float = 1.0) -> np.ndarray:
    """Marked samples, in the shape and type of `samples` (n,) or (n, channels), floats in [-1, 1]; ValueError."""
    embedder = Embedder(rate, key, payload, strength=strength)
    return np.concatenate([embedder.process(samples), embedder.flush()])


def _runs(loud: np.ndarray) -> list[list[int]]:
    """First and last hops of what is to be marked: where it is loud, and the frames that reach into that."""
    near = maximum_filter1d(loud, 2 * FRAME // HOP + 1)
    return np.flatnonzero(np.diff(near, prepend=False, append=False)).reshape(-1, 2).tolist()


def _within(turn: np.ndarray, limit: np.float32) -> np.ndarray:
    """Turns of the plane, as numbers of size 1, by at most `limit` radians either way; arc tangents are slow."""
    most = np.empty_like(turn)
    most.real, most.imag = np.cos(limit), np.copysign(np.sin(limit), turn.imag)
    return np.where(turn.real < most.real, most, turn)


def _power(samples: np.ndarray) -> np.ndarray:
    return uniform_filter1d(samples * samples, CRISP, mode="constant").clip(0)


def _room(speech: np.ndarray, change: np.ndarray, rooms: np.ndarray) -> np.ndarray:
    """Share of `change` that stays masked: at most `rooms` times the speech, both smoothed over a few bins."""
    heard, added = (gaussian_filter1d(z.real**2 + z.imag**2, 1.0, axis=1, truncate=3) for z in (speech, change))
    return np.minimum(1, rooms * np.sqrt(heard / np.maximum(added, 1e-16)))


def _tamed(speech: np.ndarray, mark: np.ndarray, rate: int) -> np.ndarray:
    """The mark, gone where there is digital silence, and smaller where the sum would clip."""
    edges = np.flatnonzero(np.diff(speech == 0, prepend=False, append=False))
    for start, end in edges.reshape(-1, 2).tolist():
        if end - start >= SILENCE * rate:  # not the zero crossing of a wave
            mark[start:end] = 0
    over = (np.abs(speech + mark) > 1) & (np.abs(speech) <= 1)
    if not over.any():
        return mark
    share = np.where(over, (1 - np.abs(speech)) / np.maximum(np.abs(mark), 1e-9), 1).astype(np.float32)
    width = 2 * (rate // 500) + 1
    return mark * uniform_filter1d(minimum_filter1d(share, width), width)
