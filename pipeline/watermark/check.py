"""What the watermark refuses to work on."""

from typing import Any

import numpy as np

CHANNELS = 64


def check_rate(rate: Any, lowest: int, highest: int) -> None:
    """Raises ValueError unless `rate` is a whole number of Hz between the two."""
    if not isinstance(rate, int | np.integer) or not lowest <= rate <= highest:
        raise ValueError(f"found a rate of {rate} Hz, expected a whole number from {lowest} to {highest}")


def check_samples(samples: Any) -> None:
    """Raises ValueError unless these are finite floats (n,) or (n, channels)."""
    if not isinstance(samples, np.ndarray) or samples.dtype not in (np.float32, np.float64):
        raise ValueError(f"found {getattr(samples, 'dtype', type(samples).__name__)} samples, expected float32 or 64")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 0 < samples.shape[1] <= CHANNELS):
        raise ValueError(f"found samples of shape {samples.shape}, expected (n,) or (n, channels)")
    if not np.isfinite(samples).all():
        bad = int(np.argmin(np.isfinite(samples).reshape(len(samples), -1).all(axis=1)))
        raise ValueError(f"found a sample that is not a finite number, the first at {bad}")
