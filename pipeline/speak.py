"""Chunks to takes: the engine's audio, trimmed, put into the store under its key."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pipeline.audio.clip import trim
from pipeline.audio.take import encode_take
from pipeline.engines import Engine, Spoken
from pipeline.model import Chunk
from pipeline.store import Store, StoreError

WRITERS = 8  # takes on their way to the store at once: object stores answer slowly, but many at a time


def take_name(key: str) -> str:
    return f"takes/{key[:2]}/{key}.flac"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a chunk: seconds of speech in the store, or why there are none."""

    key: str
    seconds: float = 0.0
    error: str = ""


def speak(
    chunks: Sequence[Chunk], engine: Engine, store: Store, refusal: Callable[[str], str] = lambda voice: ""
) -> Iterator[Outcome]:
    """Speak a batch and store its takes; one outcome for each chunk. A chunk that fails does not stop the rest.

    `refusal` says why a voice must not speak now, or nothing where it may. It is asked again before each take is
    stored: a batch may last an hour.
    """
    voices = {chunk.voice for chunk in chunks}
    refused = {voice: reason for voice in voices if (reason := _stranger(engine, voice) or refusal(voice))}
    yield from (Outcome(key=chunk.key, error=refused[chunk.voice]) for chunk in chunks if chunk.voice in refused)
    chunks = [chunk for chunk in chunks if chunk.voice not in refused]
    with ThreadPoolExecutor(1 if store.local else WRITERS) as pool:
        writing: list[Future[Outcome]] = []
        given, stream = set(), _spoken(chunks, engine)
        for spoken in stream:
            given.add(spoken.chunk.key)
            if reason := refusal(spoken.chunk.voice):
                stream.close()
                yield Outcome(key=spoken.chunk.key, error=reason)
                yield from speak([chunk for chunk in chunks if chunk.key not in given], engine, store, refusal)
                break
            writing.append(pool.submit(_keep, spoken, engine, store))
            while len(writing) > WRITERS:
                yield writing.pop(0).result()
        yield from (future.result() for future in writing)


def _stranger(engine: Engine, voice: str) -> str:
    """Why the engine here would speak with another voice than was planned: its clips may be others by now."""
    try:
        spelled = engine.voice(voice)
    except ValueError as error:
        return str(error)
    return "" if spelled == voice else f"found voice {spelled!r}, expected {voice!r} as it was planned; run again"


def _spoken(chunks: Sequence[Chunk], engine: Engine) -> Generator[Spoken, None, None]:
    """The engine's results. An engine that raises fails the chunks that it has not given out."""
    given = set()
    try:
        for spoken in engine.speak(chunks):
            given.add(spoken.chunk.key)
            yield spoken
    except (Exception, SystemExit) as error:  # an exit would take the whole replica with it
        rest = [chunk for chunk in chunks if chunk.key not in given]
        if len(chunks) == 1:
            yield Spoken(chunk=chunks[0], error=f"{type(error).__name__}: {error}")
            return
        for chunk in rest:
            yield from _spoken([chunk], engine)


def _keep(spoken: Spoken, engine: Engine, store: Store) -> Outcome:
    chunk = spoken.chunk
    if spoken.samples is None:
        return Outcome(key=chunk.key, error=spoken.error)
    samples, lead = trim(spoken.samples, engine.sample_rate)
    if not samples.size:
        return Outcome(key=chunk.key, error="the engine gave silence")
    data = encode_take(samples, engine.sample_rate, _tags(spoken, lead, engine))
    try:
        store.write(take_name(chunk.key), data)
    except StoreError as error:
        return Outcome(key=chunk.key, error=str(error))
    return Outcome(key=chunk.key, seconds=samples.size / engine.sample_rate)


def _tags(spoken: Spoken, lead: int, engine: Engine) -> dict[str, str]:
    """Provenance of a take. `LEAD` is where its speech begins, in samples."""
    chunk, identity = spoken.chunk, engine.identity()
    tags: dict[str, Any] = {
        "KEY": chunk.key, "LANGUAGE": chunk.language, "VOICE": chunk.voice, "RATE": spoken.rate, "LEAD": lead,
        "ENGINE": identity["engine"], "ENGINE_VERSION": identity["version"],
        "COMMENT": "Synthetic speech",
    }  # fmt: skip
    return {name: str(value) for name, value in tags.items()}
