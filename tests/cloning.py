"""An engine for tests that clones: the clip's length in bytes decides which of eSpeak's voices it is."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.engines import Spoken
from pipeline.engines.espeak import VARIANTS, Espeak
from pipeline.model import Chunk


class Cloning(Espeak):
    def __init__(self, voices: dict[str, dict[str, Any]]):
        self.clips = {name: Path(entry["clip"]).read_bytes() for name, entry in voices.items()}

    def voice(self, voice: str) -> str:
        name = voice.partition("@")[0]
        if name not in self.clips:
            raise ValueError(f"found voice {voice!r}, expected one of {', '.join(self.clips)}")
        return f"{name}@{hashlib.sha256(self.clips[name]).hexdigest()[:16]}"

    def own_voices(self) -> Sequence[str]:
        return []

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        for chunk in chunks:
            variant = VARIANTS[len(self.clips[chunk.voice.partition("@")[0]]) % len(VARIANTS)]
            (spoken,) = super().speak([replace(chunk, voice=variant)])
            yield replace(spoken, chunk=chunk)
