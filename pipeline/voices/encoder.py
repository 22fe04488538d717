"""Who speaks: a speaker encoder turns speech into a vector that is near to others of the same voice."""

import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample

RATE = 16000  # Hz, of both encoders
LEAST = 1.0  # seconds of speech that an embedding needs
EMBEDDED = "resemblyzer"
HOW = "pip install --no-deps 'resemblyzer>=0.1.4', and torch"

Vector = NDArray[np.float32]


class SpeakerEncoder(Protocol):
    """Thresholds belong to an `id`: it names the network and its weights."""

    id: str

    def pieces(self, samples: Samples, rate: int) -> Vector:
        """The voice in each piece of speech (n,), about a second apart, as unit vectors (pieces, size).

        ValueError for less than a second of speech.
        """


def embed(encoder: SpeakerEncoder, samples: Samples, rate: int) -> Vector:
    """The voice in speech (n,) as a unit vector (size,). ValueError for less than a second of speech."""
    return centre(encoder.pieces(samples, rate))


def centre(vectors: Vector) -> Vector:
    """The unit vector (size,) in the middle of unit vectors (n, size)."""
    return _unit(vectors.sum(axis=0))


def unity(pieces: Vector) -> float:
    """How alike the two parts of a clip are at the cut where they differ most, as a cosine: low for two speakers.

    1 for a clip of fewer than two pieces.
    """
    shortest = 2 if len(pieces) >= 4 else 1
    cuts = range(shortest, len(pieces) - shortest + 1)
    return min((float(centre(pieces[:n]) @ centre(pieces[n:])) for n in cuts), default=1.0)


@functools.lru_cache(maxsize=4)
def open_encoder(name: str) -> SpeakerEncoder:
    """`resemblyzer`, or `wavlm:FOLDER` for a checkpoint of transformers' WavLMForXVector. Once a process.

    ValueError says what is missing.
    """
    kind, _, source = name.partition(":")
    if kind == EMBEDDED and not source:
        return Resemblyzer()
    if kind == "wavlm" and source:
        return WavLM(source)
    raise ValueError(f"found the encoder {name!r}, expected {EMBEDDED}, or wavlm: and a folder or model of the hub")


def speech(samples: Samples, rate: int) -> Samples:
    """What is voiced of (n,), at 16 kHz and -30 dBFS: frames of 30 ms within 35 dB of the loud ones. ValueError
    for less than a second."""
    found = resample(samples, rate, RATE)
    size = RATE * 30 // 1000
    frames = found[: len(found) // size * size].reshape(-1, size)
    power = (frames.astype(np.float64) ** 2).mean(axis=1)
    loud = np.quantile(power, 0.95) if len(power) else 0.0
    keep = power > max(loud * 10**-3.5, 1e-9)
    if keep.any():
        keep = np.convolve(keep, np.ones(7), "same") > 0  # silences of up to 0.2 s stay: they are the voice's pace
    kept = frames[keep].reshape(-1)
    if len(kept) < LEAST * RATE:
        raise ValueError(f"found {len(kept) / RATE:.1f} s of speech, expected at least {LEAST:g} s")
    level = np.sqrt((kept.astype(np.float64) ** 2).mean())
    return (kept * (10 ** (-30 / 20) / level)).astype(np.float32)


class Resemblyzer:
    """The GE2E network of Wan et al. (ICASSP 2018, arXiv 1710.10467) with the weights in Resemblyzer's wheel.

    Three LSTM layers of 256 over 40 mel bands, 160 frames of 10 ms at a time, 256 values, none negative. The package
    itself is not imported: it wants a compiler for its voice detection.
    """

    FRAMES, STEP = 160, 80  # of a piece and from piece to piece

    def __init__(self) -> None:
        file = _weights()
        torch = _torch()
        state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
        self.id = f"{EMBEDDED}/{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
        self._lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
        self._linear = torch.nn.Linear(256, 256)
        for part, name in ((self._lstm, "lstm."), (self._linear, "linear.")):
            part.load_state_dict({k.removeprefix(name): v for k, v in state.items() if k.startswith(name)})
            part.eval()
        self._mel = _mel_bands(400, 40)

    def pieces(self, samples: Samples, rate: int) -> Vector:
        torch = _torch()
        mel = self._spectrogram(speech(samples, rate))
        starts = range(0, max(1, len(mel) - self.FRAMES + 1), self.STEP)
        windows = np.stack([_window(mel, start, self.FRAMES) for start in starts])
        with torch.inference_mode():
            _, (hidden, _) = self._lstm(torch.from_numpy(windows))
            return _unit(torch.relu(self._linear(hidden[-1])).numpy())

    def _spectrogram(self, samples: Samples) -> NDArray[np.float32]:
        """Power in 40 mel bands (frames, 40): a Hann window of 25 ms every 10 ms, no logarithm."""
        padded = np.pad(samples, 200, mode="constant")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160]
        power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1], axis=1)) ** 2
        return (power @ self._mel.T).astype(np.float32)


class WavLM:
    """An x-vector head on WavLM, such as microsoft/wavlm-base-plus-sv, by transformers. From a folder or the hub."""

    def __init__(self, source: str) -> None:
        try:
            from transformers import WavLMForXVector
        except ImportError as error:
            raise ValueError(f"encoder wavlm: {error}; expected the extra gpu: pip install 'dubline[gpu]'") from error
        name, _, revision = source.partition("@")
        try:
            self._model = WavLMForXVector.from_pretrained(name, revision=revision or None).eval()
        except (OSError, ValueError) as error:
            told = str(error).splitlines()[0]
            raise ValueError(f"encoder wavlm: found {told}, expected a checkpoint of WavLMForXVector") from error
        hashed = hashlib.sha256()
        for key, value in sorted(self._model.state_dict().items()):
            hashed.update(key.encode() + value.numpy().tobytes())
        self.id = f"wavlm/{hashed.hexdigest()[:16]}"

    PIECE, STEP = 3 * RATE, RATE  # samples

    def pieces(self, samples: Samples, rate: int) -> Vector:
        torch = _torch()
        found = speech(samples, rate)
        found = (found - found.mean()) / (found.std() + 1e-7)
        starts = range(0, max(1, len(found) - self.PIECE + 1), self.STEP)
        with torch.inference_mode():
            rows = [self._model(torch.from_numpy(found[n : n + self.PIECE])[None]).embeddings[0] for n in starts]
        return _unit(torch.stack(rows).numpy())


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ValueError(f"the speaker encoder needs torch, expected it installed: {HOW}") from error
    return torch


def _weights() -> Path:
    found = importlib.util.find_spec("resemblyzer")
    file = Path(found.origin).with_name("pretrained.pt") if found and found.origin else None
    if file is None or not file.is_file():
        raise ValueError(f"encoder {EMBEDDED}: found no weights, expected the wheel that holds them: {HOW}")
    return file


def _window(mel: NDArray[np.float32], start: int, size: int) -> NDArray[np.float32]:
    found = mel[start : start + size]
    return np.pad(found, ((0, size - len(found)), (0, 0)))


def _unit(vectors: NDArray[Any]) -> Vector:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)).astype(np.float32)


def _mel_bands(size: int, bands: int) -> NDArray[np.float64]:
    """Triangles (bands, size // 2 + 1) on Slaney's mel scale (Auditory Toolbox, 1998), each of equal area."""
    edges = _hertz(np.linspace(0.0, _mel(RATE / 2), bands + 2))
    bins = np.fft.rfftfreq(size, 1 / RATE)
    below, above = np.diff(edges)[:-1, None], np.diff(edges)[1:, None]
    rising = (bins - edges[:-2, None]) / below
    falling = (edges[2:, None] - bins) / above
    return np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]


def _mel(hertz: float) -> float:
    """15 mel a kilohertz up to 1 kHz, then 27 steps for a factor of 6.4."""
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, 200 * mel / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))
