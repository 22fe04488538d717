"""Words to terms."""

import pytest

from pipeline.text.directions import EMOTIONS, STYLES, WORDS, Direction, parse


@pytest.mark.parametrize(
    ("words", "terms"),
    [
        ("whispering, afraid, fast", ("fear", "whispering", "fast")),
        ("Whispers, TERRIFIED", ("fear", "whispering")),
        ("in a low voice, sadly", ("sadness", "low pitch")),
        ("under her breath", ("whispering",)),
        ("very slowly and very sad", ("sadness", "very slow")),
        ("furieuse, en criant", ("anger", "shouting")),
        ("flüsternd und ängstlich", ("fear", "whispering")),
        ("sussurrando", ("whispering",)),
        ("a bit angry", ("anger",)),
        ("without emotion", ("flat",)),
        ("terrifying", ("fear",)),  # nearest by its beginning
        ("sighs, then laughing", ("sigh",)),
        ("", ()),
    ],
)
def test_words_mean_terms(words: str, terms: tuple[str, ...]) -> None:
    assert parse(words).terms == terms


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        ("like a banana", ("like", "banana")),
        ("angry, sad", ("sad",)),  # one emotion at a time
        ("not angry", ()),
        ("over the phone, whispering", ("over", "phone")),
    ],
)
def test_what_is_not_understood_is_told(words: str, lost: tuple[str, ...]) -> None:
    assert parse(words).lost == lost


def test_a_denied_word_means_nothing() -> None:
    assert parse("not angry").terms == ()


def test_what_is_said_back_means_the_same() -> None:
    for family in WORDS.values():
        for term in family:
            assert parse(str(parse(term))).terms == (term,)
    whole = parse("expressive, fast, whispering, low voice, fear, sighs")
    assert parse(str(whole)) == whole
    assert str(whole) == "fear, whispering, fast, low pitch, expressive, sigh"


def test_every_word_of_the_table_means_its_term_alone() -> None:
    for family, terms in WORDS.items():
        for term, words in terms.items():
            for word in words.split("|"):
                found = parse(word)
                assert found.lost == (), word
                assert Direction.family(found.terms[0]) == family or term in STYLES + EMOTIONS, word


def test_families_that_an_engine_does_not_know_are_lost() -> None:
    assert parse("fear, sighs").only(("emotion",)) == Direction(("fear",), ("sigh",))
    assert parse("fear, sighs").of("sound") == "sigh"
