"""Up to 16 s of audio, made ready once and compared with many keys."""

import numpy as np
from scipy import fft
from scipy.ndimage import uniform_filter

from pipeline.watermark import payload as payloads
from pipeline.watermark.reference import FRAMES, PERIOD, Reference
from pipeline.watermark.spectrum import CELL, HIGH, HOP, LOW, mdct, spectrum, waveform

KNEE = 1.5  # power against the noise at which a bin counts a third
FLOOR = 0.2  # quantile of a bin's power over time that stands for the noise
NEAR = (5, 3)  # hops and bins over which power is smoothed for that comparison
LEAN = 0.05  # power to which louder bins count more


class Piece:
    """The phases alone of samples (n,) at 16 kHz, as a signal, each bin weighted by how far it stands out of noise.

    Its phases are given and the reference is random, so under chance alone a correlation with the reference is
    Gaussian, and its variance is the energy of this signal.
    """

    def __init__(self, samples: np.ndarray):
        self.size = min(samples.size // HOP * HOP, PERIOD)
        spectra = spectrum(samples[: self.size])
        self.power = (spectra.real**2 + spectra.imag**2)[1:-2]
        flat = np.zeros(PERIOD, np.float32)
        flat[: self.size] = _whitened(spectra)
        self.energy = float(flat @ flat)
        self.bins = fft.rfft(flat)

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
        real = fft.irfft(self.bins * np.exp(np.complex64(-1j * angle)), PERIOD)
        at = ((begin + start) // CELL + np.arange(count)) % FRAMES
        values = (mdct(real[start : start + (count + 1) * CELL]) * keyed.signs[at])[~keyed.pilots[at]]
        bits = keyed.bits.reshape(FRAMES, -1)[at].reshape(-1)
        variance = np.bincount(bits, values * values, payloads.LENGTH)
        return np.bincount(bits, values, payloads.LENGTH), variance


def _whitened(spectra: np.ndarray) -> np.ndarray:
    band = spectra[:, LOW:HIGH]
    power = band.real**2 + band.imag**2 + np.float32(1e-12)
    smooth = uniform_filter(power, NEAR)
    over = smooth / np.quantile(smooth, FLOOR, axis=0)
    out = np.zeros_like(spectra)
    out[:, LOW:HIGH] = band * ((over / (over + KNEE)) ** 2 * power ** (LEAN - 0.5))
    return waveform(out)
