"""What may happen to a dubbed track after delivery: codecs, filters, effects, noise, cuts, other speeds and voices.

Every attack takes (n,) mono float32 at a rate in Hz and returns such samples with their rate, which may be another.
The same samples always meet the same chance, other samples another.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import av
import numpy as np
import python_stretch
import soxr
from codec_attacks import Sound, framed, libsndfile, lossy
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import minimum_filter1d
from scipy.signal import butter, fftconvolve, get_window, hilbert, lfilter, sosfilt

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import BLOCK, SEED, resample, stretch
from pipeline.audio.loudness import Meter

Attack = Callable[[Samples, int], Sound]

BANDS = ((125, 6), (250, -6), (500, 6), (1000, -6), (2000, 6), (4000, -6), (7000, 6))  # Hz, dB of the equaliser
EQ_Q = 1.4  # about an octave wide
RT60, PREDELAY, DIRECT_DB = 0.4, 0.002, 3.0  # seconds, seconds, the direct sound's energy over the room's
THRESHOLD_DB, RATIO = -30.0, 4.0  # dBFS
ATTACK, RELEASE, STEP = 0.005, 0.080, 0.001  # seconds; the level is measured over the last
LUFS = -23.0  # EBU R 128
DENOISE_FLOOR = 10 ** (-12 / 20)
DENOISE_MEMORY = 0.9  # of the smoothed power, from one hop of 8 ms to the next
DENOISE_SPAN = 1.5  # seconds within which every band is taken to fall silent once
DENOISE_BIAS = 2.0  # the mean of steady noise over the least of its smoothed power, as measured
DENOISE_PAST = 0.98  # share of the frame before in what the signal is taken to be over the noise
FRAME, ITERATIONS = 1024, 32  # samples of Griffin and Lim's spectra, and how often they are made anew
OVERLAP = 4  # hops to a frame
HANN_SQUARES = 1.5  # what the squares of that many overlapping Hann windows add up to
SHIFT = 30_000  # samples

INTERFERER: Samples | None = None  # the other voice of "speech mixed at 0 dB", at the rate of the clips


def chance(samples: Samples, *salt: float) -> np.random.Generator:
    """Random numbers that depend on the samples and on ``salt``, and on nothing else."""
    found = np.ascontiguousarray(samples, np.float32)
    return np.random.default_rng([len(found), zlib.crc32(found.tobytes()), zlib.crc32(repr(salt).encode())])


def resampled(samples: Samples, rate: int, to: int) -> Sound:
    """At another rate in Hz, and left there."""
    return resample(samples, rate, to), to


def _added(samples: Samples, noise: NDArray[np.floating], snr_db: float) -> Samples:
    """With noise ``snr_db`` below the mean power of the whole clip."""
    power, own = np.mean(np.square(samples, dtype=np.float64)), np.mean(np.square(noise, dtype=np.float64))
    return (samples + noise * math.sqrt(power / own / 10 ** (snr_db / 10))).astype(np.float32)


def noisy(samples: Samples, rate: int, snr_db: float, pink: bool = False) -> Sound:
    """White Gaussian noise, or with ``pink`` such as falls by 3 dB an octave from 20 Hz on and has nothing below."""
    noise = chance(samples, snr_db).standard_normal(len(samples))
    if pink:
        hertz = fft.rfftfreq(len(samples), 1 / rate)
        noise = fft.irfft(np.where(hertz < 20, 0, fft.rfft(noise) / np.sqrt(np.maximum(hertz, 20))), n=len(samples))
    return _added(samples, noise, snr_db), rate


def mixed(other: Samples) -> Attack:
    """With another voice as strong as the own one; ``other`` has the rate of the clips, and repeats if shorter."""
    return partial(_mixed, other=other)


def _mixed(samples: Samples, rate: int, other: Samples) -> Sound:
    return _added(samples, np.resize(other, len(samples)), 0.0), rate


def interfered(samples: Samples, rate: int) -> Sound:
    """Mixed with INTERFERER. ValueError where none is set."""
    if INTERFERER is None:
        raise ValueError("attacks.INTERFERER is not set: it takes the samples of another voice")
    return _mixed(samples, rate, INTERFERER)


def filtered(samples: Samples, rate: int, kind: str, hertz: float) -> Sound:
    """Butterworth of fourth order, ``kind`` "lowpass" or "highpass"."""
    return sosfilt(butter(4, hertz, kind, fs=rate, output="sos"), samples).astype(np.float32), rate


def gain(samples: Samples, rate: int, factor: float) -> Sound:
    """Clipped to [-1, 1]."""
    return np.clip(samples * np.float32(factor), -1, 1), rate


def eight_bits(samples: Samples, rate: int) -> Sound:
    return (np.clip(np.rint(samples * 128), -128, 127) / 128).astype(np.float32), rate


def reverberation(samples: Samples, rate: int) -> Sound:
    """A made-up room: the direct sound, then noise that decays by 60 dB in RT60 seconds, and holds no direct current.

    No room answers to that, and a clip with an offset would be shifted out of range by it.
    """
    time = np.arange(round(RT60 * rate)) / rate
    decay = np.where(time < PREDELAY, 0, 10 ** (-3 * time / RT60))
    response = chance(samples, RT60).standard_normal(len(time)) * decay
    response -= decay * np.sum(response) / np.sum(decay)
    response *= 10 ** (-DIRECT_DB / 20) / math.sqrt(np.sum(response**2))
    response[0] = 1
    return fftconvolve(samples, response.astype(np.float32)).astype(np.float32), rate


def echo(samples: Samples, rate: int) -> Sound:
    """One at 0.4 of the level after 120 ms."""
    late = round(0.12 * rate)
    return np.pad(samples, (0, late)) + np.float32(0.4) * np.pad(samples, (late, 0)), rate


def equaliser(samples: Samples, rate: int) -> Sound:
    """The peaking filters of Bristow-Johnson's cookbook at BANDS."""
    sections = []
    for hertz, db in BANDS:
        if hertz < 0.45 * rate:
            amplitude, w = 10 ** (db / 40), 2 * math.pi * hertz / rate
            alpha, middle = math.sin(w) / (2 * EQ_Q), -2 * math.cos(w)
            up, down = alpha * amplitude, alpha / amplitude
            sections.append(np.array([1 + up, middle, 1 - up, 1 + down, middle, 1 - down]) / (1 + down))
    return sosfilt(np.array(sections), samples).astype(np.float32), rate


def compressor(samples: Samples, rate: int) -> Sound:
    """Feed-forward on the peak of each millisecond, smoothed in dB; no gain is made up."""
    hop = round(STEP * rate)
    peaks = np.abs(np.pad(samples, (0, -len(samples) % hop))).reshape(-1, hop).max(axis=1)
    over = np.maximum(20 * np.log10(np.maximum(peaks, 1e-9)) - THRESHOLD_DB, 0)
    fall, rise = math.exp(-hop / rate / ATTACK), math.exp(-hop / rate / RELEASE)
    reduction, held = 0.0, []
    for wanted in over * (1 - 1 / RATIO):
        reduction += (1 - (fall if wanted > reduction else rise)) * (wanted - reduction)
        held.append(reduction)
    curve = np.interp(np.arange(len(samples)), (np.arange(len(held)) + 0.5) * hop, held)
    return (samples * 10 ** (-curve / 20)).astype(np.float32), rate


def normalised(samples: Samples, rate: int) -> Sound:
    """At LUFS by BS.1770-4, clipped to [-1, 1]; silence stays."""
    meter = Meter(rate)
    meter.add(samples)
    found = meter.integrated()
    return gain(samples, rate, 10 ** ((LUFS - found) / 20) if math.isfinite(found) else 1.0)


def denoised(samples: Samples, rate: int) -> Sound:
    """Wiener filter after Ephraim and Malah (1984), frames of 32 ms; noise by minimum statistics (Martin, 2001)."""
    size = OVERLAP * round(0.008 * rate)
    spectra = _spectra(samples, size)
    power = np.square(np.abs(spectra))
    smooth = lfilter([1 - DENOISE_MEMORY], [1, -DENOISE_MEMORY], power, axis=0)
    noise = minimum_filter1d(smooth, round(DENOISE_SPAN * rate * OVERLAP / size), axis=0)
    over = power / np.maximum(DENOISE_BIAS * noise, 1e-12)
    before = np.zeros(power.shape[1])
    for n, found in enumerate(over):
        speech = DENOISE_PAST * before + (1 - DENOISE_PAST) * np.maximum(found - 1, 0)
        kept = np.maximum(speech / (1 + speech), DENOISE_FLOOR)
        spectra[n] *= kept
        before = kept**2 * found
    return _signal(spectra, size, len(samples)), rate


def quadrature(samples: Samples, rate: int) -> Sound:
    """Every frequency turned by 90 degrees."""
    padded = fft.next_fast_len(len(samples) + rate // 10)
    return np.imag(hilbert(samples, padded))[: len(samples)].astype(np.float32), rate


def _hit(samples: Samples, share: float) -> NDArray[np.int64]:
    return chance(samples, share).choice(len(samples), round(share * len(samples)), replace=False)


def zeroed(samples: Samples, rate: int, share: float) -> Sound:
    out = samples.copy()
    out[_hit(samples, share)] = 0
    return out, rate


def deleted(samples: Samples, rate: int, share: float) -> Sound:
    return np.delete(samples, _hit(samples, share)), rate


def shifted(samples: Samples, rate: int) -> Sound:
    """Without its first 1 to SHIFT samples, at most half of them."""
    return samples[chance(samples).integers(1, max(1, min(SHIFT, len(samples) // 2)), endpoint=True) :], rate


def cropped(samples: Samples, rate: int, seconds: float) -> Sound:
    """Some ``seconds`` from anywhere but the very start, or all but its first sample where it is no longer."""
    length = round(seconds * rate)
    start = int(chance(samples, seconds).integers(1, max(1, len(samples) - length), endpoint=True))
    return samples[start : start + length], rate


def tempo(samples: Samples, rate: int, factor: float) -> Sound:
    """``factor`` times as fast at the same pitch, as the pipeline does it."""
    return stretch(samples, rate, factor), rate


def atempo(samples: Samples, rate: int, factor: float) -> Sound:
    """``factor`` times as fast at the same pitch by WSOLA, FFmpeg's atempo."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    graph.link_nodes(source, graph.add("atempo", str(factor)), graph.add("abuffersink")).configure()
    graph.push(framed(samples, rate, "flt", 0))
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray().ravel())
        except (av.EOFError, av.BlockingIOError):
            return np.concatenate(parts), rate


def speed(samples: Samples, rate: int, factor: float) -> Sound:
    """``factor`` times as fast, the pitch with it."""
    return soxr.resample(samples, factor * rate, rate, quality="HQ").astype(np.float32, copy=False), rate


def pitch(samples: Samples, rate: int, semitones: float) -> Sound:
    """Higher by ``semitones`` at the same tempo, by Signalsmith Stretch."""
    stretcher = python_stretch.Signalsmith.Stretch(SEED)
    stretcher.configure(1, round(BLOCK * rate), round(BLOCK * rate / 4))
    stretcher.setTransposeSemitones(semitones)
    lead = 2 * stretcher.blockSamples()
    out = np.asarray(stretcher.process(np.pad(samples, (lead, 2 * lead))[None]))[0]
    return np.ascontiguousarray(out[lead : lead + len(samples)]), rate


def _spectra(samples: Samples, size: int) -> NDArray[np.complex64]:
    """Of the Hann frames of ``size`` samples, a quarter of that apart; silence around lets all samples count alike."""
    padded = np.pad(samples, (size, size + -len(samples) % (size // OVERLAP)))
    window = get_window("hann", size).astype(np.float32)
    return fft.rfft(sliding_window_view(padded, size)[:: size // OVERLAP] * window)


def _signal(spectra: NDArray[np.complex64], size: int, count: int) -> Samples:
    """The ``count`` samples whose spectra come closest to these."""
    hop = size // OVERLAP
    frames = fft.irfft(spectra, n=size) * (get_window("hann", size) / HANN_SQUARES).astype(np.float32)
    out = np.zeros((len(frames) + OVERLAP - 1, hop), np.float32)
    for n in range(OVERLAP):
        out[n : n + len(frames)] += frames[:, n * hop : (n + 1) * hop]
    return out.ravel()[size : size + count]


def griffin_lim(samples: Samples, rate: int, mels: int | None = None) -> Sound:
    """Made anew from its magnitudes alone (Griffin and Lim, 1984), or from those in ``mels`` mel bands."""
    magnitudes = np.abs(_spectra(samples, FRAME))
    if mels:
        bank = _mel_bank(rate, mels)
        magnitudes = np.maximum(magnitudes @ bank @ np.linalg.pinv(bank), 0).astype(np.float32)
    phases = chance(samples, mels or 0).uniform(-np.pi, np.pi, magnitudes.shape)
    spectra = magnitudes * np.exp(1j * phases).astype(np.complex64)
    for _ in range(ITERATIONS):
        found = _spectra(_signal(spectra, FRAME, len(samples)), FRAME)
        spectra = found * (magnitudes / np.maximum(np.abs(found), 1e-9))
    return _signal(spectra, FRAME, len(samples)), rate


def _mel_bank(rate: int, mels: int) -> NDArray[np.float64]:
    """(bins, mels) triangles, equally wide on the mel scale 2595 log10(1 + f / 700) from 0 Hz to half the rate."""
    top = math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** np.linspace(0, top, mels + 2) - 1)
    hertz = fft.rfftfreq(FRAME, 1 / rate)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(np.minimum(rising, falling), 0)


def chained(samples: Samples, rate: int, steps: Sequence[str]) -> Sound:
    """Through several ATTACKS, one after the other."""
    for step in steps:
        attack = ATTACKS[step]
        assert attack
        samples, rate = attack(samples, rate)
    return samples, rate


EVERY: dict[str, Attack | None] = {
    **{f"mp3 {kbit}k": partial(lossy, codec="mp3", kbit=kbit) for kbit in (128, 64, 32)},
    **{f"aac {kbit}k": partial(lossy, codec="aac", kbit=kbit) for kbit in (64, 32)},
    **{f"opus {kbit}k": partial(lossy, codec="opus", kbit=kbit) for kbit in (64, 32, 24, 16)},
    # libsndfile takes 1 - q / 10.
    "vorbis q1": partial(libsndfile, format="OGG", subtype="VORBIS", compression_level=0.9),
    "mu-law 8 kHz": partial(libsndfile, format="WAV", subtype="ULAW", at=8000),
    "resample 16k": partial(resampled, to=16000),
    "resample 8k": partial(resampled, to=8000),
    "resample 44.1k": partial(resampled, to=44100),
    "white noise 30 dB": partial(noisy, snr_db=30),
    "white noise 20 dB": partial(noisy, snr_db=20),
    "pink noise 20 dB": partial(noisy, snr_db=20, pink=True),
    "low-pass 3.4 kHz": partial(filtered, kind="lowpass", hertz=3400),
    "high-pass 500 Hz": partial(filtered, kind="highpass", hertz=500),
    "gain x0.1": partial(gain, factor=0.1),
    "gain x4": partial(gain, factor=4.0),
    "inversion": partial(gain, factor=-1.0),
    "8-bit": eight_bits,
    "shift": shifted,
    "reverberation": reverberation,
    "echo": echo,
    "equaliser": equaliser,
    "compressor": compressor,
    "loudness normalisation": normalised,
    "spectral denoise": denoised,
    "phase rotation 90 degrees": quadrature,
    "1 % samples zeroed": partial(zeroed, share=0.01),
    "crop to 5 s": partial(cropped, seconds=5),
    "second mark": None,  # needs another key: whoever measures puts it here
    "mp3 64k > crop 5 s > opus 24k": partial(chained, steps=("mp3 64k", "crop to 5 s", "opus 24k")),
    "noise 30 dB > eq > aac 32k": partial(chained, steps=("white noise 30 dB", "equaliser", "aac 32k")),
    "resample 16k > compressor > opus 32k": partial(chained, steps=("resample 16k", "compressor", "opus 32k")),
    "reverberation > mp3 64k > gain": partial(chained, steps=("reverberation", "mp3 64k", "gain x4")),
}
MOST: dict[str, Attack | None] = {
    "white noise 10 dB": partial(noisy, snr_db=10),
    "opus 8k": partial(lossy, codec="opus", kbit=8),
    "gsm": partial(libsndfile, format="WAV", subtype="GSM610", at=8000),
    "mp3 16k": partial(lossy, codec="mp3", kbit=16, at=16000),
    "crop to 3 s": partial(cropped, seconds=3),
    "1 % samples deleted": partial(deleted, share=0.01),
    **{f"tempo {factor}": partial(tempo, factor=factor) for factor in (0.9, 0.95, 1.05, 1.1)},
    "tempo 1.1 wsola": partial(atempo, factor=1.1),
    **{f"speed {factor}": partial(speed, factor=factor) for factor in (0.95, 0.98, 1.02, 1.05)},
    **{f"pitch {semitones:+}": partial(pitch, semitones=semitones) for semitones in (-2, -1, 1, 2)},
    "griffin-lim": griffin_lim,
    "mel griffin-lim": partial(griffin_lim, mels=80),
    "speech mixed at 0 dB": interfered,
}
ATTACKS: dict[str, Attack | None] = EVERY | MOST
# A mark is to be found in every clip, or in 95 % of them.
GROUPS = dict.fromkeys(EVERY, "every") | dict.fromkeys(MOST, "most")
