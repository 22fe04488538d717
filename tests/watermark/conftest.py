"""What is marked here: a minute of speech by the embedded engine, in two languages and three voices."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample
from pipeline.audio.codec import Delivery, Encoder, decode
from pipeline.engines.espeak import Espeak
from pipeline.model import Chunk
from pipeline.watermark import Key, Payload, embed

RATE = 22050  # of the engine
VOICES = ("f2", "m3", "m1")
TEXTS = {
    "en-gb": "The harbour was empty when we came down from the hill, and nobody had seen the boat since Tuesday. "
    "Ask him again, please. Where did he say the money was?",
    "de": "Der Regen kam erst am Abend, und wir saßen noch lange unter dem Dach. "
    "Sie hat mir nie gesagt, woher das Geld stammt. Wissen Sie, wo er wohnt?",
}


@pytest.fixture(scope="session")
def spoken() -> Callable[[int, float], Samples]:
    """The first seconds of it at a rate in Hz; nobody may change them. From 9.0 to 9.5 s there is digital silence."""
    engine = Espeak()
    engine.load()
    parts = []
    for voice in VOICES:
        for language, text in TEXTS.items():
            chunk = Chunk(key="", text=text, language=language, voice=engine.voice(voice))
            [take] = engine.speak([chunk])
            parts += [take.samples, np.zeros(RATE // 2, np.float32)]
    whole = np.concatenate(parts)

    @cache
    def cut(rate: int, seconds: float) -> Samples:
        samples = resample(whole, RATE, rate)[: round(seconds * rate)]
        assert len(samples) == round(seconds * rate)
        samples.setflags(write=False)
        return samples

    return cut


@pytest.fixture(scope="session")
def key() -> Key:
    return Key(bytes(range(32)))


@pytest.fixture(scope="session")
def other() -> Key:
    return Key(bytes(32))


@pytest.fixture(scope="session")
def payload(key: Key) -> Payload:
    return Payload.of(key, "0123456789ab")


@pytest.fixture(scope="session")
def marked(spoken: Callable[[int, float], Samples], key: Key, payload: Payload) -> Callable[[int, float], Samples]:
    """The same with the mark of `key` and `payload`."""

    @cache
    def mark(rate: int, seconds: float) -> Samples:
        samples = embed(spoken(rate, seconds), rate, key, payload)
        samples.setflags(write=False)
        return samples

    return mark


@pytest.fixture
def delivered(tmp_path: Path) -> Callable[[Samples, Delivery], Samples]:
    """Through a file of the pipeline's own encoder and back: (n,) at the rate of the delivery."""

    def deliver(samples: Samples, delivery: Delivery) -> Samples:
        path = tmp_path / f"a{delivery.extension}"
        with Encoder(path, delivery, {}) as encoder:
            encoder.write(samples)
        return decode(path, rate=delivery.rate)[0]

    return deliver
