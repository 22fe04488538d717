"""Audio that is not marked: p-values mean what they say, and what they are made of has the distribution assumed."""

import hashlib
import math
from functools import partial

import numpy as np
import pytest
from scipy import special
from scipy.stats import binom

from pipeline.watermark import Key, magnitude
from pipeline.watermark.detect import BEATS, LAGS, _compare, _Track, chance
from pipeline.watermark.piece import LOOKS, Piece, View
from pipeline.watermark.reference import BANDS, BEAT, BINS, HOPS, PILOTS, Reference

LENGTHS = (10, 10, 5, 3, 3, 2, 2, 1, 1, 1)  # seconds of the pieces, one after the other
KEYS = 120
SLACK = 1.5  # factor by which a p-value may be off
SURE = 1e-4  # of a test that fails by chance, once for all: keys and speech never change


def keys(count, label):
    """One at a time: a reference takes two megabytes."""
    return (Reference(Key(hashlib.sha256(f"{label} {n}".encode()).digest())) for n in range(count))


def p_of(piece, keyed):
    return chance(_compare(piece, keyed, _Track()).log_p)


@pytest.fixture(scope="module")
def pieces(spoken):
    ends = np.cumsum(LENGTHS) * 16000
    return [Piece(samples) for samples in np.split(spoken(16000, 40.0)[: ends[-1]], ends[:-1])]


@pytest.fixture(scope="module")
def chances(pieces):
    return np.array([[p_of(piece, keyed) for piece in pieces] for keyed in keys(KEYS, "null")])


@pytest.mark.parametrize("level", [0.1, 0.03, 0.01])
def test_p_values_mean_what_they_say(level, chances):
    count = int((chances < level).sum())
    assert count >= binom.ppf(SURE, chances.size, level / SLACK)
    assert count <= binom.isf(SURE, chances.size, level * SLACK)


def test_short_and_long_pieces_are_judged_alike(chances):
    for some in (chances[:, :3], chances[:, 3:7], chances[:, 7:]):
        count = int((some < 0.1).sum())
        assert binom.ppf(SURE, some.size, 0.1 / SLACK) <= count <= binom.isf(SURE, some.size, 0.1 * SLACK)


def test_no_unmarked_audio_comes_near_the_threshold(chances):
    assert chances.min() > 0.01 / chances.size


def sounds():
    time, random = np.arange(160_000) / 16000, np.random.default_rng(1)
    yield "tone", np.sin(2 * np.pi * 1033.3 * time)
    yield "clicks", (np.arange(160_000) % 160 == 0).astype(float)
    yield "square wave", np.sign(np.sin(2 * np.pi * 219.7 * time))
    yield "sweep", np.sin(2 * np.pi * (300 + 150 * time) * time)
    yield "noise", random.standard_normal(160_000)
    yield "noise that comes and goes with the beats", random.standard_normal(160_000) * (time % 0.064 < 0.032)
    yield "a quarter of a second of noise", random.standard_normal(4000)


def test_no_sound_looks_marked_more_often_than_p_says():
    """Whatever the audio, only the key is random; where its lags are alike, p is on the safe side."""
    heard = {name: Piece(samples.astype(np.float32)) for name, samples in sounds()}
    low = dict.fromkeys(heard, 0)
    for keyed in keys(25, "sounds"):
        for name, piece in heard.items():
            low[name] += p_of(piece, keyed) < 0.1
    for name, count in low.items():
        assert count <= binom.isf(SURE, 25, 0.1 * SLACK), name


@pytest.fixture(scope="module")
def scores(pieces):
    """Correlations (keys, pieces, lags) and scores of the sway for six keys."""
    found = [magnitude.features(piece.power) for piece in pieces]
    several = list(keys(6, "scores"))
    correlate = partial(View.correlation, share=PILOTS / BINS)
    return (
        np.array([[correlate(piece.view(LOOKS[0]), keyed.pilot_spectrum) for piece in pieces] for keyed in several]),
        np.array([[magnitude.score(one, keyed) for one in found] for keyed in several]),
    )


def test_both_parts_of_a_correlation_have_variance_one(scores):
    correlations, _ = scores
    for part in (correlations.real, correlations.imag):
        assert np.abs(part.mean(axis=(0, 2))).max() < 0.01
        assert np.allclose((part**2).mean(axis=(0, 2)), 1, atol=0.03)
    assert np.abs((correlations.real * correlations.imag).mean(axis=(0, 2))).max() < 0.01


def test_the_strength_of_a_correlation_is_exponential(scores):
    strength = np.abs(scores[0]) ** 2 / 2
    for level, tolerance in ((1.0, 0.02), (5.0, 0.05), (8.0, 0.2)):
        assert np.mean(strength > level) == pytest.approx(math.exp(-level), rel=tolerance)


def test_the_score_of_the_sway_is_standard_normal(scores):
    _, sway = scores
    assert sway.shape == (6, len(LENGTHS), HOPS)
    assert np.abs(sway.mean(axis=(0, 2))).max() < 0.05
    assert np.allclose(sway.var(axis=(0, 2)), 1, atol=0.1)
    for level, tolerance in ((1.0, 0.05), (2.0, 0.1), (3.0, 0.3)):
        assert np.mean(sway > level) == pytest.approx(special.ndtr(-level), rel=tolerance)


def test_the_highest_of_all_lags_is_as_high_as_that_of_so_many_independent_ones(pieces):
    """The expected number of lags at least as high is exponential with mean 1; here it is the mean of 250."""
    found = [magnitude.features(piece.power) for piece in pieces]
    phase, sway = [], []
    for keyed in keys(25, "highest"):
        for piece, one in zip(pieces, found, strict=True):
            strength = (
                float(np.abs(piece.view(LOOKS[0]).correlation(keyed.pilot_spectrum, PILOTS / BINS)).max()) ** 2 / 2
            )
            phase.append(LAGS * math.exp(-strength))
            sway.append(BEATS * special.ndtr(-magnitude.score(one, keyed).max()))
    assert np.mean(phase) == pytest.approx(1, abs=0.25)
    assert np.mean(sway) == pytest.approx(1, abs=0.25)


def test_at_one_lag_all_keys_together_have_the_same_distribution():
    """The variance does not come from averaging over lags: here the keys alone differ."""
    piece = Piece(np.random.default_rng(2).standard_normal(80_000).astype(np.float32))
    found, lag = magnitude.features(piece.power), 12_345
    values = [
        (
            piece.view(LOOKS[0]).correlation(keyed.pilot_spectrum, PILOTS / BINS)[lag],
            magnitude.score(found, keyed)[lag % HOPS],
        )
        for keyed in keys(100, "lag")
    ]
    for part in np.array([(z.real, z.imag, sway) for z, sway in values]).T:
        assert abs(part.mean()) < 4 / math.sqrt(100)
        assert 100 * part.var() == pytest.approx(100, abs=4 * math.sqrt(2 * 100))


def test_the_chance_of_one_in_many():
    assert chance(math.log(0.5)) == pytest.approx(1 - math.exp(-0.5))
    assert chance(math.log(1e-20)) == pytest.approx(1e-20)
    assert chance(-29.999) == pytest.approx(chance(-30.001), rel=0.01)
    assert (chance(1000.0), chance(50.0)) == (1, 1)
    assert 0 < chance(-1e6) < 1e-300


def test_what_a_beat_contributes_is_its_first_half_less_its_second(pieces):
    """The score, by its definition, at three lags."""
    keyed = next(keys(1, "beat"))
    found = np.zeros((HOPS, BANDS))
    own = magnitude.features(pieces[0].power)
    found[: len(own)] = own
    scores = magnitude.score(own, keyed)
    for lag in (0, 5, 777):
        there = np.roll(found, -lag, axis=0).reshape(HOPS // BEAT, BEAT, BANDS)
        beats = there[:, : BEAT // 2].sum(axis=1) - there[:, BEAT // 2 :].sum(axis=1)
        signs = keyed.loudness[::BEAT]
        assert scores[lag] == pytest.approx((beats * signs).sum() / math.sqrt((beats**2).sum()), abs=1e-3)
