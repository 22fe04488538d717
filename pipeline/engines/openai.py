"""Any server that speaks the OpenAI speech API: POST {url}/v1/audio/speech."""

import asyncio
import contextlib
import hashlib
import json
import os
import queue
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import numpy as np

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample, trim
from pipeline.audio.codec import decode
from pipeline.engines import options as read
from pipeline.engines.base import EngineError, Spoken
from pipeline.engines.check import fault
from pipeline.model import Chunk

FORMATS = ("wav", "flac", "mp3", "opus", "pcm")
CONTAINERS = (b"RIFF", b"fLaC", b"OggS")  # what a server may send where it has no pcm
RETRIED = (429, 500, 502, 503, 504)  # what another try may mend
AWAY = (502, 503, 504)  # what a gateway says for a server that is not there
GREETING = 10.0  # seconds for the server to show that it is there
BACKOFF = 0.5  # seconds before the second try, twice as many before each further one
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
AGAIN = 3  # times that a bad take is asked for again
FASTER = 4  # times that a take that is too long is asked for again
MAX_BYTES = 1 << 26  # of an answer: ten minutes of 16-bit samples at 48 kHz
EXCERPT = 300  # characters of what the server says
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


class _Again(Exception):
    """What another try may mend, after `wait` seconds where the server says how many."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class _BadTake(EngineError):
    """Every take that the server gave has a fault."""


class OpenAI:
    """A client of one server. The options are those of docs/engines.md; ValueError names a wrong one."""

    def __init__(
        self, *, url: str = "", model: str = "", voices: Sequence[str] = (),
        languages: Sequence[str] | Mapping[str, str] = (), sample_rate: int = 24000, format: str = "wav",
        revision: str = "", concurrency: int = 16, timeout: float = 120, tries: int = 5,
        key_variable: str = "OPENAI_API_KEY", parameters: Mapping[str, Any] | None = None,
        send_language: str = "language", send_direction: str = "instructions", max_rate: float = 1.0,
    ):  # fmt: skip
        self.url = read.address(url)
        self.model = read.text("model", model, "the name of a model of the server")
        self.voices = read.voices(voices)
        self.tags = read.languages(languages)
        self.sample_rate = int(read.number("sample_rate", sample_rate, 8000, 192000, whole=True))
        if format not in FORMATS:
            raise read.wrong("format", repr(format), f"one of {', '.join(FORMATS)}")
        self.format = format
        self.revision = read.text("revision", revision, "text (a number in quotes)", empty=True)
        self.concurrency = int(read.number("concurrency", concurrency, 1, 1024, whole=True))
        self.timeout = read.number("timeout", timeout, 0.1, 3600)
        self.tries = int(read.number("tries", tries, 1, 100, whole=True))
        if not isinstance(key_variable, str) or not _VARIABLE.fullmatch(key_variable):  # it may be the key itself
            raise read.wrong(
                "key_variable", "no such name", "an environment variable's, in capitals, that holds the key"
            )
        self.key_variable = key_variable
        self.send_language = read.field("send_language", send_language)
        self.send_direction = read.field("send_direction", send_direction)
        if self.send_language and self.send_language == self.send_direction:
            raise read.wrong("send_direction", repr(send_direction), "another field than send_language")
        self.parameters = read.parameters(parameters, (*read.FIXED, self.send_language))
        self.max_rate = read.number("max_rate", max_rate, 1, 4)

    def identity(self) -> dict[str, Any]:
        return {
            "engine": "openai", "version": f"{self.model} {self.revision}".strip(), "model": self.model,
            "revision": self.revision, "parameters": self.parameters, "format": self.format,
            "sample_rate": self.sample_rate, "send_language": self.send_language,
            "send_direction": self.send_direction,
        }  # fmt: skip

    def languages(self) -> Mapping[str, str]:
        return self.tags

    def voice(self, voice: str) -> str:
        if voice not in self.voices:
            raise ValueError(f"found voice {voice!r}, expected one of the server's: {', '.join(self.voices)}")
        return voice

    def own_voices(self) -> Sequence[str]:
        return self.voices

    def load(self) -> None:
        """Ask the server for its models. Raises RuntimeError where it is out of reach or refuses the key."""
        asyncio.run(self._greet())

    async def _greet(self) -> None:
        limit = aiohttp.ClientTimeout(total=min(GREETING, self.timeout))
        try:
            async with self._session() as session, session.get(f"{self.url}/v1/models", timeout=limit) as response:
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            why = f"no answer within {limit.total:g} s" if isinstance(error, TimeoutError) else str(error)
        else:
            if status in (401, 403):
                raise RuntimeError(f"the server at {self.url} answered with status {status}: {self._key_hint()}")
            if status not in AWAY:  # not every server has this page
                return
            why = f"status {status}"
        raise RuntimeError(
            f"found no server at {self.url} ({why}), expected one with the OpenAI speech API that the workers can "
            "reach; start it, or put its address into engine.options.url"
        )

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        """In a thread of its own, so that requests go on while the caller deals with what it was given."""
        found: queue.SimpleQueue[Spoken | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._speak(chunks, found.put))

        def drive() -> None:
            try:
                with contextlib.suppress(BaseException):  # it is in the task
                    loop.run_until_complete(task)
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                found.put(None)

        thread = threading.Thread(target=drive, name="speech requests", daemon=True)
        thread.start()
        try:
            while (spoken := found.get()) is not None:
                yield spoken
            task.result()
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join()
            loop.close()

    async def _speak(self, chunks: Sequence[Chunk], give: Callable[[Spoken], None]) -> None:
        waiting = iter(chunks)

        async def work() -> None:
            for chunk in waiting:  # shared: each takes the next
                give(await self._spoken(session, chunk))

        async with self._session() as session, asyncio.TaskGroup() as group:
            for _ in range(min(self.concurrency, len(chunks))):
                group.create_task(work())

    async def _spoken(self, session: aiohttp.ClientSession, chunk: Chunk) -> Spoken:
        try:
            samples, rate = await self._fit(session, chunk)
        except EngineError as error:
            return Spoken(chunk=chunk, error=str(error))
        except Exception as error:
            return Spoken(chunk=chunk, error=f"{type(error).__name__}: {self._excerpt(str(error))}")
        return Spoken(chunk=chunk, samples=samples, rate=rate)

    async def _fit(self, session: aiohttp.ClientSession, chunk: Chunk) -> tuple[Samples, float]:
        """Speak at the normal rate, then, where that takes longer than the target, as much faster as needed."""
        rate, fastest = 1.0, min(chunk.max_rate, self.max_rate)
        samples = await self._take(session, chunk, rate)
        for _ in range(FASTER):
            seconds = self._seconds(samples)
            if chunk.target is None or seconds <= chunk.target or rate >= fastest:
                break
            faster = round(min(fastest, rate * seconds / chunk.target + 0.005), 3)
            try:
                shorter = await self._take(session, chunk, faster)
            except _BadTake:  # better too long than lost
                break
            if self._seconds(shorter) >= seconds:  # a server that takes no heed of `speed`
                break
            samples, rate = shorter, faster
        return samples, rate

    def _seconds(self, samples: Samples) -> float:
        return len(trim(samples, self.sample_rate)[0]) / self.sample_rate

    async def _take(self, session: aiohttp.ClientSession, chunk: Chunk, rate: float) -> Samples:
        """A take without a fault; a bad one is asked for again with the next seed."""
        for attempt in range(1 + AGAIN):
            samples, found = await self._ask(session, self._body(chunk, rate, attempt), chunk.key)
            reason = await asyncio.to_thread(fault, samples, found, chunk)
            if not reason:
                return np.clip(await asyncio.to_thread(resample, samples, found, self.sample_rate), -1, 1)
        raise _BadTake(f"{1 + AGAIN} takes of {1 + AGAIN} were bad, the last {reason}")

    def _body(self, chunk: Chunk, rate: float, attempt: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model, "input": chunk.text, "voice": chunk.voice, "response_format": self.format,
            **self.parameters,
        }  # fmt: skip
        if self.send_language:
            body[self.send_language] = chunk.language
        if self.send_direction and chunk.direction:
            body[self.send_direction] = chunk.direction
        if rate != 1:
            body["speed"] = rate
        seed = body.pop("seed", int.from_bytes(hashlib.sha256(chunk.key.encode()).digest()[:4], "big"))
        if seed is not None:
            body["seed"] = (seed + attempt) % 2**31
        return body

    async def _ask(self, session: aiohttp.ClientSession, body: dict[str, Any], key: str) -> tuple[Samples, int]:
        """The server's audio and its rate in Hz. What another try may mend is tried up to `tries` times in all."""
        for count in range(1, self.tries + 1):
            try:
                return await self._once(session, body)
            except _Again as error:
                failure = error
            except TimeoutError:
                failure = _Again(f"no answer within {self.timeout:g} s")
            except aiohttp.ClientPayloadError:
                failure = _Again("an answer that breaks off")
            except (aiohttp.ClientError, OSError) as error:
                failure = _Again(self._excerpt(str(error)) or type(error).__name__)
            if count < self.tries:
                wait = _backoff(key, count) if failure.wait is None else failure.wait
                await asyncio.sleep(min(wait, LONGEST_WAIT))
        raise EngineError(f"{self.tries} of {self.tries} tries failed, the last with {failure}")

    async def _once(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> tuple[Samples, int]:
        address = f"{self.url}/v1/audio/speech"
        async with session.post(address, json=body, allow_redirects=False) as response:
            data = bytearray()
            async for part in response.content.iter_any():
                data += part
                if len(data) > MAX_BYTES:
                    raise EngineError(f"found more than {MAX_BYTES >> 20} MiB of audio, expected less")
        status = response.status
        if 200 <= status < 300:
            return await asyncio.to_thread(self._decoded, bytes(data))
        said = f"status {status}: {self._excerpt(_message(bytes(data)) or response.reason or '')}"
        if status in RETRIED:
            raise _Again(said, _pause(response.headers.get("Retry-After", "")))
        hint = f"; {self._key_hint()}" if status in (401, 403) else ""
        raise EngineError(f"the server answered with {said}{hint}")

    def _decoded(self, data: bytes) -> tuple[Samples, int]:
        """float32 samples (n,) and their rate in Hz. Raises EngineError for text, _Again for broken audio."""
        if _is_text(data):
            raise EngineError(f"the server answered with text instead of audio: {self._excerpt(_message(data))}")
        if self.format == "pcm" and data[:4] not in CONTAINERS:
            if len(data) % 2:
                raise _Again(f"an answer that breaks off: found {len(data)} bytes of 16-bit samples")
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768), self.sample_rate
        try:
            return decode(_sized(data))
        except ValueError as error:
            raise _Again(f"audio that cannot be read: {error}") from error

    def _session(self) -> aiohttp.ClientSession:
        key = self._key()
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            connector=aiohttp.TCPConnector(limit=self.concurrency),
        )

    def _key(self) -> str:
        key = os.environ.get(self.key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise RuntimeError(f"{self.key_variable}: found characters that no key has, expected an API key")
        return key

    def _key_hint(self) -> str:
        state = "is refused" if self._key() else "is missing"
        return f"the key in the environment variable {self.key_variable} {state} on the worker"

    def _excerpt(self, text: str) -> str:
        """The start of what the server says, on one line and without the key."""
        key = self._key()
        text = text.replace(key, "(the key)") if key else text
        return " ".join(text.split())[:EXCERPT]


def _backoff(key: str, count: int) -> float:
    """Seconds before another try, after `count` of them."""
    return BACKOFF * 2 ** (count - 1) * random.Random(f"{key}/{count}").uniform(0.5, 1)


def _pause(value: str) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110 section 10.2.3); None where it cannot be read."""
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _is_text(data: bytes) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and "".join(text.split()).isprintable()


def _message(data: bytes) -> str:
    """What an answer in text says: the message of a JSON error where there is one, else all of it."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        for name in ("error", "message", "detail"):
            if isinstance(found, dict) and found.get(name):
                found = found[name]
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    return text


def _sized(data: bytes) -> bytes:
    """A WAV file with its true length in it, which a server that streams does not know; other data as it is.

    Raises _Again where samples are missing: readers of WAV take what is there for all.
    """
    if data[:4] != b"RIFF":
        return data
    at = 12
    while at + 8 <= len(data) and data[at : at + 4] != b"data":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    stated, there = int.from_bytes(data[at + 4 : at + 8], "little"), len(data) - at - 8
    if there < 0:
        raise _Again("an answer that breaks off: found no samples in it")
    if there < stated <= MAX_BYTES:
        raise _Again(f"an answer that breaks off: found {there} bytes of samples, expected {stated}")
    if 0 < stated <= there:
        return data
    length, whole = there.to_bytes(4, "little"), (len(data) - 8).to_bytes(4, "little")
    return data[:4] + whole + data[8 : at + 4] + length + data[at + 8 :]
