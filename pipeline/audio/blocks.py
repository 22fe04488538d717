"""Fixed-size blocks out of a stream: what makes every result independent of how the stream was cut."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


class Blocks:
    """Cuts a stream into blocks of ``size`` samples that lie on multiples of ``size``."""

    def __init__(self, size: int, channels: int = 1):
        if channels not in (1, 2):
            raise ValueError(f"channels must be 1 or 2, not {channels}")
        self.size = size
        self.channels = channels
        self.rest: Samples = np.zeros((0, channels), np.float32)  # what does not fill a block yet

    def add(self, samples: Samples) -> list[Samples]:
        """Takes (n,) mono or (n, channels) float32; gives the blocks (size, channels) that are now full.

        The blocks are views: valid until the caller changes ``samples``. ValueError for another shape.
        """
        columns = samples[:, None] if samples.ndim == 1 else samples
        if columns.ndim != 2 or columns.shape[1] != self.channels:
            raise ValueError(f"expected {self.channels} channel(s), found an array of shape {samples.shape}")
        columns = columns.astype(np.float32, copy=False)
        held = np.concatenate([self.rest, columns]) if len(self.rest) else columns
        whole = len(held) - len(held) % self.size
        self.rest = held[whole:].copy()
        return [held[start : start + self.size] for start in range(0, whole, self.size)]
