"""A real server with the OpenAI speech API for tests: eSpeak NG speaks, and goes wrong where a test says so."""

import asyncio
import io
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import soundfile
from aiohttp import web

from pipeline.audio.clip import resample
from pipeline.engines.espeak import Espeak

CONTAINERS = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None), "opus": ("OGG", "OPUS")}
SOUNDS = {
    "silent": lambda samples: samples * 0,
    "clipped": lambda samples: np.clip(samples * 50, -1, 1),
    "short": lambda samples: samples[: len(samples) // 20],
    "stuck": lambda samples: np.concatenate([samples, np.tile(samples[8000:16000], 16)]),
    "empty": lambda samples: samples[:0],
}


@dataclass(frozen=True)
class Refusal:
    """An answer with another status than 200."""

    status: int
    body: str = json.dumps({"error": {"message": "the server is in a mood"}})
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Delay:
    """Seconds before a sound answer."""

    seconds: float


Fault = Refusal | Delay | str | None


class SpeechServer:
    """``with SpeechServer() as server:`` listens at ``server.url``.

    A fault is a Refusal, a Delay, one of SOUNDS, or:

    reset      the connection ends in the middle of the body
    cut        the body ends early, and HTTP does not tell
    streamed   a WAV header that leaves the length open (0xFFFFFFFF), or (streamed0) states 0
    wav        WAV, whatever was asked for
    json, text   status 200 and words

    ``script`` is used up request by request; ``faults`` holds for every request with that voice or text.
    """

    def __init__(self, *, key: str = "", rate: int = 22050, together: int = 1, deaf: bool = False, models: int = 200):
        self.key, self.rate, self.deaf, self.models = key, rate, deaf, models
        self.together = together  # the first requests wait for one another until so many are there
        self.script: deque[Fault] = deque()
        self.faults: dict[str, Fault] = {}
        self.requests: list[dict[str, Any]] = []  # the bodies, as they came
        self.headers: list[dict[str, str]] = []
        self.sent: dict[str, np.ndarray] = {}  # text -> samples of its last sound answer, at `rate`
        self.now, self.most, self.dropped = 0, 0, 0  # requests on their way, the most at once, given up by clients
        self._espeak = Espeak()

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> str:
        self._gathered = asyncio.Event()
        app = web.Application()
        app.router.add_post("/v1/audio/speech", self._speech)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _locked(self, request: web.Request) -> web.Response | None:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if sent == self.key:
            return None
        message = f"Incorrect API key provided: {sent}. You can find your API key in your account."
        return web.json_response({"error": {"message": message}}, status=401)

    async def _models(self, request: web.Request) -> web.Response:
        return self._locked(request) or web.json_response({"data": []}, status=self.models)

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.now += 1
        self.most = max(self.most, self.now)
        if self.most >= self.together:
            self._gathered.set()
        try:
            await asyncio.wait_for(self._gathered.wait(), 5)
            return self._locked(request) or await self._answer(request, body)
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        finally:
            self.now -= 1

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        fault = self.faults.get(body["voice"], self.faults.get(body["input"]))
        if self.script:
            fault = self.script.popleft()
        if isinstance(fault, Refusal):
            return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if fault == "json":
            return web.json_response({"error": {"message": "CUDA out of memory"}})
        if fault == "text":
            return web.Response(body="Model is loading, please wait…".encode(), content_type="audio/wav")
        samples = await asyncio.to_thread(self._speak, body)
        samples = SOUNDS[fault](samples) if isinstance(fault, str) and fault in SOUNDS else samples
        whole = np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2")
        self.sent[body["input"]] = whole.astype(np.float32) / 32768
        data = encoded(whole, self.rate, "wav" if fault == "wav" else body["response_format"])
        if fault in ("streamed", "streamed0"):
            at = data.index(b"data") + 4
            data = data[:at] + (b"\xff" if fault == "streamed" else b"\x00") * 4 + data[at + 4 :]
        if fault == "cut":
            data = data[: len(data) // 4 * 2 + 1]
        if fault == "reset":
            return await _broken(request, data)
        return web.Response(body=data, content_type="application/octet-stream")

    def _speak(self, body: dict[str, Any]) -> np.ndarray:
        variant, _, pitch = body["voice"].partition("@")
        speed = 1.0 if self.deaf else body.get("speed", 1.0)
        samples = self._espeak._synthesise(
            body["input"], body.get("language", "en-us"), variant, int(pitch or 50), speed
        )
        return resample(samples, Espeak.sample_rate, self.rate)


async def _broken(request: web.Request, data: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


def encoded(whole: np.ndarray, rate: int, kind: str) -> bytes:
    """16-bit samples in one of the API's formats, by libsndfile."""
    if kind == "pcm":
        return whole.tobytes()
    container, subtype = CONTAINERS[kind]
    file = io.BytesIO()
    soundfile.write(file, whole, rate, format=container, subtype=subtype)
    return file.getvalue()
