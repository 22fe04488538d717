"""The speech that the watermark is measured on, the same every time; keys, processes and tables."""

import hashlib
import multiprocessing
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
from corpus import parts, sentence

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample
from pipeline.engines.espeak import Espeak
from pipeline.model import Chunk
from pipeline.watermark import Key, Payload, embed

SECONDS = 10  # of a clip
RATES = (24_000, 48_000)
FLAC_RATE = 16_000
PAUSE = 8_000  # samples of eSpeak's 22,050 Hz between two sentences: 0.36 s
KEY = Key(bytes(range(32)))
OTHER = Key(bytes(range(1, 33)))  # of second marks
LANGUAGES = ("en", "fr", "es", "de", "it", "pt", "ru", "ar", "hi", "tr")
VOICES = ("m1", "f2", "m3", "f4", "m5", "f1", "m2", "f3", "m4", "f5")
SPARE_VOICE = "f2"  # where the engine has no such voice

Task = TypeVar("Task")
Done = TypeVar("Done")


@dataclass(frozen=True, eq=False)
class Clip:
    name: str  # speaker and number, or language
    kind: str  # "real" or "espeak"
    rate: int  # Hz
    samples: Samples

    @property
    def payload(self) -> Payload:
        return Payload.of(KEY, hashlib.sha256(self.name.encode()).digest())

    def marked(self) -> Samples:
        return embed(self.samples, self.rate, KEY, self.payload)


@cache
def clips(speech: Path, count: int) -> list[Clip]:
    """At most ``count`` clips of real speech and one in each of LANGUAGES; every other one has the higher rate."""
    found = []
    for kind, sounds in (("real", _real(speech, count)), ("espeak", _espeak())):
        for n, (name, samples, rate) in enumerate(sounds):
            samples = resample(samples, rate, RATES[n % 2])
            found.append(Clip(name, kind, RATES[n % 2], np.ascontiguousarray(samples[: SECONDS * RATES[n % 2]])))
    return found


def _real(speech: Path, count: int) -> list[tuple[str, Samples, int]]:
    """Every speaker's first clip, then every speaker's second one, and so on."""
    said = defaultdict(list)
    for path in sorted(speech.glob("*.flac")):
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == FLAC_RATE, path
        said[path.name.partition("-")[0]].append(samples)
    if not said:
        raise SystemExit(f"{speech} holds no FLAC files")
    size, pieces = SECONDS * FLAC_RATE, []
    for speaker, utterances in said.items():
        whole = np.concatenate(utterances)
        pieces += [(n, speaker, whole[n * size : (n + 1) * size]) for n in range(len(whole) // size)]
    pieces.sort(key=lambda piece: piece[:2])
    return [(f"{speaker}-{n}", samples, FLAC_RATE) for n, speaker, samples in pieces[:count]]


def _espeak() -> list[tuple[str, Samples, int]]:
    engine, found = Espeak(), []
    engine.load()
    for seed, (language, voice) in enumerate(zip(LANGUAGES, VOICES, strict=True)):
        tag = next((tag for tag in engine.languages() if tag.partition("-")[0] == language), None)
        if tag is None:
            continue
        try:
            voice = engine.voice(voice)
        except ValueError:
            voice = SPARE_VOICE
        draw, said = random.Random(seed), [np.zeros(0, np.float32)]
        while sum(map(len, said)) < SECONDS * engine.sample_rate:
            text = " ".join(sentence(parts(language), draw))
            spoken = next(iter(engine.speak([Chunk(key="", text=text, language=tag, voice=voice)])))
            said += [spoken.samples, np.zeros(PAUSE, np.float32)]
        found.append((language, np.concatenate(said)[: SECONDS * engine.sample_rate], engine.sample_rate))
    return found


def wrong(n: int) -> Key:
    """Any number of keys that nothing here is marked with."""
    return Key(hashlib.sha256(f"key {n} of nobody".encode()).digest())


def mapped(work: Callable[[Task], Done], tasks: Iterable[Task], processes: int) -> list[Done]:
    """The results in the order of their tasks, from processes that end with the last of them."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with ProcessPoolExecutor(processes, context, _quiet) as pool:
        return list(pool.map(work, tasks))


def _quiet() -> None:
    sys.stdout = sys.stderr  # Perth announces itself


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """In Markdown, aligned, the first column to the left."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def below(share: float, bar: float) -> str:
    return f"misses {100 * bar:.0f} %" if share < bar else ""
