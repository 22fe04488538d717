"""eSpeak NG, in process: the embedded engine. It speaks 100+ languages on any CPU.

The library keeps state between calls (wave phase, flutter, noise), so that a sentence sounds different after
another one. A take must depend on its chunk alone: the library is therefore unloaded and loaded anew for each
synthesis, which costs 0.4 ms, about a tenth of speaking a line. It is not thread-safe: one instance a process.
"""

import _ctypes
import ctypes
import functools
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import espeakng_loader
import numpy as np

from pipeline.engines.base import EngineError, Spoken
from pipeline.model import Chunk
from pipeline.text.directions import Direction, parse

WORDS_PER_MINUTE = 175  # eSpeak's normal rate
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4  # espeak_PARAMETER, speak_lib.h
SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
UTF8 = 1
NORMAL = 50  # of the range
SEED = 20240229
VARIANTS = ("m1", "f1", "m2", "f2", "m3", "f3", "m4", "f4", "m5", "f5", "m6", "m7", "m8")
PITCHES = (50, 40, 62)  # 50 is a variant's own pitch
_DICTIONARY = {"nb": "no", "hyw": "hy", "ltg": "lv"}  # where the file is not called by the tag's first part
STAGED = ("emotion", "style", "speed", "pitch", "expression")  # the families of directions that it follows
# Term -> what it adds to pitch and range (0 to 99), and what it multiplies rate and volume by. Terms add up.
MANNERS = {
    "elation": (8, 25, 1.1, 1.1), "amusement": (5, 20, 1.05, 1.0), "enthusiasm": (8, 30, 1.1, 1.15),
    "determination": (-3, -10, 0.97, 1.15), "pride": (-2, 10, 0.95, 1.1), "contentment": (-3, -10, 0.92, 0.95),
    "affection": (3, 5, 0.92, 0.85), "relief": (-2, 5, 0.93, 0.9), "contemplation": (-5, -15, 0.85, 0.9),
    "confusion": (5, 15, 0.93, 0.95), "surprise": (12, 35, 1.05, 1.1), "awe": (4, 10, 0.88, 0.85),
    "longing": (-2, 5, 0.87, 0.85), "arousal": (-5, 5, 0.88, 0.8), "anger": (4, 25, 1.1, 1.35),
    "fear": (12, 10, 1.15, 0.9), "disgust": (-6, 5, 0.92, 1.0), "bitterness": (-4, -10, 0.95, 1.0),
    "sadness": (-8, -20, 0.85, 0.8), "shame": (-6, -20, 0.9, 0.7), "helplessness": (4, -5, 0.92, 0.8),
    "singing": (5, 40, 0.85, 1.05), "shouting": (14, 20, 1.05, 1.6), "whispering": (-8, -30, 0.95, 0.45),
    "very slow": (0, 0, 0.65, 1.0), "slow": (0, 0, 0.82, 1.0), "fast": (0, 0, 1.22, 1.0),
    "very fast": (0, 0, 1.45, 1.0), "low pitch": (-18, 0, 1.0, 1.0), "high pitch": (18, 0, 1.0, 1.0),
    "expressive": (0, 30, 1.0, 1.05), "flat": (0, -45, 1.0, 1.0),
}  # fmt: skip
MAX_SECONDS = 600  # more audio than this from one chunk is a runaway

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_lock = threading.Lock()


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("kind", ctypes.c_ubyte * 4),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class _Manner(NamedTuple):
    """What a direction changes."""

    pitch: int = 0
    range: int = 0
    rate: float = 1.0
    volume: float = 1.0


_PLAIN = _Manner()


class _Library:
    """One fresh load of the shared library; state begins at zero."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate = self.lib.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if self.rate <= 0:
            raise EngineError("eSpeak NG does not start: its data files are missing or damaged")
        self.blocks: list[bytes] = []
        self.callback = _CALLBACK(self._collect)  # kept alive for as long as the library may call it
        self.length = 0

    def _collect(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self.blocks.append(ctypes.string_at(wave, count * 2))
            self.length += count
        return int(self.length > MAX_SECONDS * self.rate)

    def __enter__(self) -> "_Library":
        return self

    def __exit__(self, *_: object) -> None:
        self.lib.espeak_Terminate()
        _ctypes.dlclose(self.lib._handle)

    def speak(self, text: str, voice: str, pitch: int, rate: float, manner: _Manner) -> np.ndarray:
        lib = self.lib
        lib.espeak_SetSynthCallback(self.callback)
        lib.espeak_ng_SetRandSeed(ctypes.c_long(SEED))
        if lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise EngineError(f"eSpeak NG has no voice {voice!r}")
        lib.espeak_SetParameter(RATE, round(WORDS_PER_MINUTE * rate * manner.rate), 0)
        lib.espeak_SetParameter(PITCH, min(99, max(0, pitch + manner.pitch)), 0)
        if manner.range:
            lib.espeak_SetParameter(RANGE, min(99, max(0, NORMAL + manner.range)), 0)
        if manner.volume != 1.0:
            lib.espeak_SetParameter(VOLUME, round(100 * manner.volume), 0)
        data = text.encode("utf-8", "replace")
        if lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, UTF8, None, None) != 0:
            raise EngineError("eSpeak NG refused the text")
        if self.length > MAX_SECONDS * self.rate:
            raise EngineError(f"eSpeak NG spoke for more than {MAX_SECONDS} s")
        samples = np.frombuffer(b"".join(self.blocks), np.int16)
        return samples.astype(np.float32) / 32768


class Espeak:
    """The embedded engine. A voice is a variant with an optional pitch from 0 to 99, such as `f2` or `m3@40`."""

    max_rate = 2.0
    sample_rate = 22050

    def identity(self) -> dict[str, Any]:
        return {"engine": "espeak", "version": _facts().version, "wpm": WORDS_PER_MINUTE, "seed": SEED}

    def languages(self) -> Mapping[str, str]:
        return _facts().languages

    def voice(self, voice: str) -> str:
        variant, _, pitch = voice.partition("@")
        if variant not in _facts().variants or not (pitch or "50").isdecimal() or int(pitch or 50) > 99:
            raise ValueError(
                f"found voice {voice!r}, expected an eSpeak variant ({', '.join(VARIANTS)}, ...), "
                "with an optional pitch such as f2@60"
            )
        return variant if int(pitch or 50) == 50 else f"{variant}@{int(pitch)}"

    def own_voices(self) -> Sequence[str]:
        return [v if p == 50 else f"{v}@{p}" for p in PITCHES for v in VARIANTS]

    def direct(self, text: str) -> Direction:
        return parse(text).only(STAGED)

    def load(self) -> None:
        assert self._synthesise("a", "en-us", "m1", 50, 1.0).size, "eSpeak NG is silent"

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        for chunk in chunks:
            try:
                samples, rate = self._fit(chunk)
            except EngineError as error:
                yield Spoken(chunk=chunk, error=str(error))
            else:
                yield Spoken(chunk=chunk, samples=samples, rate=rate)

    def _fit(self, chunk: Chunk) -> tuple[np.ndarray, float]:
        """Speak at the normal rate, then, where that takes longer than the target, as much faster as needed."""
        variant, _, pitch = chunk.voice.partition("@")
        manner = _manner(chunk.direction)
        rate, fastest = 1.0, min(chunk.max_rate, self.max_rate)
        samples = self._synthesise(chunk.text, chunk.language, variant, int(pitch or 50), rate, manner)
        for _ in range(4):  # the engine's rate is not quite linear, so further corrections
            seconds = samples.size / self.sample_rate
            if chunk.target is None or seconds <= chunk.target or rate >= fastest:
                break
            rate = round(min(fastest, rate * seconds / chunk.target + 0.005), 3)
            samples = self._synthesise(chunk.text, chunk.language, variant, int(pitch or 50), rate, manner)
        return samples, rate

    def _synthesise(
        self, text: str, language: str, variant: str, pitch: int, rate: float, manner: _Manner = _PLAIN
    ) -> np.ndarray:
        voice = f"{_facts().voices[language]}+{variant}"
        with _lock, _Library() as library:
            assert library.rate == self.sample_rate
            return library.speak(text, voice, pitch, rate, manner)


def _manner(direction: str) -> _Manner:
    manners = [MANNERS[term] for term in parse(direction).only(STAGED).terms]
    pitches, ranges, rates, volumes = zip(*manners, strict=True) if manners else ((), (), (), ())
    return _Manner(sum(pitches), sum(ranges), math.prod(rates), math.prod(volumes))


class _Facts(NamedTuple):
    version: str
    languages: dict[str, str]  # tag -> name
    voices: dict[str, str]  # tag -> the library's identifier of the voice
    variants: frozenset[str]


@functools.cache
def _facts() -> _Facts:
    """What the library reports. A language whose dictionary is not in the wheel is not offered."""
    dictionaries = {p.name[: -len("_dict")] for p in Path(espeakng_loader.get_data_path()).glob("*_dict")}
    with _lock, _Library() as library:
        library.lib.espeak_Info.restype = ctypes.c_char_p
        library.lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        version = library.lib.espeak_Info(None).decode()
        languages, voices = {}, {}
        for voice in _voices(library.lib, None):
            tag = voice.languages[1:].decode()
            if tag not in voices and _DICTIONARY.get(tag, tag.partition("-")[0]) in dictionaries:
                languages[tag], voices[tag] = voice.name.decode().strip(), voice.identifier.decode()
        variants = _voices(library.lib, ctypes.byref(_Voice(languages=b"variant")))
        names = frozenset(v.identifier.decode().removeprefix("!v/") for v in variants)
        return _Facts(version, dict(sorted(languages.items())), voices, names)


def _voices(lib: Any, spec: Any) -> list[_Voice]:
    found = lib.espeak_ListVoices(spec)
    voices: list[_Voice] = []
    while found[len(voices)]:
        voices.append(found[len(voices)].contents)
    return voices
