"""How far a track is from what it was made of, by the usual objective measures of speech.

Needs the packages pesq, pystoi and visqol-python[lattice], which are no part of the pipeline. Every measure takes two
(n,) mono float32 signals at one rate in Hz that lie exactly over each other. ValueError for other lengths.
"""

import math
from functools import cache

import numpy as np
from pesq import pesq
from pystoi import stoi as short_time_intelligibility
from visqol import VisqolApi
from visqol.quality_mapper import SpeechSimilarityToQualityMapper

from pipeline.audio.blocks import Samples
from pipeline.audio.clip import resample

SPEECH_RATE = 16_000  # Hz, of wide-band PESQ and of ViSQOL's speech mode


def pesq_wb(reference: Samples, degraded: Samples, rate: int) -> float:
    """Wide-band PESQ at 16 kHz (ITU-T P.862.2), MOS-LQO of 1.04 to 4.64; pesq.NoUtterancesError for silence."""
    _alike(reference, degraded)
    return float(pesq(SPEECH_RATE, *(resample(sound, rate, SPEECH_RATE) for sound in (reference, degraded)), "wb"))


def stoi(reference: Samples, degraded: Samples, rate: int) -> float:
    """Short-time objective intelligibility (Taal et al., 2011), up to 1, from what lies below 5 kHz."""
    _alike(reference, degraded)
    return float(short_time_intelligibility(reference, degraded, rate))


def visqol(reference: Samples, degraded: Samples, rate: int) -> tuple[float, float]:
    """ViSQOL v3 in speech mode at 16 kHz (Chinen et al., 2020), MOS-LQO of 1 to 5 by each of its two mappings.

    The first is the exponential one, scaled so that equal signals get 5; the second the lattice, the newer default
    of the reference implementation, with which they get 4.1 to 4.5.
    """
    _alike(reference, degraded)
    sounds = (resample(sound, rate, SPEECH_RATE).astype(np.float64) for sound in (reference, degraded))
    found = _visqol().measure_from_arrays(*sounds, SPEECH_RATE)
    return SpeechSimilarityToQualityMapper().predict_quality(found.fvnsim), float(found.moslqo)


def snr_db(reference: Samples, degraded: Samples) -> float:
    """Power of the reference over that of the difference, in dB; inf where there is none."""
    _alike(reference, degraded)
    power = np.sum(np.square(reference, dtype=np.float64))
    off = np.sum(np.square(np.subtract(degraded, reference, dtype=np.float64)))
    if not off:
        return math.inf
    return 10 * math.log10(power / off) if power else -math.inf


@cache
def _visqol() -> VisqolApi:
    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return api


def _alike(reference: Samples, degraded: Samples) -> None:
    if reference.shape != degraded.shape or reference.ndim != 1:
        raise ValueError(f"{reference.shape} and {degraded.shape} are not two mono signals of one length")
