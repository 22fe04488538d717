"""Up to 16 s of audio, made ready once and compared with many keys."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter

from pipeline.watermark import payload as payloads
from pipeline.watermark.reference import FRAMES, PERIOD, Reference
from pipeline.watermark.spectrum import CELL, HIGH, HOP, LOW, mdct, spectrum, waveform

FLOOR = 0.2  # quantile of a bin's power over time that stands for the noise


@dataclass(frozen=True, slots=True)
class Look:
    """How much a bin counts by its power against the noise `over`: (over / (over + knee)) ** slope."""

    knee: float
    slope: int
    near: tuple[int, int]  # hops and bins over which power is smoothed for that


# Codecs leave noise that follows the speech, so that weak bins hold evidence too; other noise buries them.
LOOKS = (Look(0.3, 1, (1, 1)), Look(2.0, 2, (5, 3)))


class Piece:
    """Samples (n,) at 16 kHz, with every view of them computed once, when it is first asked for."""

    def __init__(self, samples: np.ndarray):
        self.size = min(samples.size // HOP * HOP, PERIOD)
        self._spectra = spectrum(samples[: self.size])
        self._views: dict[Look, View] = {}

    @cached_property
    def power(self) -> np.ndarray:
        """Power spectra of its hops, float32 (n / 128, 257)."""
        return (self._spectra.real**2 + self._spectra.imag**2)[1:-2]

    def view(self, look: Look) -> "View":
        if look not in self._views:
            self._views[look] = View(_whitened(self._spectra, look))
        return self._views[look]


class View:
    """The phases alone of a piece, as a signal (n,), each bin weighted by how far it stands out of noise.

    Its phases are given and the reference is random, so under chance alone a correlation with the reference is
    Gaussian, and its variance is the energy of this signal.
    """

    def __init__(self, signal: np.ndarray):
        self.size = signal.size
        flat = np.zeros(PERIOD, np.float32)
        flat[: self.size] = signal
        self.energy = float(flat @ flat)
        self.bins = fft.rfft(flat)

    @cached_property
    def analytic(self) -> np.ndarray:
        """The signal with its Hilbert transform as the imaginary part, complex64 (256000,)."""
        both = np.zeros(PERIOD, np.complex64)
        both[: PERIOD // 2] = 2 * self.bins[: PERIOD // 2]
        return np.asarray(fft.ifft(both, overwrite_x=True))

    def correlation(self, conjugate: np.ndarray, share: float) -> np.ndarray:
        """With a reference at all 256,000 lags: complex64, whose two parts have variance 1 under chance alone.

        `conjugate` is the reference's conjugate spectrum, `share` the part of the band's coefficients that it fills.
        The maximum lies where the reference begins; its angle is the rotation of all phases.
        """
        both = np.zeros(PERIOD, np.complex64)
        np.multiply(self.bins, conjugate, out=both[: PERIOD // 2 + 1])
        found = fft.ifft(both, overwrite_x=True)  # no negative frequencies: an analytic signal
        found *= np.float32(2 / np.sqrt(self.energy * share + 1e-12))
        return found

    def soft(self, keyed: Reference, lag: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
        """Evidence for each coded bit at a peak of the correlation, and its variance under chance alone."""
        begin = -lag % PERIOD  # the reference's sample at the piece's first
        start = -begin % CELL
        count = (self.size - start) // CELL - 1
        if count < 1:
            return np.zeros(payloads.LENGTH), np.zeros(payloads.LENGTH)
        turned = self.analytic[start : start + (count + 1) * CELL] * np.exp(np.complex64(-1j * angle))
        at = ((begin + start) // CELL + np.arange(count)) % FRAMES
        values = (mdct(np.ascontiguousarray(turned.real)) * keyed.signs[at])[~keyed.pilots[at]]
        bits = keyed.bits.reshape(FRAMES, -1)[at].reshape(-1)
        variance = np.bincount(bits, values * values, payloads.LENGTH)
        return np.bincount(bits, values, payloads.LENGTH), variance


def _whitened(spectra: np.ndarray, look: Look) -> np.ndarray:
    band = spectra[:, LOW:HIGH]
    power = band.real**2 + band.imag**2 + np.float32(1e-12)
    smooth = uniform_filter(power, look.near) if look.near != (1, 1) else power
    over = smooth / np.quantile(smooth, FLOOR, axis=0)
    out = np.zeros_like(spectra)
    out[:, LOW:HIGH] = band * ((over / (over + look.knee)) ** look.slope / np.sqrt(power))
    return waveform(out)
