"""Marking: the same however a stream is cut, silent where it was silent, and well under the speech."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from pipeline.watermark import Embedder, detect, embed
from pipeline.watermark.embed import ROOM

RATES = (16000, 22050, 22051, 24000, 44100, 48000)
EVERY = pytest.mark.parametrize("rate", RATES)
SIZES = st.lists(st.one_of(st.integers(0, 2), st.integers(0, 5000), st.integers(0, 250_000)), max_size=8)


def in_blocks(samples, rate, key, payload, ends):
    embedder = Embedder(rate, key, payload)
    return np.concatenate([*map(embedder.process, np.split(samples, ends)), embedder.flush()])


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20)


def p_of(samples, rate, key):
    [finding] = detect(samples, rate, key)
    return finding.p


@EVERY
@given(sizes=SIZES)
@settings(max_examples=6, deadline=None)
def test_the_cut_of_the_blocks_does_not_matter(rate, sizes, spoken, marked, key, payload):
    got = in_blocks(spoken(rate, 6.0), rate, key, payload, np.cumsum(sizes))
    assert got.tobytes() == marked(rate, 6.0).tobytes()


def test_blocks_of_one_sample_will_do(spoken, marked, key, payload):
    samples = spoken(16000, 6.0)[:66_000]
    got = in_blocks(samples, 16000, key, payload, np.arange(63_900, 64_100))
    assert got.tobytes() == embed(samples, 16000, key, payload).tobytes()


def test_the_caller_may_use_its_array_again(spoken, marked, key, payload):
    embedder, block, out = Embedder(16000, key, payload), np.zeros(1000, np.float32), []
    for part in np.split(spoken(16000, 6.0), 96):
        block[:] = part
        out.append(embedder.process(block))
        block[:] = 1
    assert np.concatenate([*out, embedder.flush()]).tobytes() == marked(16000, 6.0).tobytes()


def test_a_stream_is_given_out_while_it_comes_in(spoken, key, payload):
    embedder = Embedder(16000, key, payload)
    samples = spoken(16000, 40.0)
    waiting = [0]
    for block in np.split(samples, 40):
        waiting.append(waiting[-1] + len(block) - len(embedder.process(block)))
    assert max(waiting) < 6 * 16000
    assert len(embedder.flush()) == waiting[-1]


@pytest.mark.parametrize("rate", [16000, 22051])
@pytest.mark.parametrize("beyond", [0, 1, 127, 128])
@pytest.mark.parametrize("blocks", [0, 1])
def test_every_length_is_kept(rate, beyond, blocks, spoken, key, payload):
    samples = spoken(rate, 6.0)[: blocks * 4 * rate + beyond]
    assert embed(samples, rate, key, payload).shape == samples.shape
    assert embed(samples[: len(samples) // 2 * 2].reshape(-1, 2), rate, key, payload).shape == (len(samples) // 2, 2)


def test_a_stream_that_never_began_ends_empty(key, payload):
    assert Embedder(16000, key, payload).flush().shape == (0,)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (-1, 2)])
def test_shape_and_type_are_kept(kind, shape, spoken, key, payload):
    samples = spoken(24000, 6.0).astype(kind).reshape(shape)
    before = samples.copy()
    got = embed(samples, 24000, key, payload)
    assert (got.dtype, got.shape) == (samples.dtype, samples.shape)
    assert (samples == before).all()


def test_double_precision_gets_the_same_mark(spoken, marked, key, payload):
    got = embed(spoken(24000, 6.0).astype(np.float64), 24000, key, payload)
    assert np.abs(got - marked(24000, 6.0)).max() < 1e-6


def test_channels_are_marked_as_if_alone(spoken, key, payload):
    one, two = spoken(24000, 20.0)[: 6 * 24000], spoken(24000, 20.0)[-6 * 24000 :]
    got = embed(np.stack([one, two], axis=1), 24000, key, payload)
    assert (got[:, 0] == embed(one, 24000, key, payload)).all()
    assert (got[:, 1] == embed(two, 24000, key, payload)).all()


@EVERY
@pytest.mark.parametrize("shape", [(-1,), (-1, 2)])
def test_a_silent_file_stays_silent(rate, shape, key, payload):
    assert not embed(np.zeros(5 * rate // 2 * 2, np.float32).reshape(shape), rate, key, payload).any()


@EVERY
def test_digital_silence_inside_speech_stays_digital_silence(rate, spoken, key, payload):
    samples = spoken(rate, 6.0).copy()
    for start, end in ((0.0, 0.3), (1.0, 1.002), (2.0, 3.5), (3.9, 4.2), (5.8, 6.0)):  # the fourth where blocks meet
        samples[round(start * rate) : round(end * rate)] = 0
    got = embed(samples, rate, key, payload)
    for start, end in ((0.0, 0.3), (1.0, 1.002), (2.0, 3.5), (3.9, 4.2), (5.8, 6.0)):
        assert not got[round(start * rate) : round(end * rate)].any()
    assert p_of(got, rate, key) < 1e-9


def test_the_zero_crossing_of_a_wave_is_no_silence(key, payload):
    """A square wave that rests for one sample at each edge: those may change like all others."""
    samples = np.tile(np.repeat(np.float32([0.0, 0.5, 0.0, -0.5]), [1, 47, 1, 47]), 500)
    mark = embed(samples, 48000, key, payload) - samples
    assert np.mean(mark[samples == 0][100:-100] != 0) > 0.99


def test_a_silent_channel_stays_silent(spoken, key, payload):
    samples = spoken(24000, 6.0)
    got = embed(np.stack([samples, 0 * samples], axis=1), 24000, key, payload)
    assert got[:, 0].any()
    assert not got[:, 1].any()


@EVERY
@pytest.mark.parametrize("gain", [1.3, 3.0])
def test_what_did_not_clip_does_not_clip(rate, gain, spoken, key, payload):
    samples = np.clip(spoken(rate, 6.0) * np.float32(gain), -1, 1)
    assert np.abs(samples).max() > 0.95
    got = embed(samples, rate, key, payload)
    assert np.abs(got).max() <= 1
    assert p_of(got, rate, key) < 1e-9
    # The mark is worked out in single precision.
    assert np.abs(embed(samples.astype(np.float64), rate, key, payload)).max() <= 1 + 1e-7


def test_what_clipped_before_is_left_to_whoever_made_it_so(spoken, key, payload):
    samples = 2 * spoken(16000, 6.0)
    assert np.abs(samples).max() > 1.2
    assert p_of(embed(samples, 16000, key, payload), 16000, key) < 1e-9


@pytest.mark.parametrize("dbfs", [-20, -40, -60, -80])
def test_quiet_speech_is_marked(dbfs, spoken, key, payload):
    samples = spoken(24000, 6.0)
    samples = samples * np.float32(10 ** (dbfs / 20) / np.abs(samples).max())
    assert p_of(embed(samples, 24000, key, payload), 24000, key) < 1e-9


@EVERY
def test_the_mark_lies_under_the_speech_at_every_moment(rate, spoken, marked):
    speech, mark = (np.array_split(x, 300) for x in (spoken(rate, 6.0), marked(rate, 6.0) - spoken(rate, 6.0)))
    loudest = max(map(decibels, speech))
    heard = [(decibels(a), decibels(b)) for a, b in zip(speech, mark, strict=True) if decibels(a) > loudest - 40]
    assert len(heard) > 100
    assert min(a - b for a, b in heard) > -20 * np.log10(ROOM)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_the_mark_lies_in_its_band(rate, spoken, marked):
    hertz, power = welch(marked(rate, 6.0) - spoken(rate, 6.0), rate, window=("kaiser", 14), nperseg=4096)
    inside = power[(hertz > 500) & (hertz < 4000)].sum()
    for low, high, margin in ((500, 4000, 25), (400, 4500, 35), (0, 6000, 60)):
        assert 10 * np.log10(inside / power[(hertz < low) | (hertz > high)].sum()) > margin


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("dbfs", [-60, -80, -100])
def test_no_more_than_a_few_milliseconds_ring_into_a_pause(rate, dbfs, spoken, key, payload):
    """In a faint noise, since digital silence would hide it; there the mark stays under the noise by itself."""
    samples = spoken(rate, 3.0).copy()
    samples[rate // 2 : rate * 3 // 2] = 0
    assert decibels(samples[rate * 2 // 5 : rate // 2]) > -40
    samples += np.float32(10 ** (dbfs / 20)) * np.random.default_rng(1).standard_normal(3 * rate).astype(np.float32)
    mark = embed(samples, rate, key, payload) - samples
    for piece in np.array_split(mark[rate // 2 + rate // 200 : rate * 3 // 2 - rate // 200], 99):
        assert decibels(piece) < dbfs - 6


def test_nothing_is_added_before_the_first_sound(spoken, key, payload):
    samples = np.concatenate([np.zeros(24000, np.float32), spoken(24000, 6.0)])
    onset = int(np.argmax(samples != 0))
    got = embed(samples, 24000, key, payload)
    assert int(np.argmax(got != 0)) >= onset - 12  # half a millisecond


def test_a_stronger_mark_is_found_more_surely_and_changes_more(spoken, key, payload):
    samples = spoken(22050, 3.0)
    files = [embed(samples, 22050, key, payload, strength=strength) for strength in (0.5, 1.0, 2.0)]
    weak, normal, strong = (p_of(file, 22050, key) for file in files)
    assert weak > 1e20 * normal > 1e40 * strong
    changes = [decibels(file - samples) for file in files]
    assert changes == sorted(changes)
    assert p_of(embed(spoken(22050, 10.0), 22050, key, payload, strength=0.5), 22050, key) < 1e-9


def bad(**at):
    samples = np.zeros((100, 2), np.float32)
    for value, place in at.items():
        samples[place] = float(value)
    return samples


@pytest.mark.parametrize(
    ("samples", "wrong"),
    [
        (bad(nan=(7, 0)), "found a sample that is not a finite number, the first at 7"),
        (bad(inf=(99, 1), nan=(98, 1)), "found a sample that is not a finite number, the first at 98"),
        (bad(inf=3)[:, 0].astype(np.float64), "found a sample that is not a finite number, the first at 3"),
        (np.array([0, 1e6, -1e30, np.nan]), "found a sample of size 1e\\+30, the first at 2"),
        (np.zeros(100, np.int16), "found int16 samples, expected float32 or 64"),
        (np.zeros(100, np.float16), "found float16 samples, expected float32 or 64"),
        (np.zeros(100, np.complex64), "found complex64 samples, expected float32 or 64"),
        ([0.0] * 100, "found list samples, expected float32 or 64"),
        (None, "found NoneType samples, expected float32 or 64"),
        (np.float32(0), "found float32 samples, expected float32 or 64"),
        (np.array(0.0), r"found samples of shape \(\), expected \(n,\) or \(n, channels\)"),
        (np.zeros((2, 3, 4)), r"found samples of shape \(2, 3, 4\), expected \(n,\) or \(n, channels\)"),
        (np.zeros((5, 0)), r"found samples of shape \(5, 0\), expected \(n,\) or \(n, channels\)"),
        (np.zeros((2, 16000)), r"found samples of shape \(2, 16000\), expected \(n,\) or \(n, channels\)"),
    ],
)
def test_what_is_no_sound_is_refused(samples, wrong, key, payload):
    with pytest.raises(ValueError, match=wrong + "$"):
        embed(samples, 16000, key, payload)


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (np.zeros(10), "float64 of shape (n,)"),
        (np.zeros((10, 1)), "float64 of shape (n, 1)"),
        (np.zeros((10, 3)), "float64 of shape (n, 3)"),
        (np.zeros((10, 2), np.float32), "float32 of shape (n, 2)"),
    ],
)
def test_a_change_of_channels_or_type_is_refused(block, found, key, payload):
    embedder = Embedder(16000, key, payload)
    embedder.process(np.zeros((10, 2)))
    told = re.escape(f"found {found}, expected float64 of shape (n, 2) as in the block before")
    with pytest.raises(ValueError, match=f"^{told}$"):
        embedder.process(block)
    assert embedder.flush().shape == (10, 2)


def test_after_the_end_there_is_nothing_more(key, payload):
    embedder = Embedder(16000, key, payload)
    embedder.process(np.zeros((10, 2)))
    assert len(embedder.flush()) == 10
    assert embedder.flush().shape == (0, 2)
    with pytest.raises(ValueError, match=r"^found more samples after flush\(\), expected a new Embedder"):
        embedder.process(np.zeros((10, 2)))


@pytest.mark.parametrize("rate", [0, -16000, 4000, 7999, 192_001, 24000.5, 24000.0, "24000", None])
def test_other_rates_are_refused(rate, key, payload):
    with pytest.raises(ValueError, match=f"^found a rate of {rate} Hz, expected a whole number from 8000 to 192000$"):
        Embedder(rate, key, payload)


@pytest.mark.parametrize("strength", [0.1, 0.49, 2.01, 3.0, -1.0, float("nan"), float("inf")])
def test_other_strengths_are_refused(strength, key, payload):
    with pytest.raises(ValueError, match=f"^found strength {strength}, expected 0.5 to 2.0$"):
        Embedder(16000, key, payload, strength=strength)


def test_the_payload_of_another_key_is_refused(key, other, payload):
    with pytest.raises(ValueError, match=rf"^key_id is {payload.key_id}, expected {other.id}, the id of Key\("):
        Embedder(16000, other, payload)
