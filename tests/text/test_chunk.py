"""Utterances to chunks: where a text may be cut, and where never."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.text.chunk import split
from pipeline.text.markup import speakable
from pipeline.text.pace import predict

WORDS = {
    "en": ["lighthouse", "don't", "well-known", "Mr.", "a", "keeper's"],
    "fr": ["l'été", "aujourd'hui", "gardien", "où", "M."],
    "ru": ["маяк", "кто-нибудь", "смотритель", "я"],
    "hi": ["प्रकाशस्तंभ", "रखवाला", "है", "की"],
    "ar": ["المنارة", "سفينة", "لا", "كل"],
    "cmn": ["灯塔", "看守人", "三天没有看到船了", "他"],
    "th": ["คนเฝ้าประภาคาร", "ไม่เห็นเรือ", "มา"],
    "ko": ["등대지기는", "배를", "못했다"],
    "el": ["φύλακας", "του", "φάρου"],
}
WHOLE = [
    "3,000,000", "12:30", "1 000 000", "3.14", "2024-02-29", "https://example.com/a,b;c?d=e.f", "www.example.org/x",
    "<b>", "<v Anna>", "{\\an8}", "1/2",
]  # fmt: skip
ENDS = ["", "", "", ",", ";", ".", "!", "?", "…", " —", " -", "\u202f!", "\u00a0?", "。", "，", "؟", "।", '."', " »"]


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """A text of words, of what must stay whole and of punctuation; with its language."""
    language = draw(st.sampled_from(sorted(WORDS)))
    piece = st.sampled_from(WORDS[language]) | st.sampled_from(WHOLE)
    space = "" if language == "cmn" else " "
    parts = draw(st.lists(st.tuples(piece, st.sampled_from(ENDS)), min_size=1, max_size=40))
    text = ""
    for word, end in parts:
        apart = " " if word in WHOLE or (text and text[-1] in ",;.!?…—-»0123456789") else space
        text += f"{apart if text else ''}{word}{end}"
    return language, text


def bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


@given(texts(), st.floats(0.2, 12))
@settings(max_examples=300, deadline=None)
def test_pieces_give_the_text_back_and_cut_nothing_that_is_whole(case: tuple[str, str], limit: float) -> None:
    language, text = case
    pieces = split(text, language, limit)
    assert bare("".join(pieces)) == bare(text)
    assert all(speakable(piece) for piece in pieces) or not speakable(text)
    place = 0
    for piece in pieces[:-1]:  # every cut stands at a space, or after punctuation
        while text[place].isspace():
            place += 1
        assert text.startswith(piece, place) or len(pieces) == 1
        place += len(piece)
        assert text[place].isspace() or not text[place - 1].isalnum() or not text[place].isalnum()
    for token in WHOLE:
        kept = [piece for piece in pieces if token in piece]
        assert sum(piece.count(token) for piece in kept) == text.count(token)


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert split("One. Two. Three.", "en") == ["One. Two. Three."]


def test_sentences_are_packed_as_far_as_they_fit() -> None:
    text = "One is here. Two is here. Three is here. Four is here."
    assert split(text, "en", 2.0) == ["One is here. Two is here.", "Three is here. Four is here."]


def test_a_long_sentence_is_cut_at_its_clauses_and_a_long_clause_between_words() -> None:
    text = "When the rain had stopped, the old keeper went out; nobody saw him"
    assert split(text, "en", 2.0) == ["When the rain had stopped,", "the old keeper went out;", "nobody saw him"]
    pieces = split("the old keeper of the lighthouse went out", "en", 1.0)
    assert " ".join(pieces) == "the old keeper of the lighthouse went out"
    assert all(predict(piece, "en") <= 1.0 for piece in pieces)


@pytest.mark.parametrize(
    "token",
    ["3,000,000", "12:30", "1 000 000", "https://example.com/a,b", "<v Anna Maria>", "{\\pos(1, 2)}", "3, 4, 5"],
)
def test_some_things_are_never_cut(token: str) -> None:
    text = f"one two three {token} four five"
    assert any(token in piece for piece in split(text, "en", 0.2))


def test_chinese_is_cut_at_its_punctuation_and_nowhere_else() -> None:
    assert split("灯塔看守人没有看到船，但他点亮灯。他睡了。", "cmn", 3.1) == [
        "灯塔看守人没有看到船，",
        "但他点亮灯。",
        "他睡了。",
    ]
    assert split("灯塔看守人没有看到船了但他点亮灯", "cmn", 1.0) == ["灯塔看守人没有看到船了但他点亮灯"]


def test_thai_is_cut_at_its_spaces() -> None:
    assert split("คนเฝ้าประภาคาร ไม่เห็นเรือ", "th", 2.0) == ["คนเฝ้าประภาคาร", "ไม่เห็นเรือ"]


def test_a_mark_that_stands_alone_stays_with_the_words_before_it() -> None:
    for limit in (0.2, 0.5, 0.8, 1.0):
        assert all(speakable(piece) for piece in split("Bonjour à tous\u202f! — Merci — non\u00a0?", "fr", limit))
    assert split("one two —", "en", 0.6) == ["one two —"]
