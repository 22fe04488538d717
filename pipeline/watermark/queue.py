"""Samples on their way through a stream."""

import numpy as np


class Queue:
    """Samples (n, ...) in order; they are joined only when enough of them are there, so that small blocks cost little.

    What is given out are views: they are not to be written to.
    """

    def __init__(self, first: np.ndarray):
        self._head = first
        self._parts: list[np.ndarray] = []
        self._size = len(first)

    def __len__(self) -> int:
        return self._size

    def append(self, samples: np.ndarray) -> None:
        self._parts.append(samples.copy())  # the caller may use its array again
        self._size += len(samples)

    def first(self, count: int) -> np.ndarray:
        """The oldest samples, at most `count`; they stay."""
        if len(self._head) < min(count, self._size):
            self._head = np.concatenate([self._head, *self._parts])
            self._parts = []
        return self._head[:count]

    def last(self, count: int) -> np.ndarray:
        """The newest samples, at most `count`; they stay."""
        return self.first(self._size)[max(0, self._size - count) :]

    def drop(self, count: int) -> None:
        """Forget the oldest."""
        self.first(self._size)
        self._head = self._head[count:]
        self._size = len(self._head)
