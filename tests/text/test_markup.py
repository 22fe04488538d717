"""What of a line is spoken, and by whom."""

import pytest

from pipeline.text.markup import Turn, speakable, turns


def said(text: str, **options: object) -> list[str]:
    return [turn.text for turn in turns(text, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Just words.", ["Just words."]),
        ("Two rows\nof one sentence.", ["Two rows of one sentence."]),
        ("- Who is it?\n- Me.", ["Who is it?", "Me."]),
        ("– Who is it?\n— Me.", ["Who is it?", "Me."]),
        ("-Who is it?\n-Me.", ["Who is it?", "Me."]),
        ("Who is it?\n- Me.", ["Who is it?", "Me."]),
        ("- Who is\nout there?\n- Only\nme.", ["Who is out there?", "Only me."]),
        ("- A dash alone.", ["A dash alone."]),
        ("A well-known half-truth - so to speak.", ["A well-known half-truth - so to speak."]),
        ("谁在那里？\n是我。", ["谁在那里？是我。"]),
    ],
)
def test_dashes_part_turns_and_rows_do_not(text: str, expected: list[str]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[door slams]", []),
        ("[door slams] Me.", ["Me."]),
        ("It was [sighs] me.", ["It was me."]),
        ("[a door that\nslams] Me.", ["Me."]),
        ("【关门声】是我。", ["是我。"]),
        ("(softly) Come in.", ["Come in."]),
        ("- (softly) Come in.\n- (laughs)", ["Come in."]),
        ("（轻声）请进。", ["请进。"]),
        ("(A LONG\nSILENCE)", []),
        ("(SILENCE).", []),
        ("Come in (and sit down) now.", ["Come in (and sit down) now."]),
        ("♪ la la la ♪", []),
        ("♪ la la\nla la", []),
        ("♪ la la ♪ Hello.", ["Hello."]),
        ("♫ la la ♬\nHello.", ["Hello."]),
        ("♪♪", []),
        ("...", []),
        ("?!", []),
        ("", []),
        ("  \n ", []),
    ],
)
def test_descriptions_and_music_are_left_out(text: str, expected: list[str]) -> None:
    assert said(text) == expected


def test_descriptions_are_spoken_where_they_are_wanted() -> None:
    assert said("[door slams] Me.", descriptions=True) == ["door slams Me."]
    assert said("(softly) Come in.", descriptions=True) == ["softly Come in."]
    assert said("♪ la la ♪", descriptions=True) == ["la la"]


def test_a_name_of_the_cast_is_a_speaker_and_any_other_is_spoken() -> None:
    names = {"ANNA", "OLD MAN"}
    assert turns("ANNA: Come in.", names=names) == [Turn("Come in.", "ANNA")]
    assert turns("Old Man: Come in.", names=names) == [Turn("Come in.", "OLD MAN")]
    assert turns("ANNA：请进。", names=names) == [Turn("请进。", "ANNA")]
    assert turns("BOB: Come in.", names=names) == [Turn("BOB: Come in.")]
    assert turns("One thing: come in.", names=names) == [Turn("One thing: come in.")]
    assert turns("ANNA: Come in.") == [Turn("ANNA: Come in.")]
    assert turns("At 12:30 then.", names=names) == [Turn("At 12:30 then.")]


def test_names_part_turns_with_and_without_dashes() -> None:
    names = {"ANNA", "BOB"}
    expected = [Turn("Who is it?", "ANNA"), Turn("Me.", "BOB")]
    assert turns("ANNA: Who is\nit?\nBOB: Me.", names=names) == expected
    assert turns("- ANNA: Who is it?\n- BOB: Me.", names=names) == expected
    assert turns("- ANNA: Who is it?\n- Me.", names=names) == [expected[0], Turn("Me.")]


def test_a_name_without_words_gives_no_turn() -> None:
    assert turns("ANNA: [sighs]", names={"ANNA"}) == []
    assert turns("ANNA: ...\nBOB: Me.", names={"ANNA", "BOB"}) == [Turn("Me.", "BOB")]


@pytest.mark.parametrize("text", ["a", "7", "ж", "你", "ก", "ह", "ع"])
def test_letters_and_digits_of_any_script_are_speakable(text: str) -> None:
    assert speakable(f"… {text} !")


@pytest.mark.parametrize("text", ["", " ", "...", "—", "♪", "?!", "。"])
def test_punctuation_alone_is_not_speakable(text: str) -> None:
    assert not speakable(text)


def test_a_minus_before_a_number_is_no_dash() -> None:
    assert [turn.text for turn in turns("-5 degrees tonight.")] == ["-5 degrees tonight."]


def test_a_caption_that_names_the_speaker_is_not_spoken() -> None:
    assert [turn.text for turn in turns("[Bob]: Hi.")] == ["Hi."]
    assert turns("JOHN (V.O.): Hi.", names={"JOHN"}) == [Turn("Hi.", "JOHN")]


def test_an_unclosed_note_ends_at_the_next_turn() -> None:
    assert [turn.text for turn in turns("♪ Sing\n- Hello!")] == ["Hello!"]
    assert turns("♪ Sing along\nwith me") == []
