"""The layer of loudness, and the search for it at other paces and pitches."""

import math

import numpy as np
import pytest
import python_stretch
from scipy.signal import istft, stft

from pipeline.audio.clip import SEED, stretch
from pipeline.watermark import THRESHOLD, detect
from pipeline.watermark.detect import SEARCHED
from pipeline.watermark.magnitude import PITCH_STEP, TEMPO_STEP, changes

RATE, SECONDS = 22050, 10.0
SEMITONE = 2 ** (1 / 12)


def higher(samples, semitones):
    """At the same pace."""
    stretcher = python_stretch.Signalsmith.Stretch(SEED)
    stretcher.configure(1, round(0.08 * RATE), round(0.02 * RATE))
    stretcher.setTransposeSemitones(semitones)
    return np.asarray(stretcher.process(np.pad(samples, (RATE, RATE))[None]))[0]


def played(samples, speed):
    """As a tape: pace and pitch together, at the times between samples by their spectrum."""
    count = round(len(samples) / speed)
    spectrum = np.fft.rfft(samples)
    kept = np.zeros(count // 2 + 1, complex)
    kept[: min(len(kept), len(spectrum))] = spectrum[: len(kept)]
    return np.fft.irfft(kept, count) * count / len(samples)


def phases_made_anew(samples):
    """Griffin and Lim (1984): the magnitudes are kept, the phases begin at random."""
    frame = {"nperseg": 1024, "noverlap": 768}
    magnitudes = np.abs(stft(samples, **frame)[2])
    found = np.exp(2j * np.pi * np.random.default_rng(1).random(magnitudes.shape))
    for _ in range(16):
        sound = istft(magnitudes * found, **frame)[1]
        found = np.exp(1j * np.angle(stft(sound, **frame)[2]))
    return istft(magnitudes * found, **frame)[1]


ATTACKS = {
    "a semitone up": (lambda samples: higher(samples, 1), 1.0, SEMITONE),
    "a semitone down": (lambda samples: higher(samples, -1), 1.0, 1 / SEMITONE),
    "4 % faster": (lambda samples: stretch(samples, RATE, 1.04), 1.04, 1.0),
    "5 % slower": (lambda samples: stretch(samples, RATE, 0.95), 0.95, 1.0),
    "a tape 2 % too fast": (lambda samples: played(samples, 1.02), 1.02, 1.02),
}
every_attack = pytest.mark.parametrize("name", ATTACKS)


@pytest.fixture(scope="module")
def attacked(marked):
    return {name: attack(marked(RATE, SECONDS)) for name, (attack, *_) in ATTACKS.items()}


@every_attack
def test_another_pace_or_pitch_is_found_and_told(name, attacked, key, other):
    _, tempo, pitch = ATTACKS[name]
    found, none = detect(attacked[name], RATE, [other, key], search="forensic")
    assert (found.key, found.marked, found.layer) == (key.name, True, "loudness")
    assert found.tempo == pytest.approx(tempo, abs=2 * TEMPO_STEP)
    assert abs(math.log2(found.pitch / pitch)) <= PITCH_STEP
    assert none.key == other.name
    assert none.p > 1e-3


@every_attack
def test_the_fast_search_does_not_look_there(name, attacked, key):
    [finding] = detect(attacked[name], RATE, key)
    assert not finding.marked
    assert (finding.tempo, finding.pitch) == (1, 1)


def test_loudness_lives_where_all_phases_are_new(marked, key, other):
    sound = phases_made_anew(marked(RATE, SECONDS))
    for search in ("fast", "forensic"):
        found, none = detect(sound, RATE, [other, key], search=search)
        assert (found.key, found.marked, found.layer) == (key.name, True, "loudness")
        assert (found.tempo, found.pitch, found.payload) == (1, 1, None)
        assert min(found.offset, 16 - found.offset) < 0.02
        assert none.p > 1e-3


def test_a_forensic_search_finds_no_less(marked, key, payload):
    [fast] = detect(marked(RATE, SECONDS), RATE, key)
    [forensic] = detect(marked(RATE, SECONDS), RATE, key, search="forensic")
    assert fast.payload == forensic.payload == payload
    assert (fast.layer, fast.offset) == (forensic.layer, forensic.offset)
    # Loudness at other paces takes half of the chances.
    assert forensic.p / fast.p == pytest.approx(SEARCHED)


def test_a_forensic_search_finds_nothing_where_there_is_nothing(spoken, key, other):
    for sound in (spoken(RATE, SECONDS), np.zeros(RATE, np.float32)):
        for finding in detect(sound, RATE, [key, other], search="forensic"):
            assert finding.p > 1e-3
            assert finding.payload is None


def test_every_change_of_pitch_is_tried_at_the_same_pace_and_every_pace_at_the_same_pitch():
    tried = dict(changes())
    assert all(1.0 in tempi for tempi in tried.values())
    assert min(tried[1.0]) <= 0.9
    assert max(tried[1.0]) >= 1.1
    assert np.diff(tried[1.0]).max() < 0.0031
    assert min(tried) <= SEMITONE**-2
    assert max(tried) >= SEMITONE**2
    assert THRESHOLD * sum(map(len, tried.values())) < 1e-6
