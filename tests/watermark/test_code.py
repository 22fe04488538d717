"""The code against its definition, and on the noisy channel."""

import numpy as np
import pytest

from pipeline.watermark import code
from pipeline.watermark.code import LIST, POLYNOMIALS, decode, encode, length

RNG = np.random.default_rng
K = 72  # information bits of a payload


def words(count: int, k: int, seed: int = 0) -> np.ndarray:
    return RNG(seed).integers(0, 2, (count, k)).astype(np.uint8)


def received(word: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Soft values at an Eb/N0 in dB, Eb being the energy of an information bit."""
    sent = 1 - 2.0 * encode(word)
    return sent + rng.standard_normal(sent.size) * np.sqrt(sent.size / word.size / 2 / 10 ** (decibels / 10))


def score(word: np.ndarray, soft: np.ndarray) -> float:
    return float((1 - 2.0 * encode(word)) @ soft)


def test_one_bit_spells_the_polynomials() -> None:
    bits = np.zeros(K, np.uint8)
    bits[60] = 1
    spelt = np.roll(encode(bits).reshape(K, len(POLYNOMIALS)), -60, axis=0)[: code.MEMORY + 1].T
    assert [int("".join(map(str, row)), 2) for row in spelt] == list(POLYNOMIALS)


def test_the_code_is_linear_and_has_no_beginning() -> None:
    first, second = words(2, K)
    assert (encode(first ^ second) == encode(first) ^ encode(second)).all()
    assert (encode(np.roll(first, 7)) == np.roll(encode(first), 7 * len(POLYNOMIALS))).all()
    assert not encode(np.zeros(K, np.uint8)).any()


@pytest.mark.parametrize("k", [1, 5, 14, 16, K, 200])
def test_a_clear_word_is_read_back(k: int) -> None:
    for word in words(5, k):
        coded = encode(word)
        assert (coded.shape, coded.dtype) == ((length(k),), np.uint8)
        found = decode(1 - 2.0 * coded, k)
        assert (found[0] == word).all()
        assert (found[0].shape, found[0].dtype) == ((k,), np.uint8)


@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_the_scale_does_not_matter(scale: float) -> None:
    soft = received(words(1, K)[0], 0.5, RNG(1))
    assert np.array_equal(decode(scale * soft, K), decode(soft, K))
    assert np.array_equal(decode(soft.astype(np.float32), K), decode(soft, K))


def test_candidates_differ_and_the_likeliest_is_first() -> None:
    for seed in range(10):
        soft = RNG(seed).standard_normal(length(K))
        found = decode(soft, K)
        assert len({word.tobytes() for word in found}) == len(found) == LIST
        scores = [score(word, soft) for word in found]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("decibels", "most"), [(0.0, 0.14), (0.5, 0.05), (1.0, 0.02)])
def test_few_words_are_lost_at_a_low_level(decibels: float, most: float) -> None:
    """And few of these where a perfect decoder would not have lost them."""
    rng, lost, missed = RNG(7), 0, 0
    for word in words(200, K):
        found = decode(soft := received(word, decibels, rng), K)
        if not any((word == other).all() for other in found):
            lost += 1
            missed += score(word, soft) > score(found[0], soft)
    assert lost <= most * 200
    assert missed <= 3


def test_silence_and_nonsense_do_no_harm() -> None:
    assert len(decode(np.zeros(length(K)), K)) <= LIST
    with np.errstate(invalid="ignore"):
        assert len(decode(np.full(length(K), np.nan), K)) <= LIST


def test_another_number_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found soft values of shape \(287,\), expected \(288,\) for 72 bits"):
        decode(np.zeros(287), K)
