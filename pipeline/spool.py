"""A mix on its way to the encoder: audio on local disk, silence as a number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

BLOCK = 1 << 16  # samples


class Spool:
    """Mono float32 samples in order. What was skipped is digital silence and takes no space."""

    def __init__(self, path: Path):
        self._file = open(path, "w+b")
        self._runs: list[tuple[bool, int]] = []  # (audio, samples)
        self.length = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, samples: np.ndarray) -> np.ndarray:
        """Add audio, or silence where there is no sound in it; returns it."""
        if not samples.any():
            self.skip(samples.size)
        else:
            self._file.write(np.ascontiguousarray(samples, np.float32).data)
            self._add(True, samples.size)
        return samples

    def skip(self, count: int) -> None:
        """Add silence."""
        if count > 0:
            self._add(False, count)

    def _add(self, audio: bool, count: int) -> None:
        self._runs.append((audio, count))
        self.length += count

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples from the beginning, in blocks."""
        self._file.flush()
        self._file.seek(0)
        for audio, count in self._runs:
            if not audio:
                yield from _zeros(count)
                continue
            while count:
                size = min(count, BLOCK)
                yield np.frombuffer(self._file.read(size * 4), np.float32)
                count -= size


def _zeros(count: int) -> Iterator[np.ndarray]:
    silence = np.zeros(max(0, min(count, BLOCK)), np.float32)
    while count > 0:
        yield silence[:count]
        count -= BLOCK
