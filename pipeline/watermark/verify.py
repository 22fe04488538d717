"""Whether a file that was just written holds the mark that was put into it: one known payload, at one known place."""

import math

import numpy as np

from pipeline.watermark.check import check_rate, check_samples
from pipeline.watermark.detect import LAGS, RATES, chance
from pipeline.watermark.keys import Key
from pipeline.watermark.payload import Payload
from pipeline.watermark.piece import LOOKS, Piece
from pipeline.watermark.queue import Queue
from pipeline.watermark.reference import PERIOD, PILOTS, reference
from pipeline.watermark.spectrum import BINS, RATE, resample

SLACK = RATE // 10  # samples that a codec may delay or advance the sound: 0.1 s
AGREEMENT = 0.5  # of the payload's coefficients with theirs, against that of the pilots


class Verifier:
    """Adds up what a stream from its first sample on holds of a mark; memory does not grow with its length."""

    def __init__(self, rate: int, key: Key, payload: Payload):
        """`rate` in Hz, 4,000 to 192,000. Raises ValueError."""
        self._rate = check_rate(rate, *RATES)
        keyed = reference(key)
        self._parts = (keyed.pilot_spectrum, keyed.spectrum(payload) - keyed.pilot_spectrum)
        self._waiting = Queue(np.zeros(0, np.float32))
        self._sums = np.zeros((2, 2 * SLACK + 1), np.complex128)  # of the pilots, of the payload
        self._energy = 0.0

    def add(self, samples: np.ndarray) -> None:
        """Floats (n,) or (n, channels). Raises ValueError."""
        check_samples(samples)
        mono = samples if samples.ndim == 1 else samples.mean(axis=1)
        self._waiting.append(mono.astype(np.float32))
        period = PERIOD // RATE * self._rate
        while len(self._waiting) >= period:
            self._look(self._waiting.first(period))
            self._waiting.drop(period)

    def evidence(self) -> float:
        """How much of the mark is there, as -log p in nepers at the best lag; about 1 by chance. The stream ends."""
        if len(self._waiting):
            self._look(self._waiting.first(len(self._waiting)))
            self._waiting.drop(len(self._waiting))
        return float((np.abs(self._sums.sum(axis=0)) ** 2).max()) / (2 * self._energy) if self._energy else 0.0

    def p(self) -> float:
        """The chance that unmarked audio would look so, over all lags allowed. The stream then ends."""
        return chance(math.log(LAGS * self._sums.shape[1] / PERIOD) - self.evidence())

    def agrees(self) -> bool:
        """Whether a mark that is there carries this payload: its share of the coefficients agrees like the pilots."""
        whole = self._sums.sum(axis=0)
        best = int(np.abs(whole).argmax())
        pilots, payload = (self._sums[:, best] * np.conj(whole[best])).real
        return bool(payload / (BINS - PILOTS) > AGREEMENT * pilots / PILOTS)

    def _look(self, samples: np.ndarray) -> None:
        view = Piece(resample(samples, self._rate, RATE)).view(LOOKS[0])
        if view.energy > 0:
            for part, total in zip(self._parts, self._sums, strict=True):
                found = view.correlation(part, 1.0)
                total += np.concatenate([found[-SLACK:], found[: SLACK + 1]]) * math.sqrt(view.energy)
            self._energy += view.energy
