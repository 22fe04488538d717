"""Voices to clone: reference clips with their transcripts, known by what they hold."""

import functools
import hashlib
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.audio.clip import resample, trim
from pipeline.engines.options import text, wrong
from pipeline.store import Store
from pipeline.text.directions import EMOTIONS, STYLES

RATE = 24000  # Hz
SHORTEST, LONGEST = 3.0, 10.0  # seconds of a clip, without the silence at its ends
MARGIN = 0.1  # seconds of that silence which stay
MOST = 60.0  # seconds of a file that are read: it may be a film
KEYS = ("clip", "text", "emotions", "consent")  # the consent is the plan's to check

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A reference: samples (n,) at 24 kHz, and what is said in it."""

    samples: Samples = field(repr=False)
    text: str = ""

    def digest(self) -> bytes:
        return hashlib.sha256(self.samples.tobytes() + self.text.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice with its clip, and clips of the same person in some emotions."""

    name: str
    clip: Clip
    emotions: Mapping[str, Clip]

    @property
    def spelling(self) -> str:
        """Name and content, such as anna@0f3b5c...: another clip is another voice, and speaks its takes anew."""
        hashed = hashlib.sha256(self.clip.digest())
        for term, clip in sorted(self.emotions.items()):
            hashed.update(term.encode() + clip.digest())
        return f"{self.name}@{hashed.hexdigest()[:16]}"


def read_voices(options: Any, needed: bool = True) -> dict[str, Voice]:
    """Voices by name, of `engine.options.voices`. ValueError names voice, file and what is wrong with it.

    Paths are absolute or URLs: a job file's are made so when it is read.
    """
    expected = "voices by name, each with a clip and the text that is spoken in it"
    if not isinstance(options, Mapping) or not (options or not needed):
        raise wrong("voices", repr(options) if options else "nothing", expected)
    return {str(name): _voice(str(name), entry) for name, entry in options.items()}


def _voice(name: str, entry: Any) -> Voice:
    place = f"voices.{name}"
    if not isinstance(entry, Mapping) or (unknown := [key for key in entry if key not in KEYS]):
        found = repr(entry) if not isinstance(entry, Mapping) else f"the key {unknown[0]!r}"
        raise wrong(place, found, f"a mapping of {', '.join(KEYS)}")
    if "@" in name or not name.strip():
        raise wrong(place, repr(name), "a name without @")
    said = text(f"{place}.text", entry.get("text", ""), "what is spoken in the clip", empty=True)
    clip = read_clip(f"{place}.clip", entry.get("clip"), said)
    terms, clips, emotions = (*EMOTIONS, *STYLES), {}, entry.get("emotions") or {}
    if not isinstance(emotions, Mapping):
        raise wrong(f"{place}.emotions", repr(emotions), "clips by emotion, such as {anger: anna-angry.wav}")
    for term, path in emotions.items():
        if term not in terms:
            raise wrong(f"{place}.emotions", repr(term), f"one of {', '.join(terms)}")
        clips[term] = read_clip(f"{place}.emotions.{term}", path)
    return Voice(name=name, clip=clip, emotions=clips)


def read_clip(option: str, path: Any, said: str = "") -> Clip:
    """The clip at a path or URL, mono at 24 kHz, its ends cut. ValueError names option, file and fault."""
    path = text(option, path, "the path or URL of a reference clip")
    try:
        samples, seconds = _trimmed(path, _stamp(path))
    except (OSError, ValueError) as error:  # a StoreError among them
        raise wrong(option, f"{path}, which cannot be read ({error})", "audio or video") from None
    if not SHORTEST <= seconds <= LONGEST:
        found = f"{seconds:.1f} s of sound in {path}" if seconds <= MOST else f"more than {MOST:.0f} s in {path}"
        raise wrong(option, found, f"{SHORTEST:.0f} to {LONGEST:.0f} s, without the silence at its ends")
    return Clip(samples=samples, text=said)


def _stamp(path: str) -> tuple[int, int]:
    """What changes with a file on this machine. A URL is taken to stay the same while the process lives."""
    if not os.path.isfile(path):
        return (0, 0)
    status = os.stat(path)
    return (status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _trimmed(path: str, stamp: tuple[int, int]) -> tuple[Samples, float]:
    """Samples, read-only, and their seconds of sound. Kept, as planning asks for every track."""
    parent, name = posixpath.split(path)
    with Store(parent or ".").open(name) as file:
        samples = _decoded(file)
    seconds = len(samples) / RATE
    if seconds <= MOST:
        seconds = len(trim(samples, RATE)[0]) / RATE
        samples = trim(samples, RATE, keep=MARGIN)[0]
    samples = np.ascontiguousarray(samples, np.float32)
    samples.setflags(write=False)
    return samples, seconds


def _decoded(file: BinaryIO) -> Samples:
    """Samples (n,) at 24 kHz, mono; of a long file little more than MOST seconds. ValueError for no audio."""
    from pipeline.audio.codec import blocks  # PyAV, which plan does not need otherwise

    parts, count, rate = [], 0, RATE
    for part, rate in blocks(file):
        parts.append(part.mean(axis=1, dtype=np.float32))
        count += len(part)
        if count > MOST * rate:
            break
    samples = resample(np.concatenate(parts), rate, RATE)
    if not np.isfinite(samples).all():
        raise ValueError("samples that are not finite")
    return samples
