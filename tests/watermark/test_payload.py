"""Payloads: what is sent, what comes back through noise, and that nothing else is ever taken for one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.watermark import code, payload
from pipeline.watermark.keys import Key
from pipeline.watermark.payload import LENGTH, Payload, decode, encode

KEY = Key(bytes(range(32)))
OTHER = Key(bytes(32))
TRACK = Payload(KEY.id, 0x001122334455)


def received(coded: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Soft values at an Eb/N0 in dB, Eb being the energy of one of the 72 bits sent."""
    return 1 - 2.0 * coded + rng.standard_normal(LENGTH) * np.sqrt(LENGTH / 72 / 2 / 10 ** (decibels / 10))


def test_the_known_answers() -> None:
    """A mark made today must be read by every later version, on every machine."""
    assert TRACK.bytes() == bytes.fromhex("1c3d001122334455")
    assert np.packbits(encode(TRACK, KEY)).tobytes().hex() == (
        "0c251b1e271f45ed46b3e6dc268a8cbf2db66bf1db2fe5c2275b5b53b46160a9d9419792"
    )


def test_a_payload_is_64_bits() -> None:
    assert Payload(0xABC, 0x123456789ABC, 0xF).hex() == "fabc123456789abc"
    assert Payload(0, 0, 0).bytes() == bytes(8)


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ((4096, 0), "key_id is 4096, expected 0 to 4095"),
        ((-1, 0), "key_id is -1, expected 0 to 4095"),
        ((0, 1 << 48), "track is 281474976710656, expected 0 to 281474976710655"),
        ((0, 0, 16), "version is 16, expected 0 to 15"),
    ],
)
def test_a_field_out_of_range_is_refused(fields: tuple[int, ...], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Payload(*fields)


def test_a_track_is_known_by_its_digest() -> None:
    digest = "00112233445566778899"
    assert Payload.of(KEY, digest) == Payload.of(KEY, bytes.fromhex(digest)) == TRACK
    with pytest.raises(ValueError, match="the digest of a track has at least 6 bytes, found 5"):
        Payload.of(KEY, "0011223344")
    with pytest.raises(ValueError, match="the digest of a track is hexadecimal, found '00xx'"):
        Payload.of(KEY, "00xx")


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(0, (1 << 48) - 1))
def test_what_is_sent_comes_back(secret: bytes, track: int) -> None:
    key = Key(secret)
    sent = Payload(key.id, track)
    coded = encode(sent, key)
    assert (coded.shape, coded.dtype) == ((LENGTH,), np.uint8)
    assert decode(1 - 2.0 * coded, key) == sent


def test_it_comes_back_through_noise() -> None:
    """At 1.1 dB; Shannon's limit is -0.8 dB at this rate, and 0.9 dB at this length for one loss in a hundred."""
    rng = np.random.default_rng(3)
    lost = 0
    for _ in range(200):
        sent = Payload(KEY.id, int(rng.integers(1 << 48)))
        found = decode(received(encode(sent, KEY), 1.1, rng), KEY)
        assert found in (sent, None)
        lost += found is None
    assert lost <= 3


def test_noise_is_never_taken_for_a_payload() -> None:
    rng = np.random.default_rng(4)
    assert not any(decode(rng.standard_normal(LENGTH), KEY) for _ in range(300))


def test_another_key_reads_nothing() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        key = Key(rng.bytes(32))
        assert decode(received(encode(TRACK, KEY), 6, rng), key) is None
        assert decode(received(encode(Payload(key.id, TRACK.track), key), 6, rng), KEY) is None


def test_an_altered_message_is_never_believed() -> None:
    mask = encode(TRACK, KEY) ^ code.encode(message := sent_bits(TRACK))
    assert decode(1 - 2.0 * (code.encode(message) ^ mask), KEY) == TRACK
    for bit in range(len(message)):
        altered = message.copy()
        altered[bit] ^= 1
        # Of words that differ in one bit the decoder may offer both: then the one that is signed is meant.
        assert decode(1 - 2.0 * (code.encode(altered) ^ mask), KEY) in (None, TRACK)


def sent_bits(sent: Payload) -> np.ndarray:
    return np.unpackbits(np.frombuffer(sent.bytes()[2:] + payload._mac(sent, KEY), np.uint8))


def test_the_signature_is_also_over_what_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "VERSIONS", (1, 2))
    second = Payload(KEY.id, TRACK.track, 2)
    coded = encode(second, KEY)
    assert decode(1 - 2.0 * coded, KEY) == second
    monkeypatch.setattr(payload, "VERSIONS", (1,))
    assert decode(1 - 2.0 * coded, KEY) is None


def test_a_payload_of_zeros_is_nothing_special() -> None:
    mine, others = encode(Payload(KEY.id, 0), KEY), encode(Payload(OTHER.id, 0), OTHER)
    for bits in (mine, others, mine ^ others):
        assert abs(bits.mean() - 0.5) < 0.1


def test_the_payload_of_another_key_is_refused() -> None:
    with pytest.raises(ValueError, match=rf"^key_id is {OTHER.id}, expected 3133, the id of Key\(c3da…\)$"):
        encode(Payload(OTHER.id, 0), KEY)
    with pytest.raises(ValueError, match="version is 2, expected one of"):
        encode(Payload(KEY.id, 0, 2), KEY)
