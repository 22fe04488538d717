"""What a server or a model can get wrong in a take, told from its samples and the text alone."""

import re

import numpy as np

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import trim
from pipeline.model import Chunk

QUIET_PEAK, QUIET = -60.0, -50.0  # dBFS: of the highest sample, and of the loudest 50 ms
FULL, CLIPPED = 0.999, 0.01  # amplitude that counts as full scale, share of the samples that may lie there in runs
LONG, SPARE, SHORT = 3.0, 2.0, 0.2  # at most LONG times the prediction and SPARE seconds, at least SHORT times
LETTERS = 10  # of text, from which a prediction says anything
REPEATS, BLOCK = 8, 0.5  # how often the same sound may follow itself at the end, seconds that it lasts at least
ALIKE = 0.75  # autocorrelation of a sound that repeats; of speech, by people and by eSpeak, it stays below 0.5
WINDOW, HOP, BANDS, SPAN = 0.04, 0.02, 20, 7600.0  # of the spectra: seconds, seconds, their bands and Hz
PERIODS = range(5, 51)  # of a repetition, in hops: 0.1 to 1 s
DEPTH, SPREAD = 50.0, 6.0  # dB below the loudest band that count, dB by which the spectra of speech vary at least
TAIL = 30.0  # seconds of the end that are searched for repetition
_CHANT = re.compile(r"(.{1,30}?)\1{3,}")  # "ha ha ha ha" is to be heard as often as it is written


def fault(samples: Samples, rate: int, chunk: Chunk) -> str:
    """What is wrong with a chunk's take (n,) at a rate in Hz, with the figure and its limit; "" where nothing is."""
    if not len(samples):
        return "empty: found no samples, expected speech"
    if count := int(np.count_nonzero(~np.isfinite(samples))):
        return f"broken: found {count} samples that are not finite, expected 0"
    if found := _silent(samples, rate) or _clipped(samples):
        return found
    speech = trim(samples, rate)[0]
    return _wrong_length(len(speech) / rate, chunk) or _stuck(speech[-round(TAIL * rate) :], rate, chunk.text)


def _silent(samples: Samples, rate: int) -> str:
    peak = _db(float(np.abs(samples).max()))
    if peak < QUIET_PEAK:
        return f"silent: found a peak of {peak:.1f} dBFS, expected at least {QUIET_PEAK:.0f}"
    size = min(len(samples), round(0.05 * rate))
    power = np.cumsum(np.concatenate([[0.0], np.square(samples, dtype=np.float64)]))
    loudest = _db(float(np.sqrt(max(0.0, (power[size:] - power[:-size]).max()) / size)))
    if loudest < QUIET:
        return f"silent: found no 50 ms louder than {loudest:.1f} dBFS, expected at least {QUIET:.0f}"
    return ""


def _db(amplitude: float) -> float:
    return 20 * float(np.log10(max(amplitude, 1e-10)))


def _clipped(samples: Samples) -> str:
    full = np.concatenate([[False], np.abs(samples) >= FULL, [False]])
    edges = np.flatnonzero(full[1:] != full[:-1])
    runs = edges[1::2] - edges[::2]
    share = float(runs[runs >= 3].sum()) / len(samples)
    if share > CLIPPED:
        return f"clipped: found {share:.1%} of the samples at full scale, expected at most {CLIPPED:.0%}"
    return ""


def _wrong_length(seconds: float, chunk: Chunk) -> str:
    if chunk.predicted <= 0 or len(chunk.text) < LETTERS:
        return ""
    longest, shortest = LONG * chunk.predicted + SPARE, SHORT * chunk.predicted
    if seconds > longest:
        return f"too long: found {seconds:.1f} s of speech, expected at most {longest:.1f}"
    if seconds < shortest:
        return f"too short: found {seconds:.2f} s of speech, expected at least {shortest:.2f}"
    return ""


def _stuck(speech: Samples, rate: int, text: str) -> str:
    """A model that does not find its end holds a sound, or says the same again and again."""
    if len(speech) <= REPEATS * BLOCK * rate or _CHANT.search(re.sub(r"\W", "", text.lower())):
        return ""
    count = _repeats(speech, rate)
    if count > REPEATS:
        return f"stuck: found the same sound {count} times at the end, expected at most {REPEATS}"
    return ""


def _repeats(speech: Samples, rate: int) -> int:
    """How many times the last sound of at least BLOCK seconds stands in a row.

    By the autocorrelation of the spectra in dB, in the form that also holds for a sound that does not change:
    one less the mean square difference at a lag over twice the variance.
    """
    spectra = _spectra(speech, rate)
    variance = max(float(spectra.var(axis=0).mean()), SPREAD**2)
    width, most = round(BLOCK / HOP), 0
    for period in PERIODS:
        if len(spectra) < period + width:
            break
        apart = np.square(spectra[period:] - spectra[:-period]).mean(axis=1)
        total = np.cumsum(np.concatenate([[0.0], apart]))
        alike = 1 - (total[width:] - total[:-width]) / width / (2 * variance) >= ALIKE
        run = len(alike) if alike.all() else int(alike[::-1].argmin())
        if run:
            most = max(most, int((run + width + period) / max(period, width)))
    return most


def _spectra(speech: Samples, rate: int) -> np.ndarray:
    """Levels in dB, (frames, BANDS), in bands that widen as hearing's do; what is far below the loudest is levelled."""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    frames = np.lib.stride_tricks.sliding_window_view(speech, size)[::hop] * np.hanning(size).astype(np.float32)
    power = np.square(np.abs(np.fft.rfft(frames)))
    edges = np.expm1(np.linspace(0, np.log1p(min(SPAN, rate / 2) / 700), BANDS + 1)) * 700  # the mel scale
    bins = np.maximum.accumulate(np.ceil(edges * size / rate).astype(int)[:-1])
    levels = 10 * np.log10(np.add.reduceat(power, np.minimum(bins, power.shape[1] - 1), axis=1) + 1e-12)
    return np.maximum(levels, levels.max() - DEPTH)
