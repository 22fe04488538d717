"""An engine for tests that clones: the clip's file name says which of eSpeak's voices spoke it, as in anna.f2.wav."""

import functools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from pipeline.catalogue import read_catalogue
from pipeline.config import load_job
from pipeline.engines import Spoken
from pipeline.engines.espeak import Espeak
from pipeline.engines.higgs.voices import read_voices
from pipeline.model import Chunk
from pipeline.plan import plan


class Cloning(Espeak):
    clones = True

    def __init__(self, voices: dict[str, dict[str, Any]], storage_options: dict[str, Any] | None = None):
        self.voices = read_voices(voices, storage=json.dumps(storage_options or {}, sort_keys=True))
        self.variants = {name: Path(entry["clip"]).stem.rpartition(".")[2] for name, entry in voices.items()}

    def voice(self, voice: str) -> str:
        name = voice.partition("@")[0]
        if name not in self.voices:
            raise ValueError(f"found voice {voice!r}, expected one of {', '.join(self.voices)}")
        spelled = self.voices[name].spelling
        if voice not in (name, spelled):
            raise ValueError(f"found voice {voice!r}, but its clips are those of {spelled} now")
        return spelled

    def own_voices(self) -> Sequence[str]:
        return []

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        for chunk in chunks:
            (spoken,) = super().speak([replace(chunk, voice=self.variants[chunk.voice.partition("@")[0]])])
            yield replace(spoken, chunk=chunk)


TEXT = "The lamp is out again, and nobody comes here in March to light it for the boats that are still at sea."
OTHER = "We have waited seven years for a letter, and it was never written, as he told us on the stairs that night."


def clip(path: Path, text: str = TEXT) -> Path:
    """A reference clip of some six seconds, spoken by the voice that its name says."""
    engine = Espeak()
    (spoken,) = engine.speak([Chunk(key="", text=text, language="en-us", voice=path.stem.rpartition(".")[2])])
    soundfile.write(path, np.asarray(spoken.samples), engine.sample_rate)
    return path


def cast(**by_title: str) -> dict[str, Any]:
    """Titles of a catalogue, each spoken by one voice."""
    return {title: {"cast": {"": voice}} for title, voice in by_title.items()}


def reasons(path: Path) -> dict[str, str]:
    """Title -> why it is refused, or nothing."""
    job = load_job(str(path))
    return {track.title: " ".join(str(p) for p in track.errors) for track in plan(job, read_catalogue(job))}


@functools.cache
def heard() -> dict[str, list[np.ndarray]]:
    """Each of eSpeak's voices -> what the embedded encoder hears in two clips: unit vectors (pieces, size) of each."""
    from pipeline.audio.codec import decode
    from pipeline.engines.espeak import VARIANTS
    from pipeline.voices.encoder import EMBEDDED, open_encoder

    encoder = open_encoder(EMBEDDED)
    with tempfile.TemporaryDirectory() as folder:
        files = {v: [clip(Path(folder) / f"{n}.{v}.wav", t) for n, t in enumerate((TEXT, OTHER))] for v in VARIANTS}
        return {variant: [encoder.pieces(*decode(file)) for file in found] for variant, found in files.items()}
