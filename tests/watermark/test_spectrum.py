"""Transforms that undo each other, and a resampler that moves nothing."""

import numpy as np
import pytest

from pipeline.watermark.spectrum import BINS, CELL, FRAME, HIGH, HOP, LOW, RATE, mdct, periodic, resample, waveform
from pipeline.watermark.spectrum import spectrum as short_time


def noise(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def decibels(power):
    return 10 * np.log10(power)


def tone(hertz, rate, seconds=1.0):
    """Faded in and out, with its middle half level."""
    t = np.arange(round(rate * seconds)) / rate
    return (np.sin(2 * np.pi * hertz * t) * np.clip(8 * np.minimum(t, seconds - t), 0, 1)).astype(np.float32)


@pytest.mark.parametrize("hops", [0, 1, 2, 3, 4, 100, 1001])
def test_the_waveform_of_a_spectrum_is_what_it_was_made_of(hops):
    samples = noise(hops * HOP)
    spectra = short_time(samples)
    assert spectra.shape == (hops + 3, FRAME // 2 + 1)
    assert spectra.dtype == np.complex64
    again = waveform(spectra)
    assert again.dtype == np.float32
    assert np.allclose(again, samples, rtol=0, atol=1e-5)


def test_a_frame_of_a_spectrum_ends_with_its_hop():
    samples = np.zeros(20 * HOP, np.float32)
    samples[7 * HOP] = 1  # the first sample of hop 7
    heard = np.abs(short_time(samples)).sum(axis=1) > 0
    assert np.flatnonzero(heard).tolist() == [7, 8, 9, 10]


def test_a_spectrum_has_a_tone_where_it_belongs():
    power = np.abs(short_time(tone(1000, RATE)[: 120 * HOP])[60]) ** 2
    assert power.argmax() == 1000 * FRAME / RATE
    assert power[30:35].sum() > 0.99 * power.sum()


@pytest.mark.parametrize("frames", [2, 3, 10, 1000])
def test_a_periodic_signal_has_the_coefficients_it_was_made_of(frames):
    coefficients = noise(frames, BINS)
    period = periodic(coefficients)
    assert period.shape == (frames * CELL,)
    around = np.concatenate([period, period[:CELL]])
    assert np.allclose(mdct(around), coefficients, rtol=0, atol=1e-4)
    # The basis is orthonormal, so the energy is the same on both sides.
    assert (period.astype(np.float64) ** 2).sum() == pytest.approx((coefficients.astype(np.float64) ** 2).sum())


def test_a_coefficient_moves_with_the_signal():
    coefficients = noise(10, BINS)
    period = np.roll(periodic(coefficients), 3 * CELL)
    assert np.allclose(mdct(np.append(period, period[:CELL])), np.roll(coefficients, 3, axis=0), rtol=0, atol=1e-4)


def test_coefficients_and_spectrum_share_their_band():
    assert (LOW * RATE / FRAME, HIGH * RATE / FRAME) == (625, 3500)
    power = np.abs(np.fft.rfft(periodic(noise(500, BINS)))) ** 2
    hertz = np.fft.rfftfreq(500 * CELL, 1 / RATE)
    assert power[(hertz < 500) | (hertz > 3625)].sum() < 1e-3 * power.sum()
    inside = [power[(hertz >= low) & (hertz < low + 100)].mean() for low in range(700, 3400, 100)]
    assert max(inside) < 1.5 * min(inside)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100, 48000, 96000])
def test_the_resampler_keeps_the_first_sample_at_time_zero(rate):
    """A phase of 0.01 radians at 2 kHz is 0.8 millionths of a second."""
    middle = slice(RATE // 4, RATE * 3 // 4)
    got = resample(tone(2000, rate), rate, RATE)[middle]
    turn = np.exp(-2j * np.pi * 2000 * np.arange(RATE)[middle] / RATE)
    assert abs(np.angle((got * turn).mean() * 1j)) < 0.01
    click = np.zeros(rate, np.float32)
    click[rate // 2] = 1
    assert np.abs(resample(click, rate, RATE)).argmax() == RATE // 2


@pytest.mark.parametrize("hertz", [1000, 1700, 3000])
def test_a_tone_comes_back_from_another_rate(hertz):
    samples = tone(hertz, 44100)
    again = resample(resample(samples, 44100, RATE), RATE, 44100)
    middle = slice(11025, 33075)
    assert np.abs(again[middle] - samples[middle]).max() < 1e-3


@pytest.mark.parametrize("rate", [22050, 24000, 44100, 48000])
def test_what_the_lower_rate_cannot_hold_is_gone(rate):
    assert decibels(np.mean(resample(tone(9000, rate), rate, RATE) ** 2)) < decibels(0.5) - 60


@pytest.mark.parametrize(("rate", "target"), [(8000, 16000), (16000, 48000), (22050, 16000), (44100, 16000)])
def test_the_length_of_what_is_resampled(rate, target):
    assert len(resample(np.zeros(rate, np.float32), rate, target)) == target
    assert resample(np.zeros(rate, np.float32), rate, target).dtype == np.float32
    samples = np.zeros(5, np.float32)
    assert resample(samples, rate, rate) is samples
