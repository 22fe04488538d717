"""Finding marks: in pieces, through codecs, in long files, among other keys, and never where there is none."""

import io
import math

import numpy as np
import pytest
import soundfile
from scipy.signal import hilbert

from pipeline.audio.clip import resample
from pipeline.audio.codec import Delivery
from pipeline.watermark import THRESHOLD, Detector, Key, Payload, detect, embed
from pipeline.watermark.reference import PERIOD
from pipeline.watermark.spectrum import RATE

UNLIKELY = 1e-3  # a p-value that what is not marked has once in a thousand times


def moved(found, wanted):
    """Seconds between two places of the mark's period."""
    period = PERIOD / RATE
    return abs((found - wanted + period / 2) % period - period / 2)


def one(samples, rate, key, **settings):
    [finding] = detect(samples, rate, key, **settings)
    assert finding.key == key.name
    return finding


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 22051, 24000, 44100, 48000, 96000, 192_000])
def test_a_mark_is_found_at_every_rate(rate, marked, key, payload):
    finding = one(marked(rate, 8.0), rate, key)
    assert finding.marked
    assert finding.p < THRESHOLD
    assert finding.payload == payload
    assert moved(finding.offset, 0) < 1e-3
    assert (finding.polarity, finding.tempo, finding.pitch) == (1, 1.0, 1.0)
    assert [span[:2] for span in finding.spans] == [(0, 8)]


@pytest.mark.parametrize("rate", [22050, 48000])
@pytest.mark.parametrize("start", [0.7, 5.12345, 13.37, 17.3])
def test_a_piece_says_where_it_was_cut_out(rate, start, marked, key, payload):
    finding = one(marked(rate, 30.0)[round(start * rate) :][: 8 * rate], rate, key)
    assert finding.payload == payload
    assert moved(finding.offset, start) < 1e-3


def test_what_was_put_before_is_no_part_of_the_period(marked, key):
    late = np.concatenate([np.zeros(12000, np.float32), marked(24000, 8.0)])
    assert moved(one(late, 24000, key).offset, -0.5) < 1e-3


def test_a_second_of_speech_is_enough(marked, key):
    finding = one(marked(22050, 8.0)[22050 : 2 * 22050], 22050, key)
    assert finding.marked
    assert moved(finding.offset, 1) < 1e-3


def test_a_waveform_upside_down(marked, key, payload):
    finding = one(-marked(22050, 8.0), 22050, key)
    assert (finding.marked, finding.polarity, finding.payload) == (True, -1, payload)


def test_a_waveform_whose_phases_are_all_turned(marked, key, payload):
    for degrees in (45, 90, 135):
        whole = hilbert(marked(22050, 8.0)) * np.exp(1j * math.radians(degrees))
        finding = one(whole.real.astype(np.float32), 22050, key)
        assert (finding.marked, finding.payload) == (True, payload)


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(format="mp3", rate=22050, bitrate=32),
        Delivery(format="m4a", rate=22050, bitrate=32),
        Delivery(format="opus", rate=24000, bitrate=16),
        Delivery(format="wav", rate=16000, bits=16),
    ],
    ids=lambda delivery: delivery.format,
)
def test_a_mark_lives_through_codecs(delivery, marked, delivered, key, payload):
    got = delivered(marked(delivery.rate, 10.0), delivery)
    finding = one(got, delivery.rate, key)
    assert (finding.marked, finding.payload) == (True, payload)
    assert moved(finding.offset, 0) < 2e-3


def test_a_mark_lives_through_the_telephone(marked, key, payload):
    file = io.BytesIO()
    soundfile.write(file, resample(marked(22050, 8.0), 22050, 8000), 8000, format="WAV", subtype="ULAW")
    file.seek(0)
    samples, rate = soundfile.read(file, dtype="float32")
    finding = one(samples, rate, key)
    assert (rate, finding.marked, finding.payload) == (8000, True, payload)


def test_a_mark_lives_through_noise(marked, key, payload):
    samples = marked(22050, 8.0)
    noise = np.random.default_rng(1).standard_normal(len(samples)) * np.std(samples) / 10  # 20 dB
    finding = one(samples + noise, 22050, key)
    assert (finding.marked, finding.payload) == (True, payload)


def test_stereo_is_heard_as_its_mean_and_as_its_difference(marked, spoken, key, payload):
    voice, other = marked(24000, 2.0), 0.5 * spoken(24000, 10.0)[: 2 * 24000]
    for left, right in ((voice, other), (voice, -voice), (other + voice, other - voice)):
        both = np.stack([left, right], axis=1)
        finding = one(both, 24000, key)
        assert (finding.marked, finding.payload) == (True, payload)
        alone = min(one(both @ side, 24000, key).p for side in ([0.5, 0.5], [0.5, -0.5]))
        assert finding.p == pytest.approx(2 * alone)  # one more was tried
    assert one(np.stack([voice, voice], axis=1), 24000, key) == one(voice, 24000, key)


@pytest.mark.parametrize("seconds", [0.3, 10.0, 10.05, 14.0, 30.0])
def test_the_cut_of_the_blocks_does_not_matter(seconds, marked, key, other):
    samples = marked(16000, 40.0)[: round(seconds * 16000)]
    detector = Detector(16000, [other, key])
    for block in np.split(samples, np.cumsum([0, 1, 2, 0, 777, 16001, 160_000, 1, 7])):
        detector.add(block)
    found = detector.findings()
    assert found == detect(samples, 16000, [other, key])
    assert found == detector.findings()


def test_the_spans_tell_where_in_a_long_file_the_mark_is(spoken, marked, key, other, payload):
    samples = spoken(16000, 40.0).copy()
    samples[12 * 16000 : 26 * 16000] = marked(16000, 40.0)[12 * 16000 : 26 * 16000]
    found, none = detect(samples, 16000, [other, key])
    assert (found.key, found.marked, found.payload) == (key.name, True, payload)
    assert moved(found.offset, 0) < 1e-3
    assert [span[:2] for span in found.spans] == [(start, start + 10) for start in range(0, 31, 5)]
    chances = {start: p for start, _, p in found.spans}
    assert max(chances[10], chances[15], chances[20]) < THRESHOLD
    assert min(chances[0], chances[30]) > UNLIKELY
    assert found.p / min(chances.values()) == pytest.approx(14)  # as many windows and keys were tried
    assert (none.key, none.payload) == (other.name, None)
    assert min(none.p, *(p for *_, p in none.spans)) > UNLIKELY


def test_the_last_window_reaches_to_the_end(marked, key):
    spans = one(marked(16000, 40.0)[: 17 * 16000 + 8], 16000, key).spans
    assert [span[:2] for span in spans] == [(0, 10), (5, 15), (10, 17.0005)]


def test_after_a_change_of_key_the_old_one_is_still_found(marked, key, other, payload):
    samples = marked(22050, 8.0)
    found = detect(samples, 22050, [other, Key(bytes([7] * 32)), key])
    assert found[0].key == key.name
    assert {finding.key for finding in found[1:]} == {other.name, Key(bytes([7] * 32)).name}
    assert [finding.payload for finding in found] == [payload, None, None]
    assert min(finding.p for finding in found[1:]) > UNLIKELY
    # Trying three keys makes it three times as likely that chance alone looks so.
    assert found[0].p / one(samples, 22050, key).p == pytest.approx(3)


def test_two_marks_in_one_file_are_both_found(marked, key, other, payload):
    second = Payload.of(other, "ffeeddccbbaa")
    samples = embed(marked(22050, 10.0), 22050, other, second)
    found = {finding.key: finding for finding in detect(samples, 22050, [key, other])}
    assert found[key.name].marked
    assert found[other.name].marked
    assert (found[key.name].payload, found[other.name].payload) == (payload, second)


@pytest.mark.parametrize("first", [6, 16])
def test_of_two_tracks_of_one_key_the_one_with_more_evidence_is_named(first, spoken, marked, key, payload):
    second = Payload.of(key, "ffeeddccbbaa")
    samples = embed(spoken(16000, 40.0), 16000, key, second)[: 22 * 16000]
    samples[: first * 16000] = marked(16000, 40.0)[: first * 16000]
    finding = one(samples, 16000, key)
    assert finding.payload == (second if first == 6 else payload)


def test_another_key_finds_nothing(marked, spoken, key, other):
    for samples, wrong in ((marked(22050, 10.0), other), (spoken(22050, 10.0), key)):
        finding = one(samples, 22050, wrong)
        assert not finding.marked
        assert finding.p > UNLIKELY
        assert finding.payload is None


@pytest.mark.parametrize("shape", [(40_000,), (40_000, 2), (400_000,)])
def test_silence_holds_no_mark(shape, key):
    finding = one(np.zeros(shape, np.float32), 16000, key)
    assert finding.p == 1
    assert finding.payload is None
    assert {p for *_, p in finding.spans} == {1}


def test_silence_around_does_no_harm(marked, key, payload):
    silence = np.zeros(12 * 16000, np.float32)
    finding = one(np.concatenate([silence, marked(16000, 8.0), silence]), 16000, key)
    assert (finding.marked, finding.payload) == (True, payload)
    assert moved(finding.offset, -12) < 1e-3


@pytest.mark.parametrize("level", [1e-30, 1e-12, 1e-6, 1.0])
def test_a_constant_holds_no_mark(level, key):
    assert one(np.full(40_000, level), 16000, key).p > UNLIKELY


def test_the_shortest_piece(marked, key):
    assert one(marked(16000, 8.0)[:4000], 16000, key).p > 0
    with pytest.raises(ValueError, match=r"^found 1,600 samples at 16000 Hz, expected at least 0\.25 s$"):
        detect(marked(16000, 8.0)[:1600], 16000, key)
    with pytest.raises(ValueError, match=r"^found 0 samples at 16000 Hz, expected at least 0\.25 s$"):
        Detector(16000, key).findings()


@pytest.mark.parametrize(
    ("samples", "wrong"),
    [
        (np.array([0, 0, np.nan, np.inf]), "found a sample that is not a finite number, the first at 2"),
        (np.array([[0, 0], [0, np.inf]]), "found a sample that is not a finite number, the first at 1"),
        (np.zeros(9, np.int16), "found int16 samples, expected float32 or 64"),
        ([0.0], "found list samples, expected float32 or 64"),
        (np.zeros((2, 3, 4)), r"found samples of shape \(2, 3, 4\), expected \(n,\) or \(n, channels\)"),
    ],
)
def test_what_is_no_sound_is_refused(samples, wrong, key):
    with pytest.raises(ValueError, match=wrong + "$"):
        detect(samples, 16000, key)


@pytest.mark.parametrize("rate", [0, 3999, 192_001, 24000.5])
def test_other_rates_are_refused(rate, key):
    with pytest.raises(ValueError, match=f"^found a rate of {rate} Hz, expected a whole number from 4000 to 192000$"):
        Detector(rate, key)


def test_other_searches_and_no_keys_are_refused(key):
    with pytest.raises(ValueError, match=r"^found search 'slow', expected one of fast, forensic$"):
        Detector(16000, key, search="slow")
    with pytest.raises(ValueError, match=r"^found no key, expected at least one$"):
        Detector(16000, [])
    with pytest.raises(ValueError, match=r"^found a str for a key, expected Key: Key\.parse\(text\) makes one$"):
        Detector(16000, [key, key.text()])


@pytest.mark.parametrize(
    ("before", "block", "wrong"),
    [
        ((10,), (10, 2), "found stereo, expected no stereo"),
        ((10, 2), (10,), "found no stereo, expected stereo"),
        ((10, 2), (10, 1), "found no stereo, expected stereo"),
    ],
)
def test_a_stream_that_turns_stereo_or_ceases_to_be_is_refused(before, block, wrong, key):
    detector = Detector(16000, key)
    detector.add(np.zeros(before))
    with pytest.raises(ValueError, match=f"^{wrong} as in the block before$"):
        detector.add(np.zeros(block))
