"""Writing a delivered audio file."""

import json
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from pipeline.audio.blocks import Blocks, Samples
from pipeline.audio.delivery import Delivery

# Muxer, encoder and sample format; those of the lossless formats go by their bits.
CODECS = {
    ("flac", 16): ("flac", "flac", "s16"),
    ("flac", 24): ("flac", "flac", "s32"),
    ("wav", 16): ("wav", "pcm_s16le", "s16"),
    ("wav", 24): ("wav", "pcm_s24le", "s32"),
    ("wav", 32): ("wav", "pcm_f32le", "flt"),
    ("opus", None): ("ogg", "libopus", "flt"),
    ("mp3", None): ("mp3", "libmp3lame", "fltp"),
    ("m4a", None): ("ipod", "aac", "fltp"),
}
MUXING = {"wav": {"rf64": "auto"}, "m4a": {"movflags": "use_metadata_tags+faststart"}}
INFO = {"artist", "title", "comment", "date", "copyright", "genre", "language", "album", "track"}
PCM_FRAME = 4096  # samples, where the encoder leaves the frame size open


class Encoder:
    """Writes one delivery to a local file, block by block: the same samples and tags give the same bytes.

    Tags go where the format has its own place for them: Vorbis comments (FLAC, Opus), ID3v2.4, MP4 metadata
    keys, RIFF INFO. INFO has but a few fields; other tags stand in its comment, as JSON. WAV becomes RF64
    beyond 4 GB. Used as a context manager; where its body fails, no file is left. ValueError for a tag that
    cannot be written, for samples that are not finite or have other channels, and for none at all.
    """

    def __init__(self, path: str | os.PathLike[str], delivery: Delivery, tags: dict[str, str]):
        self.path = Path(path)
        self.delivery = delivery
        muxer, codec, self._sample_format = CODECS[delivery.format, delivery.bits if delivery.lossless else None]
        metadata = _metadata(delivery.format, tags)
        options = {"fflags": "+bitexact", **MUXING.get(delivery.format, {})}
        if delivery.format == "m4a":  # of the edit list that cuts the priming off; else milliseconds
            options["movie_timescale"] = str(delivery.rate)
        self._container = av.open(str(self.path), "w", format=muxer, options=options)
        self._container.metadata.update(metadata)
        stream = self._container.add_stream(codec, rate=delivery.rate)
        assert isinstance(stream, AudioStream)
        self._stream = stream
        self._layout = "mono" if delivery.channels == 1 else "stereo"
        context = stream.codec_context
        context.layout = self._layout
        context.format = self._sample_format
        context.thread_count = 1
        context.options = {"flags": "+bitexact"}
        if delivery.lossless:
            context.options |= {"bits_per_raw_sample": str(delivery.bits)}
        else:
            context.bit_rate = delivery.bitrate * 1000
        context.open()
        self._blocks = Blocks(context.frame_size or PCM_FRAME, delivery.channels)
        self._written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = False
        try:
            if kind is None:
                self._finish()
                done = True
        finally:
            self._container.close()
            if not done:
                self.path.unlink(missing_ok=True)

    def write(self, block: Samples) -> None:
        """Takes (n,) mono or (n, channels) float32; what lies outside [-1, 1] is clipped."""
        if not np.isfinite(block).all():
            raise ValueError(f"{self.path.name}: the samples to be written are not all finite")
        for frame in self._blocks.add(block):
            self._encode(frame)

    def _finish(self) -> None:
        if len(self._blocks.rest):
            self._encode(self._blocks.rest)
        if not self._written:
            raise ValueError(f"{self.path.name}: no samples were written")
        self._container.mux(self._stream.encode(None))

    def _encode(self, samples: Samples) -> None:
        data = self._converted(samples)
        data = data.T if self._sample_format.endswith("p") else data.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), self._sample_format, self._layout)
        frame.sample_rate = self.delivery.rate
        frame.time_base = Fraction(1, self.delivery.rate)
        frame.pts = self._written
        self._written += len(samples)
        self._container.mux(self._stream.encode(frame))

    def _converted(self, samples: Samples) -> NDArray[Any]:
        if self._sample_format.startswith("flt"):
            return np.clip(samples, -1, 1)
        scale = 2 ** (self.delivery.bits - 1)  # a power of two: what was read from integers returns to them
        whole = np.clip(np.rint(samples * np.float32(scale)), -scale, scale - 1)
        return whole.astype(np.int16) if self.delivery.bits == 16 else whole.astype(np.int32) << 8


def _metadata(format: str, tags: dict[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not key or not key.isascii() or not key.isprintable() or "=" in key or "\0" in value:
            raise ValueError(f"tag {key!r} cannot be written")
    if format != "wav" or tags.keys() <= INFO:
        return dict(sorted(tags.items()))
    own = {key: value for key, value in tags.items() if key in INFO - {"comment"}}
    other = {key: value for key, value in tags.items() if key not in own}
    comment = json.dumps(other, ensure_ascii=False, sort_keys=True)
    return dict(sorted(own.items())) | {"comment": comment}
