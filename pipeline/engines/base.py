"""The contract of an engine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.model import Chunk


class EngineError(RuntimeError):
    """The engine cannot speak this chunk, and another try will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """The audio of a chunk, or why there is none."""

    chunk: Chunk
    samples: np.ndarray | None = None  # float32, shape (n,), in [-1, 1]
    rate: float = 1.0  # speaking rate that was used
    error: str = ""


class Engine(Protocol):
    """Opening an engine is cheap and needs no GPU: plan asks it questions. `load` is called before `speak`."""

    sample_rate: int  # Hz of what `speak` returns
    max_rate: float  # fastest speaking rate it takes, 1.0 where it has no rate control

    def identity(self) -> dict[str, Any]:
        """What shapes its audio besides the chunk: name, version, model revision, sampling. Part of take keys."""
        ...

    def languages(self) -> Mapping[str, str]:
        """Language tag -> name in English."""
        ...

    def voice(self, voice: str) -> str:
        """The voice in its canonical spelling, which gives itself. ValueError, with what is expected, for no voice."""
        ...

    def own_voices(self) -> Sequence[str]:
        """Voices for speakers that no cast names, most distinct first; empty where every speaker must be cast."""
        ...

    # An engine may also have `direct(text) -> Direction`: what it makes of a direction in words, with what it cannot
    # do in `lost` (without it, chunks carry the words as they are); `notes() -> Sequence[str]`: sentences that a person
    # should read before a job starts; and `clones = True`: it takes the options `voices`, name -> clip, text, emotions,
    # and `storage_options`, the job's, by which clips at URLs are read. Its `voice` then gives the `spelling` of
    # pipeline.voices.reference: by it the clips that are checked are those that are cloned.

    def load(self) -> None:
        """Make ready to speak in this process."""
        ...

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        """Speak a batch, in any order; one result for each chunk, given out as soon as it is there.

        The same chunk gives the same samples, whatever else is in the batch or was spoken before.
        """
        ...
