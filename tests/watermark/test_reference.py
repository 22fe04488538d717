"""What a key stands for never changes, and no two keys stand for nearly the same."""

import hashlib

import numpy as np
import pytest

from pipeline.watermark.keys import Key
from pipeline.watermark.payload import LENGTH, Payload
from pipeline.watermark.reference import BANDS, BEAT, FRAMES, HOPS, PILOTS, Reference, reference
from pipeline.watermark.spectrum import BINS, CELL, HIGH, LOW, RATE, mdct, spectrum

SECOND = RATE // CELL  # whole frames in a second
TRACKS = ("000000000000", "0123456789ab", "fedcba987654")


def coefficients(keyed, payload):
    signal = keyed.signal(payload)
    return mdct(np.concatenate([signal, signal[:CELL]]))


def digest(array, kind):
    return hashlib.sha256(array.astype(kind).tobytes()).hexdigest()[:16]


def test_the_known_answers(key):
    """A mark made today must be found by every later version, on every machine."""
    keyed = reference(key)
    assert digest(keyed.signs, np.int8) == "e05a641447f7e756"
    assert digest(keyed.pilots, np.bool) == "1db0dae9ff3c638e"
    assert digest(keyed.bits, "<i2") == "cf4f63e4a58c021c"
    assert digest(keyed.loudness, np.int8) == "d8b8c6771e89b6bc"


def test_the_same_key_has_the_same_reference(key, payload):
    one, two = Reference(key), Reference(Key(bytes(range(32))))
    assert one.signal(payload).tobytes() == two.signal(payload).tobytes()
    assert (one.pilots == two.pilots).all()
    assert (one.loudness == two.loudness).all()
    assert reference(key) is reference(Key(bytes(range(32))))


def test_every_frame_has_its_pilots_and_they_change_from_frame_to_frame(key):
    pilots = reference(key).pilots
    assert pilots.shape == (FRAMES, BINS)
    assert (pilots.sum(axis=1) == PILOTS).all()
    assert len(np.unique(pilots, axis=0)) == FRAMES
    # Each coefficient is a pilot as often as any other: five standard deviations of a binomial.
    spread = np.sqrt(FRAMES * PILOTS / BINS * (1 - PILOTS / BINS))
    assert np.abs(pilots.sum(axis=0) - FRAMES * PILOTS / BINS).max() < 5 * spread


def test_every_second_holds_every_coded_bit(key):
    bits = reference(key).bits.reshape(FRAMES, BINS - PILOTS)
    assert (bits.min(), bits.max()) == (0, LENGTH - 1)
    around = np.concatenate([bits, bits[:SECOND]])
    for start in range(FRAMES):
        assert np.bincount(around[start : start + SECOND].ravel(), minlength=LENGTH).min() >= 3


def test_signs_are_fair(key):
    keyed = reference(key)
    for signs, count in ((keyed.signs, FRAMES * BINS), (keyed.loudness[::BEAT], HOPS // BEAT * BANDS)):
        assert np.isin(signs, (-1, 1)).all()
        assert abs(signs.sum()) < 5 * np.sqrt(count)


def test_a_payload_changes_nothing_but_the_other_coefficients(key):
    keyed = reference(key)
    found = [coefficients(keyed, Payload.of(key, track)) for track in TRACKS]
    for own in found:
        assert np.allclose(np.abs(own), 1, atol=1e-4)
        assert np.allclose(own[keyed.pilots], keyed.signs[keyed.pilots], atol=1e-4)
    for one, two in ((0, 1), (0, 2), (1, 2)):
        changed = np.sign(found[one]) != np.sign(found[two])
        assert 0.3 < changed[~keyed.pilots].mean() < 0.7
        # All coefficients of one coded bit change together.
        share = np.bincount(keyed.bits, changed[~keyed.pilots]) / np.bincount(keyed.bits)
        assert np.isin(share, (0, 1)).all()


def test_keys_are_nearly_orthogonal_at_every_lag(key, other, payload):
    """Signs of 92,000 coefficients make a correlation Gaussian: seven standard deviations, over 256,000 lags."""
    own = reference(key).spectrum(payload)
    theirs = reference(other).spectrum(Payload.of(other, "0123456789ab"))
    assert np.abs(np.fft.irfft(own * np.conj(theirs))).max() < 7 * np.sqrt(FRAMES * BINS)
    itself = np.fft.irfft(own * np.conj(own))
    assert itself[0] == pytest.approx(FRAMES * BINS, rel=1e-3)
    # Neighbours share the band, so that only what lies further off than the window has to be small.
    assert np.abs(itself[2 * CELL : -2 * CELL]).max() < 7 * np.sqrt(FRAMES * BINS)


def test_the_pilots_are_what_all_payloads_share(key):
    keyed = reference(key)
    signals = [np.fft.rfft(keyed.signal(Payload.of(key, track))) for track in TRACKS]
    energy = FRAMES * PILOTS
    for signal in signals:
        assert np.fft.irfft(signal * keyed.pilot_spectrum)[0] == pytest.approx(energy, rel=0.01)


def test_phases_are_those_of_the_signal_also_where_it_begins_again(key, payload):
    phases = reference(key).phases(payload)
    assert phases.shape == (HOPS, BINS)
    wanted = spectrum(np.tile(reference(key).signal(payload), 2))[3 : HOPS + 3, LOW:HIGH]
    assert np.allclose(phases * np.abs(wanted), wanted, atol=1e-3)
    assert np.allclose(np.abs(phases), 1, atol=1e-3)


def test_a_beat_is_as_long_louder_as_it_is_softer(key):
    beats = reference(key).loudness.reshape(-1, BEAT, BANDS)
    assert (beats.sum(axis=1) == 0).all()
    assert (beats[:, : BEAT // 2] == beats[:, :1]).all()


def test_bins_are_as_loud_as_their_band_two_hops_on(key):
    """A spectrum of four hops tells of its middle."""
    keyed = reference(key)
    found = keyed.loudness_of_bins()
    assert found.shape == (HOPS, BINS)
    assert (found[:-2, 0] == keyed.loudness[2:, 0]).all()
    assert (found[:-2, -1] == keyed.loudness[2:, -1]).all()
    assert len(np.unique(found, axis=1).T) <= BANDS
