"""Facts about writing systems."""

import pytest

from pipeline.text.script import CLAUSE, ELLIPSIS, TERMINATED, glue


@pytest.mark.parametrize(
    "text",
    ["Yes.", "Yes!", "Yes?", "Yes…", "是。", "是！」", "نعم؟", "हाँ।", "کیا۔", 'He said "yes."',
     "(Yes.)", "« Oui. »", "«\u202fOui…\u202f»", "Այո։", "Yes. "],
)  # fmt: skip
def test_sentences_end_in_all_scripts(text: str) -> None:
    assert TERMINATED.search(text)


@pytest.mark.parametrize("text", ["Yes", "Yes,", "Yes:", "yes -", "3.5", "example.com", "是，", ""])
def test_other_ends_are_no_sentence_ends(text: str) -> None:
    assert not TERMINATED.search(text)


def test_an_ellipsis_has_two_spellings() -> None:
    assert ELLIPSIS.search("Well…")
    assert ELLIPSIS.search("Well...")
    assert ELLIPSIS.search('"Well..."')
    assert not ELLIPSIS.search("Well.")


def test_clauses_end_at_commas_and_dashes_not_within_numbers() -> None:
    assert [m.group() for m in CLAUSE.finditer("one, two; three: four — five")] == [", ", "; ", ": ", " — "]
    assert [m.group() for m in CLAUSE.finditer("一，二、三")] == ["，", "、"]
    assert not CLAUSE.search("3,000,000 at 12:30 in half-light")


@pytest.mark.parametrize(
    ("left", "right", "whole"),
    [
        ("one", "two", "one two"),
        ("one", "", "one"),
        ("", "two", "two"),
        ("明天", "见", "明天见"),
        ("かな", "カナ", "かなカナ"),
        ("明天", "OK", "明天 OK"),
        ("один", "два", "один два"),
        ("한국", "어", "한국 어"),
        ("ไป", "กรุงเทพ", "ไป กรุงเทพ"),
        ("ໄປ", "ວຽງຈັນ", "ໄປ ວຽງຈັນ"),
        ("သွား", "မည်", "သွား မည်"),
    ],
)
def test_rows_are_glued_as_their_script_does(left: str, right: str, whole: str) -> None:
    assert glue(left, right) == whole
