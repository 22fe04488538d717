"""Reading whatever audio or video file a user brings."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import av
import numpy as np
import soundfile
from av.audio.resampler import AudioResampler

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample

BLOCK = 1 << 18  # samples read at once
SLOWEST = 4000  # Hz: at 1 Hz, a small file would be days of sound, and fill the memory when it is resampled
UNKNOWN = 2**63 - 1  # frames that libsndfile gives for a FLAC stream of unstated length
Source = str | os.PathLike[str] | bytes | BinaryIO


def decode(source: Source, rate: int | None = None, mono: bool = True) -> tuple[Samples, int]:
    """The sound of a file, its path, its bytes or an open binary file: float32 samples and their rate in Hz.

    (n,) with ``mono``, the mean of the channels, else (n, channels). Resampled to ``rate`` if given.
    ValueError naming the fault for what is no audio.
    """
    parts, rates = zip(*blocks(source), strict=True)
    samples, found = np.concatenate(parts), rates[0]
    if mono:
        samples = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
    return resample(samples, found, rate or found), rate or found


def blocks(source: Source, stream: int = 0) -> Iterator[tuple[Samples, int]]:
    """The sound of a file in blocks of float32 (n, channels), each with its rate in Hz; at least one.

    `stream` counts from 0 among the audio streams of a film. ValueError naming the fault for what is no audio, as
    soon as it is met.
    """
    with _opened(source) as (file, name):
        watched = _Watched(file)
        sound = _soundfile(watched)
        for samples, rate in _read(sound, watched, name) if sound else _av(file, name, stream):
            if rate < SLOWEST:
                raise ValueError(f"{name}: found {rate} samples a second, expected {SLOWEST} or more")
            yield samples, rate


def streams(source: Source) -> int:
    """How many audio streams a file has, at least one. ValueError naming the fault for what is no audio."""
    with _opened(source) as (file, name):
        if _soundfile(_Watched(file)):
            return 1
        with _probed(file, name) as container:
            if not container.streams.audio:
                raise ValueError(f"{name}: no audio stream")
            return len(container.streams.audio)


def duration(source: Source) -> float:
    """Seconds that a media file, audio or video, lasts. ValueError where it does not say."""
    with _opened(source) as (file, name), _probed(file, name) as container:
        if container.duration is None:
            raise ValueError(f"{name}: no duration found")
        stream = container.streams.audio[0] if container.streams.audio else None
        priming = stream.codec_context.delay if stream and container.format.name == "ogg" else 0
        return container.duration / av.time_base - (priming / stream.rate if stream and priming else 0.0)


@contextmanager
def _opened(source: Source) -> Iterator[tuple[BinaryIO, str]]:
    if isinstance(source, bytes):
        yield io.BytesIO(source), "audio"
    elif isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            yield file, os.fspath(source)
    else:
        name = getattr(source, "name", "")
        yield source, name if name and isinstance(name, str) else "audio"  # that of a temporary file is a number


@contextmanager
def _probed(file: BinaryIO, name: str) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(file, "r") as container:
            yield container
    except av.FFmpegError as fault:
        raise ValueError(f"{name}: {fault.strerror}") from fault


class _Watched:
    """A file that keeps what went wrong while it was read: for libsndfile any fault is the end of the sound."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell, self.read = file.seek, file.tell, file.read
        self.fault: Exception | None = None

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except Exception as fault:
            self.fault = fault
            return 0
        buffer[: len(data)] = data
        return len(data)

    def check(self) -> None:
        if self.fault is not None:
            raise self.fault


def _soundfile(file: _Watched) -> soundfile.SoundFile | None:
    """FLAC and WAV by libsndfile, which is several times faster; None for anything else."""
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    if magic not in (b"fLaC", b"RIFF", b"RF64"):
        return None
    try:
        sound = soundfile.SoundFile(file)
    except soundfile.LibsndfileError:  # an encoding in WAV that it does not know, or rubbish
        file.check()
        file.seek(start)
        return None
    if sound.frames == UNKNOWN:
        file.seek(start)
        return None
    return sound


def _read(sound: soundfile.SoundFile, file: _Watched, name: str) -> Iterator[tuple[Samples, int]]:
    count = 0
    with sound:
        while not count or count < sound.frames:
            try:
                samples = sound.read(BLOCK, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as fault:
                file.check()
                raise ValueError(f"{name}: {fault.error_string}") from fault
            file.check()
            count += len(samples)
            yield np.asarray(samples, np.float32), sound.samplerate
            if len(samples) < BLOCK and count != sound.frames:
                raise ValueError(f"{name}: damaged, {count} of {sound.frames} samples can be read")
            if not len(samples):
                return


def _av(file: BinaryIO, name: str, number: int) -> Iterator[tuple[Samples, int]]:
    with _probed(file, name) as container:
        if not container.streams.audio:
            raise ValueError(f"{name}: no audio stream")
        stream = container.streams.audio[number]
        resampler = AudioResampler(format="flt", layout=stream.layout, rate=stream.rate)
        found = False
        try:
            for frame in container.decode(stream):
                for out in resampler.resample(frame):
                    found = True
                    samples = np.asarray(out.to_ndarray(), np.float32).reshape(-1, stream.channels)
                    yield samples, stream.rate
        except av.FFmpegError as fault:
            raise ValueError(f"{name}: {fault.strerror}") from fault
        if not found:
            raise ValueError(f"{name}: no audio in it")
