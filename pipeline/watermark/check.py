"""What the watermark refuses to work on."""

from typing import Any

import numpy as np

CHANNELS = 64  # at most
LOUDEST = 1e6  # amplitude at most: its square and what comes of it stay finite in 32 bits


def check_rate(rate: Any, lowest: int, highest: int) -> int:
    """The rate, a whole number of Hz between the two. Raises ValueError."""
    if not isinstance(rate, int | np.integer) or not lowest <= rate <= highest:
        raise ValueError(f"found a rate of {rate} Hz, expected a whole number from {lowest} to {highest}")
    return int(rate)


def check_samples(samples: Any) -> None:
    """Raises ValueError unless these are floats (n,) or (n, channels), none beyond LOUDEST."""
    if not isinstance(samples, np.ndarray) or samples.dtype not in (np.float32, np.float64):
        raise ValueError(f"found {getattr(samples, 'dtype', type(samples).__name__)} samples, expected float32 or 64")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 0 < samples.shape[1] <= CHANNELS):
        raise ValueError(f"found samples of shape {samples.shape}, expected (n,) or (n, channels)")
    if not np.abs(samples).max(initial=0) <= LOUDEST:  # nor is NaN
        sizes = np.abs(samples).reshape(len(samples), -1).max(axis=1)
        bad = int(np.argmin(sizes <= LOUDEST))
        found = f"of size {sizes[bad]:.0e}" if np.isfinite(sizes[bad]) else "that is not a finite number"
        raise ValueError(f"found a sample {found}, the first at {bad}")
