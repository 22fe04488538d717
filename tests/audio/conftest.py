import math
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from av.filter import Graph

from pipeline.audio.blocks import Samples


def _speech(rate: int, seconds: float, seed: int = 0, peak: float = 0.7) -> Samples:
    """Gliding harmonics in syllables, some noise, and pauses of digital silence."""
    random = np.random.default_rng(seed)
    t = np.arange(round(rate * seconds)) / rate
    pitch = random.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voice = sum(np.sin(k * phase + k) / k for k in range(1, 30) if k * 250 < rate / 2)
    hiss = 0.3 * random.standard_normal(len(t)) * (np.sin(2 * np.pi * 1.1 * t) > 0.6)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * t) + 0.5 * np.sin(2 * np.pi * 0.31 * t + seed), 0, None)
    samples = (voice + hiss) * syllables**1.5
    return (samples / np.abs(samples).max() * peak).astype(np.float32)


@pytest.fixture
def speech() -> Callable[..., Samples]:
    return _speech


def _cut(samples: Samples, seed: int, largest: int) -> list[Samples]:
    """The samples in blocks of random sizes, some of them empty."""
    ends = np.cumsum(np.random.default_rng(seed).integers(0, largest, 10 * len(samples) // largest + 10))
    return np.split(samples, ends[ends < len(samples)])


@pytest.fixture
def cut() -> Callable[[Samples, int, int], list[Samples]]:
    return _cut


def _ebur128(samples: Samples, rate: int) -> tuple[float, float]:
    """Integrated LUFS and dBTP by the filter of FFmpeg."""
    layout = "mono" if samples.ndim == 1 else "stereo"
    graph = Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout=layout, time_base=Fraction(1, rate))
    meter = graph.add("ebur128", "peak=true:metadata=1:framelog=quiet")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), "flt", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    graph.push(frame)
    graph.push(None)
    metadata: dict[str, str] = {}
    while True:
        try:
            metadata = graph.pull().metadata or metadata
        except (av.EOFError, av.BlockingIOError):
            break
    return float(metadata["lavfi.r128.I"]), 20 * math.log10(float(metadata["lavfi.r128.true_peak"]))


@pytest.fixture
def ebur128() -> Callable[[Samples, int], tuple[float, float]]:
    return _ebur128
