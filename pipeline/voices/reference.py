"""Reference clips: the three to ten seconds of a recording that a voice is cloned from, and what is wrong with them."""

import functools
import hashlib
import json
import os
import posixpath
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample, sounding, trim
from pipeline.store import Store

RATE = 24000  # Hz
SHORTEST, LONGEST = 3.0, 10.0  # seconds of a reference, without the silence at its ends
MARGIN = 0.1  # seconds of that silence which stay
MOST = 120.0  # seconds of a recording that are read: it may be a film
FRAME, PHRASE = 0.03, 3.0  # seconds over which levels are taken, and in which speech pauses
QUIETEST = -45.0  # dBFS of the speech
CLIPPED = 0.001  # share of the samples that may stand at full scale
NOISE = 15.0  # dB by which the speech must lie above what is between the words
SILENT = 0.5  # share of the frames that may be silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The span of a recording that is cloned: samples (n,), mono at 24 kHz, and what was measured in it."""

    samples: Samples = field(repr=False)
    sound: float  # seconds without the silence at its ends
    start: float  # seconds into the recording
    recording: float  # seconds that were read of it
    chosen: bool  # whether it is a choice out of a longer recording, whose text does not fit it
    level: float  # dBFS of the speech
    noise: float  # dB of the speech over what is between the words
    silence: float  # share of its frames
    clipped: float  # share of its samples at full scale
    sha256: str = ""  # of the whole file

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE

    def faults(self) -> dict[str, tuple[str, str]]:
        """What is wrong with it, by name: the measured value and the limit. Empty where it can be cloned."""
        checks = [
            ("short", round(self.sound, 2) < SHORTEST, f"{self.sound:.1f} s of sound",
             f"{SHORTEST:g} to {LONGEST:g} s, without the silence at its ends"),
            ("quiet", self.level < QUIETEST, f"speech at {self.level:.0f} dBFS", f"at least {QUIETEST:.0f} dBFS"),
            ("clipped", self.clipped > CLIPPED, f"{self.clipped:.2%} of its samples clipped", f"at most {CLIPPED:.1%}"),
            ("noisy", self.noise < NOISE, f"speech {self.noise:.0f} dB above the noise", f"at least {NOISE:.0f} dB"),
            ("silent", self.silence > SILENT, f"{self.silence:.0%} silence in it", f"at most {SILENT:.0%}"),
        ]  # fmt: skip
        return {name: (found, expected) for name, wrong, found, expected in checks if wrong}


def read_reference(url: str, options: str = "{}") -> Reference:
    """The reference in a file that PyAV can read, a path or URL; of a long recording the best span.

    `options` are of the object store, as JSON. Kept, as planning asks for every track. ValueError, StoreError or
    OSError where it cannot be read; what is wrong with its sound is in its `faults`.
    """
    return _read(url, options, _stamp(url))


def spelling(name: str, clips: Mapping[str, Samples], text: str = "") -> str:
    """A cloned voice by its name and what it is cloned from, such as anna@0f3b5c...: another clip is another voice.

    `clips` are its own under "", in which `text` is said, and those of its emotions, samples (n,) at 24 kHz.
    """
    own = hashlib.sha256(clips[""].tobytes() + text.encode()).digest()
    hashed = hashlib.sha256(own)
    for term in sorted(clips.keys() - {""}):
        hashed.update(term.encode() + hashlib.sha256(clips[term].tobytes()).digest())
    return f"{name}@{hashed.hexdigest()[:16]}"


def _stamp(path: str) -> tuple[int, int]:
    """What changes with a file on this machine. A URL is taken to stay the same while the process lives."""
    if not os.path.isfile(path):
        return (0, 0)
    status = os.stat(path)
    return (status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _read(url: str, options: str, stamp: tuple[int, int]) -> Reference:
    parent, name = posixpath.split(url)
    store = Store(parent or ".", json.loads(options))
    with store.open(name) as source, tempfile.TemporaryFile() as file:
        shutil.copyfileobj(source, file)  # what is hashed is what is heard, whoever writes to the file meanwhile
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return replace(choose(_decoded(file)), sha256=sha256)


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


def choose(recording: Samples) -> Reference:
    """The reference in a recording (n,) at 24 kHz: all of it, or the best ten seconds between two pauses."""
    first, end = sounding(recording)
    sound, start = trim(recording, RATE, keep=MARGIN)[0], max(0, first - round(MARGIN * RATE))
    if round((end - first) / RATE, 2) <= LONGEST:
        return _measured(sound, end - first, start, len(recording), chosen=False)
    spans = [_measured(sound[a:b], b - a, start + a, len(recording), chosen=True) for a, b in _spans(sound)]
    return max(spans, key=_worth)


def _spans(sound: Samples) -> list[tuple[int, int]]:
    """Spans of 5 to 10 s, from a pause to a pause where there are pauses; at worst each ten seconds."""
    size = round(FRAME * RATE)
    power = _power(sound)
    quiet = np.flatnonzero(power < np.quantile(power, 0.95) * 1e-3)
    cuts = sorted({0, *(int(n) for n in quiet[:: max(1, len(quiet) // 200)])})
    longest = int(LONGEST / FRAME)
    found = []
    for begin in cuts:
        ends = [end for end in cuts if 5 / FRAME <= end - begin <= longest]
        found.append((begin * size, ends[-1] * size) if ends else (begin * size, (begin + longest) * size))
    whole = [(a, min(b, len(sound))) for a, b in found if min(b, len(sound)) - a >= 5 * RATE]
    return whole or [(0, round(LONGEST * RATE))]


def _worth(found: Reference) -> tuple[int, float]:
    """Faultless spans first; then clear, full, long ones."""
    score = min(found.noise, 40) / 40 - found.silence - 10 * found.clipped + found.seconds / 20
    return (-len(found.faults()), score)


def _measured(samples: Samples, sound: int, start: int, recording: int, *, chosen: bool) -> Reference:
    samples = np.ascontiguousarray(samples, np.float32)
    samples.setflags(write=False)
    power = _power(samples)
    loud = float(np.quantile(power, 0.95)) if len(power) else 0.0
    voiced = power[power > loud * 1e-3]
    level = float(voiced.mean()) if len(voiced) else 0.0
    full = np.abs(samples) >= 0.999
    flat = full[1:] & full[:-1]  # one sample at full scale is a peak, two are a flat top
    return Reference(
        samples=samples, sound=sound / RATE, start=start / RATE, recording=recording / RATE, chosen=chosen,
        level=10 * float(np.log10(level + 1e-12)), noise=_clear(power),
        silence=1 - len(voiced) / len(power) if len(power) else 1.0,
        clipped=float(flat.mean()) if len(flat) else 0.0,
    )  # fmt: skip


def _clear(power: NDArray[np.float64]) -> float:
    """dB of the speech over what is between the words, where it is least: speech pauses within three seconds."""
    size = round(PHRASE / FRAME)
    parts = [power[n : n + size] for n in range(0, max(1, len(power) - size + 1), size // 2)]
    low, high = zip(*(np.quantile(part, (0.05, 0.95)) if len(part) else (0.0, 0.0) for part in parts), strict=True)
    return float(10 * np.log10((np.array(high) + 1e-12) / (np.array(low) + 1e-12)).min())


def _power(samples: Samples) -> NDArray[np.float64]:
    size = round(FRAME * RATE)
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    return (whole.astype(np.float64) ** 2).mean(axis=1)
