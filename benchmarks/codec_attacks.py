"""Codecs that a dubbed track goes through: mono float32 samples and their rate in, what is decoded and its rate out.

They encode into bytes and decode all of them again, so that what they put before the first sample stays there.
"""

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample

Sound = tuple[Samples, int]

# Muxer, encoder, sample format, and the rates in Hz that the encoder takes.
LOSSY = {
    "mp3": ("mp3", "libmp3lame", "fltp", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "aac": ("adts", "aac", "fltp", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "opus": ("ogg", "libopus", "flt", (8000, 12000, 16000, 24000, 48000)),
}


def lossy(samples: Samples, rate: int, codec: str, kbit: int, at: int | None = None) -> Sound:
    """Through MP3 (LAME), AAC-LC (FFmpeg) or Opus (libopus) at ``kbit`` kbit/s, resampled to ``at`` Hz before."""
    muxer, encoder, sample_format, rates = LOSSY[codec]
    coded = next((allowed for allowed in rates if allowed >= (at or rate)), rates[-1])
    sound = np.clip(resample(samples, rate, coded), -1, 1)
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=coded)
        assert isinstance(stream, AudioStream)
        context = stream.codec_context
        context.layout, context.format, context.thread_count = "mono", sample_format, 1
        context.bit_rate = kbit * 1000
        context.options = {"vbr": "constrained"} if codec == "opus" else {}  # else 64k takes 84 for speech
        context.open()
        for start in range(0, len(sound), context.frame_size):
            frame = framed(sound[start : start + context.frame_size], coded, sample_format, start)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    return _decoded(file)


def framed(samples: Samples, rate: int, sample_format: str, start: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), sample_format, "mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
    return frame


def _decoded(file: io.BytesIO) -> Sound:
    with av.open(file, "r") as container:
        stream = container.streams.audio[0]
        stream.codec_context.options = {"flags2": "+skip_manual"}  # else the priming would be cut off again
        stream.codec_context.thread_count = 1
        resampler = AudioResampler(format="flt", layout="mono", rate=stream.rate)
        parts = [out.to_ndarray().ravel() for frame in container.decode(stream) for out in resampler.resample(frame)]
        return np.concatenate(parts), stream.rate


def libsndfile(samples: Samples, rate: int, format: str, subtype: str, at: int | None = None, **settings: Any) -> Sound:
    """Through a codec of libsndfile, resampled to ``at`` Hz before."""
    file = io.BytesIO()
    sound = np.clip(resample(samples, rate, at or rate), -1, 1)
    soundfile.write(file, sound, at or rate, format=format, subtype=subtype, **settings)
    file.seek(0)
    return soundfile.read(file, dtype="float32")
