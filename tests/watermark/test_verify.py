"""Proof that an encoded file holds the mark that was put into it, and no other."""

import numpy as np
import pytest

from pipeline.audio.codec import Delivery
from pipeline.watermark import THRESHOLD, Payload, Verifier, embed

DELIVERIES = (
    Delivery(format="flac", rate=22050, bits=16),
    Delivery(format="mp3", rate=22050, bitrate=64),
    Delivery(format="opus", rate=24000, bitrate=48),
)


def verifier(samples, rate, key, payload):
    found = Verifier(rate, key, payload)
    found.add(samples)
    return found


def p_of(samples, rate, key, payload):
    return verifier(samples, rate, key, payload).p()


@pytest.mark.parametrize("seconds", [40.0, 1.0])
@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.format)
def test_a_marked_file_is_verified_and_an_unmarked_one_is_not(
    delivery, seconds, spoken, marked, delivered, key, payload
):
    good = verifier(delivered(marked(delivery.rate, seconds), delivery), delivery.rate, key, payload)
    assert good.p() < THRESHOLD
    assert good.agrees()
    bad = verifier(spoken(delivery.rate, seconds), delivery.rate, key, payload)
    assert bad.p() > 1e-3
    assert bad.evidence() < good.evidence() / 3


@pytest.mark.parametrize("seconds", [40.0, 1.0])
@pytest.mark.parametrize("track", ["fedcba987654", "000000000000"])
def test_another_payload_of_the_same_key_does_not_agree(seconds, track, marked, key, payload):
    """Its pilots are the same, so that a mark is there, but it is not this one."""
    samples = marked(22050, seconds)
    found = verifier(samples, 22050, key, Payload.of(key, track))
    assert found.p() < (1e-6 if seconds > 2 else 0.2)
    assert not found.agrees()
    assert found.evidence() < verifier(samples, 22050, key, payload).evidence() * 0.6


@pytest.mark.parametrize("track", ["0123456789aa", "f123456789ab"])
def test_a_payload_that_differs_in_one_digit_does_not_agree(track, marked, key):
    """A convolutional code spells two thirds of the coded bits alike."""
    found = verifier(marked(22050, 40.0), 22050, key, Payload.of(key, track))
    assert found.p() < THRESHOLD
    assert not found.agrees()


@pytest.mark.parametrize("seconds", [40.0, 1.0])
def test_another_key_is_not_verified(seconds, marked, other):
    assert p_of(marked(22050, seconds), 22050, other, Payload.of(other, "0123456789ab")) > 1e-3


def test_of_two_marks_each_is_verified(marked, key, other, payload):
    second = Payload.of(other, "0123456789ab")
    both = embed(marked(22050, 10.0), 22050, other, second)
    for one, its in ((key, payload), (other, second)):
        found = verifier(both, 22050, one, its)
        assert found.p() < THRESHOLD
        assert found.agrees()


@pytest.mark.parametrize("delay", [-0.05, -0.001, 0.001, 0.05, 0.09])
def test_the_delay_of_a_codec_does_no_harm(delay, marked, key, payload):
    shift = round(delay * 22050)
    samples = marked(22050, 10.0)
    moved = np.concatenate([np.zeros(max(0, shift), np.float32), samples[max(0, -shift) :]])
    assert p_of(moved, 22050, key, payload) < THRESHOLD


@pytest.mark.parametrize("delay", [0.2, 1.0, 8.0])
def test_a_mark_at_another_place_is_not_verified(delay, marked, key, payload):
    shift = round(delay * 22050)
    samples = marked(22050, 40.0)
    assert p_of(samples[shift:], 22050, key, payload) > 1e-3
    assert p_of(np.concatenate([np.zeros(shift, np.float32), samples]), 22050, key, payload) > 1e-3


def test_one_period_later_is_the_same_place(marked, key, payload):
    assert p_of(marked(22050, 40.0)[16 * 22050 :], 22050, key, payload) < THRESHOLD


@pytest.mark.parametrize("seconds", [1.0, 16.0, 16.001, 40.0])
def test_the_cut_of_the_blocks_does_not_matter(seconds, marked, key, payload):
    samples = marked(16000, 40.0)[: round(seconds * 16000)]
    streamed = Verifier(16000, key, payload)
    for block in np.split(samples, np.cumsum([0, 1, 2, 0, 777, 160_001, 256_000, 1, 7])):
        streamed.add(block)
    whole = verifier(samples, 16000, key, payload)
    assert streamed.p() == whole.p() == whole.p()
    assert streamed.evidence() == whole.evidence()


def test_evidence_adds_up_over_the_periods_of_a_long_file(marked, key, payload):
    samples = marked(16000, 40.0)
    once, more = (verifier(samples[: seconds * 16000], 16000, key, payload).evidence() for seconds in (16, 32))
    assert more > 1.5 * once


def test_the_waveform_upside_down_and_its_level_do_not_matter(marked, key, payload):
    samples = marked(22050, 10.0)
    wanted = verifier(samples, 22050, key, payload).evidence()
    for factor in (-1.0, 0.01):
        found = verifier(samples * np.float32(factor), 22050, key, payload)
        assert found.evidence() == pytest.approx(wanted, rel=0.02)
        assert found.agrees()


def test_stereo_is_heard_as_its_mean(marked, spoken, key, payload):
    both = np.stack([marked(24000, 10.0), 0.5 * spoken(24000, 10.0)], axis=1)
    found = p_of(both, 24000, key, payload)
    assert found < THRESHOLD
    assert found == p_of(both.mean(axis=1), 24000, key, payload)


def test_the_mark_of_the_speech_alone_is_enough_among_silence(marked, key, payload):
    samples = np.zeros(40 * 16000, np.float32)
    samples[20 * 16000 : 21 * 16000] = marked(16000, 40.0)[20 * 16000 : 21 * 16000]
    assert p_of(samples, 16000, key, payload) < THRESHOLD


@pytest.mark.parametrize("shape", [(0,), (0, 2), (1,), (16000,), (16000, 2), (400_000,)])
def test_silence_and_nothing_hold_no_mark(shape, key, payload):
    found = verifier(np.zeros(shape, np.float32), 16000, key, payload)
    assert found.p() == 1
    assert found.evidence() == 0
    assert Verifier(16000, key, payload).p() == 1


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 511, 512, 513])
def test_a_few_samples_prove_nothing(count, marked, key, payload):
    assert p_of(marked(16000, 40.0)[16000 : 16000 + count], 16000, key, payload) > 1e-3


def test_what_cannot_be_heard_is_refused(key, other, payload):
    with pytest.raises(ValueError, match=r"^found a rate of 3999 Hz, expected a whole number from 4000 to 192000$"):
        Verifier(3999, key, payload)
    with pytest.raises(ValueError, match=r"^key_id is \d+, expected \d+, the id of Key\("):
        Verifier(16000, other, payload)
    with pytest.raises(ValueError, match=r"^found int16 samples, expected float32 or 64$"):
        Verifier(16000, key, payload).add(np.zeros(9, np.int16))
    with pytest.raises(ValueError, match=r"^found a sample that is not a finite number, the first at 3$"):
        Verifier(16000, key, payload).add(np.array([0, 0, 0, np.nan]))
