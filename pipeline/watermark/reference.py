"""What a key stands for: the pseudo-random signal that phases are moved toward, and the signs of loudness."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import fft

from pipeline.watermark import payload as payloads
from pipeline.watermark.keys import Key
from pipeline.watermark.spectrum import BINS, CELL, HIGH, HOP, LOW, RATE, periodic, spectrum

PERIOD = 16 * RATE  # samples after which the reference repeats, so that a piece of a long track is found
FRAMES = PERIOD // CELL  # MDCT frames
HOPS = PERIOD // HOP
PILOTS = 44  # of the 92 coefficients of a frame; the others carry the payload
BANDS = 28  # of loudness, even on a logarithmic scale from 625 Hz to 3.5 kHz
BEAT = 8  # hops: a band is louder for the first half and softer for the second, or the other way round


@dataclass(frozen=True, eq=False)
class Reference:
    """The pseudo-random parts of one key; everything is computed once and kept."""

    key: Key

    @cached_property
    def signs(self) -> np.ndarray:
        """Sign of every MDCT coefficient, float32 (1000, 92)."""
        return self.key.signs("reference", (FRAMES, BINS)).astype(np.float32)

    @cached_property
    def pilots(self) -> np.ndarray:
        """Which coefficients are the same for every payload, bool (1000, 92), 44 in each frame."""
        return self.key.permutations("pilots", FRAMES, BINS) < PILOTS

    @cached_property
    def bits(self) -> np.ndarray:
        """The coded bit that each other coefficient carries, in frame order, int (48000,)."""
        count = FRAMES * (BINS - PILOTS)
        rounds = -(-count // payloads.LENGTH)  # every bit comes once in each round: short pieces hold all of them
        return self.key.permutations("bits", rounds, payloads.LENGTH).reshape(-1)[:count]

    @cached_property
    def pilot_spectrum(self) -> np.ndarray:
        """Conjugate spectrum of one period of the pilots, complex64 (128001,)."""
        return np.conj(fft.rfft(periodic(self.signs * self.pilots)))

    def signal(self, payload: payloads.Payload) -> np.ndarray:
        """One period of the reference with this payload, float32 (256000,)."""
        coefficients = self.signs.copy()
        coefficients[~self.pilots] *= 1 - 2 * payloads.encode(payload, self.key).astype(np.float32)[self.bits]
        return periodic(coefficients)

    def phases(self, payload: payloads.Payload) -> np.ndarray:
        """Unit short-time spectra of the reference in the marked band, complex64 (2000, 92)."""
        around = np.concatenate([(signal := self.signal(payload)), signal[: 3 * HOP]])
        found = spectrum(around)[3:-3, LOW:HIGH]
        return found / np.maximum(np.abs(found), 1e-9)

    def spectrum(self, payload: payloads.Payload) -> np.ndarray:
        """Conjugate spectrum of one period with this payload, complex64 (128001,)."""
        return np.conj(fft.rfft(self.signal(payload)))

    @cached_property
    def loudness(self) -> np.ndarray:
        """Louder (+1) or softer (-1): per hop and band, float32 (2000, 28)."""
        beats = self.key.signs("loudness", (HOPS // BEAT, BANDS)).astype(np.float32)
        shape = np.where(np.arange(BEAT) < BEAT // 2, 1, -1).astype(np.float32)
        return (beats[:, None, :] * shape[:, None]).reshape(HOPS, BANDS)

    @cached_property
    def loudness_spectrum(self) -> np.ndarray:
        return np.conj(fft.rfft(self.loudness, axis=0))

    def loudness_of_bins(self) -> np.ndarray:
        """The same for the bins of a short-time spectrum that begins at each hop, float32 (2000, 92)."""
        band = np.log(np.arange(LOW, HIGH) / LOW) / np.log(HIGH / LOW) * BANDS
        return np.roll(self.loudness, -2, axis=0)[:, band.astype(int)]


@lru_cache(maxsize=16)
def reference(key: Key) -> Reference:
    return Reference(key)
