"""Voices to clone: reference clips with their transcripts, known by what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.audio.blocks import Samples
from pipeline.engines.options import text, wrong
from pipeline.text.directions import EMOTIONS, STYLES
from pipeline.voices.reference import LONGEST, read_reference, spelling

KEYS = ("clip", "text", "emotions", "consent", "language", "accept")  # the last three are the plan's to check


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A reference: samples (n,) at 24 kHz, and what is said in it."""

    samples: Samples = field(repr=False)
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A voice with its clip, and clips of the same person in some emotions."""

    name: str
    clip: Clip
    emotions: Mapping[str, Clip]

    @property
    def spelling(self) -> str:
        clips = {"": self.clip, **self.emotions}
        return spelling(self.name, {term: clip.samples for term, clip in clips.items()}, self.clip.text)


def read_voices(options: Any, needed: bool = True, storage: str = "{}") -> dict[str, Voice]:
    """Voices by name, of `engine.options.voices`. ValueError names voice, file and what is wrong with it.

    Paths are absolute or URLs: a job file's are made so when it is read. `storage` are the options of the object
    store, as JSON.
    """
    expected = "voices by name, each with a clip and the text that is spoken in it"
    if not isinstance(options, Mapping) or not (options or not needed):
        raise wrong("voices", repr(options) if options else "nothing", expected)
    return {str(name): _voice(str(name), entry, storage) for name, entry in options.items()}


def _voice(name: str, entry: Any, storage: str) -> Voice:
    place = f"voices.{name}"
    if not isinstance(entry, Mapping) or (unknown := [key for key in entry if key not in KEYS]):
        found = repr(entry) if not isinstance(entry, Mapping) else f"the key {unknown[0]!r}"
        raise wrong(place, found, f"a mapping of {', '.join(KEYS)}")
    if "@" in name or not name.strip():
        raise wrong(place, repr(name), "a name without @")
    said = text(f"{place}.text", entry.get("text", ""), "what is spoken in the clip", empty=True)
    clip = read_clip(f"{place}.clip", entry.get("clip"), said, storage)
    terms, clips, emotions = (*EMOTIONS, *STYLES), {}, entry.get("emotions") or {}
    if not isinstance(emotions, Mapping):
        raise wrong(f"{place}.emotions", repr(emotions), "clips by emotion, such as {anger: anna-angry.wav}")
    for term, path in emotions.items():
        if term not in terms:
            raise wrong(f"{place}.emotions", repr(term), f"one of {', '.join(terms)}")
        clips[term] = read_clip(f"{place}.emotions.{term}", path, storage=storage)
    return Voice(name=name, clip=clip, emotions=clips)


def read_clip(option: str, path: Any, said: str = "", storage: str = "{}") -> Clip:
    """The clip at a path or URL, mono at 24 kHz, its ends cut. ValueError names option, file and fault."""
    path = text(option, path, "the path or URL of a reference clip")
    try:
        found = read_reference(path, storage)
    except (OSError, ValueError) as error:  # a StoreError among them
        raise wrong(option, f"{path}, which cannot be read ({error})", "audio or video") from None
    if fault := found.faults().get("short"):
        raise wrong(option, f"{fault[0]} in {path}", fault[1])
    if found.chosen and said:
        raise wrong(option, f"{found.recording:.1f} s of sound in {path}, and the text of all of it",
                    f"a clip of at most {LONGEST:.0f} s that the text fits; dub voices add cuts one")  # fmt: skip
    return Clip(samples=found.samples, text=said)
