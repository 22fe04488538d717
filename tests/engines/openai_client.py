"""A client of the OpenAI speech API for tests, and what is put into it and taken out."""

from typing import Any

import numpy as np

from pipeline.engines import Spoken
from pipeline.engines.openai import OpenAI
from pipeline.model import Chunk
from tests.engines.speech_server import SpeechServer

SECRET = "sk-test-5e1f2a"
LINES = {
    "The keeper of the lighthouse has not seen a ship.": "en-us",
    "Le gardien du phare n'a pas vu de bateau.": "fr-fr",
    "Der Wärter hat kein Schiff gesehen.": "de",
    "El guardián no ha visto ningún barco.": "es",
}
LINE = next(iter(LINES))
OPTIONS: dict[str, Any] = {
    "url": "http://127.0.0.1:9", "model": "espeak", "voices": ["m1", "f2", "m3@40"],
    "languages": sorted(set(LINES.values())), "sample_rate": 22050,
}  # fmt: skip


def client(server: SpeechServer | None = None, **options: Any) -> OpenAI:
    return OpenAI(**{**OPTIONS, **({"url": server.url} if server else {}), **options})


def chunk(text: str = LINE, **keys: Any) -> Chunk:
    return Chunk(**{"key": f"{text}-key", "text": text, "language": LINES.get(text, "en-us"), "voice": "m1", **keys})


def one(engine: OpenAI, wanted: Chunk | None = None) -> Spoken:
    (spoken,) = engine.speak([wanted or chunk()])
    return spoken


def samples(spoken: Spoken) -> np.ndarray:
    assert spoken.samples is not None, spoken.error
    return spoken.samples
