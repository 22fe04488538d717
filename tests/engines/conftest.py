"""Fixtures: a speech server, and a client that does not wait long for it."""

from collections.abc import Iterator

import pytest

from pipeline.engines import openai
from tests.engines.speech_server import SpeechServer


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "BACKOFF", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[SpeechServer]:
    with SpeechServer() as server:
        yield server
