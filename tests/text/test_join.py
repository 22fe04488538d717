"""Lines to whole sentences."""

import pytest

from pipeline.model import Line, Utterance
from pipeline.text.join import join

Row = tuple[str, float | None, float | None] | tuple[str, float | None, float | None, str]


def lines(*rows: Row) -> list[Line]:
    return [
        Line(id=str(n), place=n, text=row[0], start=row[1], end=row[2], speaker=row[3] if len(row) > 3 else "")
        for n, row in enumerate(rows, 1)
    ]


def joined(*rows: Row, language: str = "en") -> list[str]:
    return [utterance.text for utterance in join(lines(*rows), language)]


def spans(utterances: list[Utterance]) -> list[tuple[str, float | None, float | None]]:
    return [(utterance.text, utterance.start, utterance.end) for utterance in utterances]


def test_cues_of_one_sentence_are_one_utterance() -> None:
    found = join(
        lines(("I have not seen", 1, 2), ("a ship", 2.1, 3), ("for days.", 3, 4), ("Nor has she.", 4, 5)), "en"
    )
    assert spans(found) == [("I have not seen a ship for days.", 1, 4), ("Nor has she.", 4, 5)]
    assert [(u.id, u.lines, u.place) for u in found] == [("1", ("1", "2", "3"), 1), ("4", ("4",), 4)]


@pytest.mark.parametrize(
    ("language", "first", "second"),
    [
        ("en", "I saw Mr.", "Smith."),
        ("en", "Call Dr.", "Brown now."),
        ("de", "Ich sah Dr.", "Müller."),
        ("es", "Vi al Sr.", "Vega."),
    ],
)
def test_an_abbreviation_at_the_end_of_a_cue_ends_no_sentence(language: str, first: str, second: str) -> None:
    rows = (first, 0, 1), (second, 1, 2), ("And so on.", 2, 3)
    assert joined(*rows, language=language)[0] == f"{first} {second}"


@pytest.mark.parametrize(
    "end", ["He left at ten.", "It was I.", "So it is.", 'He said "no."', "Is it?", "Go!", "(Yes.)"]
)
def test_a_sentence_end_is_one_even_after_a_short_word(end: str) -> None:
    assert joined((end, 0, 1), ("Then she came.", 1, 2)) == [end, "Then she came."]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("Wait…", "what is it?", True),
        ("Wait...", "what is it?", True),
        ("Wait…", "…what is it?", True),
        ("Wait…", "... What is it?", True),
        ("Wait…", "What is it?", False),
    ],
)
def test_an_ellipsis_goes_on_where_the_next_cue_does(first: str, second: str, together: bool) -> None:
    assert len(joined((first, 0, 1), (second, 1, 2))) == (1 if together else 2)


def test_speakers_keep_their_own_sentences_when_they_take_turns() -> None:
    found = join(
        lines(("I never", 0, 1, "A"), ("You always", 0.5, 1.5, "B"), ("said that.", 1.2, 2, "A"), ("do.", 1.6, 2, "B")),
        "en",
    )
    assert [(u.speaker, *span) for u, span in zip(found, spans(found), strict=True)] == [
        ("A", "I never said that.", 0, 2),
        ("B", "You always do.", 0.5, 2),
    ]


def test_a_gap_of_more_than_a_second_ends_an_utterance() -> None:
    assert joined(("I have", 0, 1), ("not seen it.", 2, 3)) == ["I have not seen it."]
    assert joined(("I have", 0, 1), ("not seen it.", 2.1, 3)) == ["I have", "not seen it."]


def test_a_cue_that_overlaps_its_forerunner_is_on_its_own() -> None:
    assert joined(("I have", 0, 1), ("not seen it.", 0.95, 2)) == ["I have not seen it."]
    assert joined(("I have", 0, 1), ("not seen it.", 0.5, 2)) == ["I have", "not seen it."]


def test_another_direction_begins_an_utterance() -> None:
    one, two = lines(("I have", 0, 1), ("not seen it.", 1, 2))
    two = Line(id="2", place=2, text=two.text, start=1, end=2, direction="softly")
    assert [(u.text, u.direction) for u in join([one, two], "en")] == [("I have", ""), ("not seen it.", "softly")]


def test_an_utterance_spans_15_seconds_at_most() -> None:
    rows = [(f"part {n}", n * 3.0, n * 3.0 + 3.0) for n in range(7)]
    found = join(lines(*rows, ("and so it ends.", 21, 22)), "en")
    # One line in eight ends a sentence: too few, so that each line stands for itself.
    assert len(found) == 8
    found = join(lines(*rows, ("and so it ends.", 21, 22), ("Yes.", 30, 31), ("No.", 40, 41)), "en")
    assert [(u.start, u.end) for u in found] == [(0, 15), (15, 22), (30, 31), (40, 41)]


def test_without_punctuation_every_line_is_an_utterance() -> None:
    rows = [(f"words without any end {n}", n * 2.0, n * 2.0 + 2.0) for n in range(10)]
    assert joined(*rows) == [row[0] for row in rows]


def test_scripts_without_spaces_are_glued_without_one() -> None:
    assert joined(("我们明天", 0, 1), ("去上海。", 1, 2), language="zh") == ["我们明天去上海。"]
    assert joined(("あしたは", 0, 1), ("いきます。", 1, 2), language="ja") == ["あしたはいきます。"]


def test_thai_lines_stand_for_themselves_and_join_with_a_space_where_punctuated() -> None:
    assert joined(("เราจะไป", 0, 1), ("กรุงเทพ", 1, 2), language="th") == ["เราจะไป", "กรุงเทพ"]
    assert joined(("เราจะไป", 0, 1), ("กรุงเทพ!", 1, 2), language="th") == ["เราจะไป กรุงเทพ!"]


def test_untimed_lines_stay_apart_in_their_order() -> None:
    found = join(lines(("One", None, None, "A"), ("two.", None, None, "A"), ("Three.", None, None, "B")), "en")
    assert [(u.text, u.start, u.end) for u in found] == [
        ("One", None, None),
        ("two.", None, None),
        ("Three.", None, None),
    ]


def test_turns_of_one_line_get_ids_of_their_own() -> None:
    first = Line(id="7", place=3, text="Who is it?", start=0, end=1)
    second = Line(id="7", place=3, text="Me.", start=1, end=2)
    assert [(u.id, u.lines) for u in join([first, second], "en")] == [("7", ("7",)), ("7~2", ("7",))]


def test_turns_of_one_line_are_not_joined() -> None:
    first = Line(id="7", place=3, text="Who is", start=0, end=1)
    second = Line(id="7", place=3, text="it is me.", start=1, end=2)
    assert [u.text for u in join([first, second], "en")] == ["Who is", "it is me."]


def test_no_lines_give_no_utterances() -> None:
    assert join([], "en") == []


def test_a_greek_question_and_a_french_title_are_understood() -> None:
    greek = [
        Line(id="1", place=1, start=0, end=1, text="Πού πας;"),
        Line(id="2", place=2, start=1.1, end=2, text="Εδώ."),
    ]
    assert [utterance.text for utterance in join(greek, "el")] == ["Πού πας;", "Εδώ."]
    french = [
        Line(id="1", place=1, start=0, end=1, text="Voici M."),
        Line(id="2", place=2, start=1.1, end=2, text="Dupont."),
    ]
    assert [utterance.text for utterance in join(french, "fr")] == ["Voici M. Dupont."]
