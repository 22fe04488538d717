"""True peak: the signal between its samples, by four times oversampling (ITU-R BS.1770-4 Annex 2)."""

import numpy as np

from pipeline.audio.blocks import Samples

PHASES = 4
HALF = 12  # samples that the interpolation needs on either side; the filter of Annex 2 reaches 6
KAISER = 4.0  # flat within 0.1 dB up to 0.44 of the rate


def _filters() -> Samples:
    """(PHASES - 1, 2 * HALF): windowed sincs that read the signal 1/4, 2/4 and 3/4 past a sample."""
    shift = np.arange(1, PHASES)[:, None] / PHASES
    distance = np.arange(1 - HALF, HALF + 1) - shift
    window = np.i0(KAISER * np.sqrt(1 - (distance / HALF) ** 2)) / np.i0(KAISER)
    taps = np.sinc(distance) * window
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)


FILTERS = _filters()

# |sum h[k] x[n-k]| <= sum |h[k]| * max |x|: no interpolated value exceeds BOUND times the sample peak. The
# last factor covers the rounding of float32 sums.
BOUND = float(np.abs(FILTERS).sum(axis=1).max()) * (1 + 1e-5)


def sample_peak(samples: Samples) -> float:
    """The largest magnitude of an array of any shape; 0.0 for an empty one."""
    return float(max(samples.max(), -samples.min())) if samples.size else 0.0


def envelope(samples: Samples) -> Samples:
    """Largest magnitude of the true signal over each sample's interval, over all channels.

    Takes (n + 2 * HALF, channels), gives (n,): element i covers from sample ``HALF + i`` up to the next one.
    Sums tap by tap, not by a matrix product, so that a value never depends on where in a block it stands.
    """
    count = len(samples) - 2 * HALF
    highest = np.abs(samples[HALF : HALF + count])
    value, term = np.empty_like(highest), np.empty_like(highest)
    for taps in FILTERS:
        np.multiply(samples[1 : 1 + count], taps[0], out=value)
        for k in range(1, 2 * HALF):
            np.multiply(samples[1 + k : 1 + k + count], taps[k], out=term)
            value += term
        np.abs(value, out=value)
        np.maximum(highest, value, out=highest)
    return highest.max(axis=1)
