import math

import numpy as np
import pytest

from pipeline.audio.level import Limiter, gain_db
from pipeline.audio.loudness import Meter


def limited(blocks, rate, ceiling, **options):
    limiter = Limiter(rate, ceiling, **options)
    return np.concatenate([*(limiter.process(block) for block in blocks), limiter.flush()])


def true_peak(samples, rate):
    meter = Meter(rate, 1 if samples.ndim == 1 else samples.shape[1])
    meter.add(samples)
    return meter.true_peak()


@pytest.mark.parametrize("rate", [16000, 24000, 44100, 48000])
@pytest.mark.parametrize("ceiling", [-1.0, -3.0, -9.0])
def test_the_ceiling_holds_by_two_ways_of_oversampling(rate, ceiling, speech, ebur128):
    loud = 1.5 * speech(rate, 6.0)
    got = limited([loud], rate, ceiling)
    assert len(got) == len(loud)
    assert true_peak(got, rate) <= ceiling + 0.1
    assert true_peak(got, rate) > ceiling - 0.5
    assert ebur128(got, rate)[1] <= ceiling + 0.1


def test_the_ceiling_holds_for_clicks_and_noise():
    random = np.random.default_rng(0)
    signal = random.standard_normal(96000).astype(np.float32)
    signal[::9600] = 20
    assert true_peak(limited([signal], 48000, -1.0), 48000) <= -0.9


def test_the_ceiling_holds_between_samples():
    tone = np.sin(2 * np.pi * np.arange(48000) / 4 + math.pi / 4).astype(np.float32)  # samples at 0.707
    got = limited([tone], 48000, -1.0)
    assert true_peak(tone, 48000) > -0.1
    assert true_peak(got, 48000) <= -0.9


@pytest.mark.parametrize("length", [0, 1, 100, 4096, 4097, 30000])
def test_what_stays_below_passes_bit_for_bit(length, speech):
    samples = 0.85 * speech(48000, 1.0, peak=1.0)[:length]
    assert limited([samples], 48000, -1.0).tobytes() == samples.tobytes()


def test_only_the_surroundings_of_a_peak_change(speech):
    rate = 48000
    samples = speech(rate, 4.0, peak=0.5)
    samples[96000] = 1.4
    changed = np.flatnonzero(limited([samples], rate, -1.0) != samples)
    assert 96000 - 0.005 * rate <= changed.min() <= 96000 <= changed.max() <= 96000 + 0.1 * rate


@pytest.mark.parametrize("largest", [30, 5000, 60_000])
def test_the_cut_of_the_blocks_does_not_matter(largest, speech, cut):
    loud = 2 * speech(44100, 3.0)
    wanted = limited([loud], 44100, -1.0)
    assert limited(cut(loud, largest, largest), 44100, -1.0).tobytes() == wanted.tobytes()


def test_the_gain_is_smooth_and_comes_back():
    rate = 48000
    tone = np.full(rate, 0.5, np.float32)
    tone[20000:24000] = 2.0
    gain = limited([tone], rate, -1.0) / tone
    decibels = 20 * np.log10(gain)
    assert np.abs(np.diff(decibels)).max() < 0.1
    assert decibels[19000] == decibels[30000] == 0.0
    assert decibels[22000] == pytest.approx(-7.0, abs=0.1)


def test_channels_share_their_gain(speech):
    left = speech(48000, 2.0)
    samples = np.stack([2 * left, 0.1 * left], axis=1)
    got = limited([samples], 48000, -1.0, channels=2)
    assert got.shape == samples.shape
    assert true_peak(got, 48000) <= -0.9
    spoken = np.abs(left) > 1e-3
    assert np.allclose(got[spoken, 0] / samples[spoken, 0], got[spoken, 1] / samples[spoken, 1], atol=1e-5)


def test_summing_two_tracks_halves_neither(speech):
    one, two = speech(48000, 3.0, 1, peak=0.4), speech(48000, 3.0, 2, peak=0.4)
    assert limited([one + two], 48000, -1.0).tobytes() == (one + two).tobytes()
    alone = np.concatenate([one, np.zeros_like(two)]), np.concatenate([np.zeros_like(one), two])
    mixed = limited([alone[0] + alone[1]], 48000, -1.0)
    assert (mixed[: len(one)] == one).all()
    assert (mixed[len(one) :] == two).all()


def test_gain_db():
    assert gain_db(-30.0, -23.0) == 7.0
    assert gain_db(-16.0, -23.0) == -7.0
    assert gain_db(-math.inf, -23.0) == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"ceiling_dbtp": 0.1},
        {"ceiling_dbtp": float("nan")},
        {"ceiling_dbtp": -1, "lookahead": 0},
        {"ceiling_dbtp": -1, "release": -1},
        {"ceiling_dbtp": -1, "channels": 3},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Limiter(48000, **options)
