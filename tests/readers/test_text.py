import pytest

from pipeline.readers import read_script


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("ANNA: Hello: you", ("ANNA", "", "Hello: you")),
        ("Old Man 2:\tHi", ("Old Man 2", "", "Hi")),
        ("ANNA (softly, to Bob): Hi", ("ANNA", "softly, to Bob", "Hi")),
        ("安娜：你好", ("安娜", "", "你好")),
        ("小明（轻声）：你好", ("小明", "轻声", "你好")),
        ("Mrs. O'Hara-Smith: Tea?", ("Mrs. O'Hara-Smith", "", "Tea?")),
        ("Éric: Salut", ("Éric", "", "Salut")),
        ("hello: you", ("", "", "hello: you")),
        ("It is 12:30 now", ("", "", "It is 12:30 now")),
        ("12:30 now", ("", "", "12:30 now")),
        ("http://example.com: a site", ("", "", "http://example.com: a site")),
        ("One two three four five: no", ("", "", "One two three four five: no")),
        ("Well, Bob: no", ("", "", "Well, Bob: no")),
        ("Stop! Now: no", ("", "", "Stop! Now: no")),
        ("A" * 41 + ": no", ("", "", "A" * 41 + ": no")),
        ("Only words", ("", "", "Only words")),
    ],
)
def test_rows(row, line):
    (found,) = read_script("a.txt", row.encode()).lines
    assert (found.speaker, found.direction, found.text) == line
    assert (found.start, found.end, found.place, found.id) == (None, None, 1, "1")


def test_comments_blanks_and_names_alone(spoken):
    text = "# cast: two\n\nANNA:\nOne\ntwo\n\nthree\nBOB: four\nfive\nEVE:\n\nsix\n"
    assert spoken("a.txt", text) == [
        ("1", "ANNA", "One"),
        ("2", "ANNA", "two"),
        ("3", "", "three"),
        ("4", "BOB", "four"),
        ("5", "", "five"),
        ("6", "", "six"),
    ]
