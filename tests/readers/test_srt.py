import pytest

from pipeline.readers import read_script
from pipeline.readers.srt import plain, span

GOOD = "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n{}\n3\n00:00:05,000 --> 00:00:06,000\nThree\n"
ONE, THREE = ("1", 1.0, 2.0, "One"), ("3", 5.0, 6.0, "Three")


@pytest.mark.parametrize(
    ("row", "times"),
    [
        ("00:00:01,000 --> 00:00:02,500", (1.0, 2.5)),
        ("00:00:01.000-->00:00:02.500", (1.0, 2.5)),
        ("  00:00:01,000  -->\t00:00:02,500  ", (1.0, 2.5)),
        ("00:00:01,000 -> 00:00:02,500", (1.0, 2.5)),
        ("0:00:01,5 --> 0:00:02", (1.5, 2.0)),
        ("01:02,500 --> 01:03,000", (62.5, 63.0)),
        ("00:00: 1,000 --> 00:00: 2,000", (1.0, 2.0)),
        ("00:00:01:500 --> 00:00:02:000", (1.5, 2.0)),
        ("-00:00:01,000 --> 00:00:02,000", (-1.0, 2.0)),
        ("00:00:01,000 --> 00:00:02,500 X1:63 X2:223 Y1:43 Y2:58", (1.0, 2.5)),
        ("99:59:59,999 --> 100:00:00,000", (359999.999, 360000.0)),
        ("00:00:01,000 --> 00:00:02,5x0", None),
        ("00:00:0l,000 --> 00:00:02,500", None),
        ("00:00:01,000 00:00:02,500", None),
        ("a --> b", None),
        ("9" * 5000 + ":00:01,000 --> 00:00:02,500", None),
    ],
)
def test_time_lines(row, times):
    assert span(row) == times


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('<i>Tom</i> <FONT color="#fff">&amp;</font> <b>J</b>', "Tom & J"),
        ("{\\an8}Up {\\i1}there{\\i0}{y:i}", "Up there"),
        ("a&nbsp;b &lt;i&gt; &#233; &unknown; AT&T", "a b <i> é &unknown; AT&T"),
        ("2 < 3 > 1 <3 {sic}", "2 < 3 > 1 <3 {sic}"),
        ("one<br />two", "one\ntwo"),
    ],
)
def test_markup(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("block", "lines", "problems"),
    [
        ("2\n00:00:03,000 --> 00:00:04,000\nTwo\n", [("2", 3.0, 4.0, "Two")], []),
        # an index that is missing, repeated, damaged, padded, zero
        ("00:00:03,000 --> 00:00:04,000\nTwo\n", [("2", 3.0, 4.0, "Two")], []),
        (
            "1\n00:00:03,000 --> 00:00:04,000\nTwo\n",
            [("2", 3.0, 4.0, "Two")],
            [("note", 6, 'id "1" a second time')],
        ),
        ("2x\n00:00:03,000 --> 00:00:04,000\nTwo\n", [("2", 3.0, 4.0, "Two")], [("note", 5, '"2x"')]),
        ("002\n\n00:00:03,000 --> 00:00:04,000\nTwo\n", [("2", 3.0, 4.0, "Two")], []),
        ("0\n00:00:03,000 --> 00:00:04,000\nTwo\n", [("2", 3.0, 4.0, "Two")], []),
        # blank lines: none before the next cue, and within the text
        ("2\n00:00:03,000 --> 00:00:04,000\nTwo", [("2", 3.0, 4.0, "Two")], []),
        ("2\n00:00:03,000 --> 00:00:04,000\nTwo\n\n\nmore\n", [("2", 3.0, 4.0, "Two\nmore")], []),
        ("2\n00:00:03,000 --> 00:00:04,000\n\nTwo\n", [("2", 3.0, 4.0, "Two")], []),
        ("2\n00:00:03,000 --> 00:00:04,000\n1984\n", [("2", 3.0, 4.0, "1984")], []),
        ("2\n00:00:03,000 --> 00:00:04,000\nIn\n\n1984\nand on\n", [("2", 3.0, 4.0, "In\n1984\nand on")], []),
        ("2\n00:00:03,000 --> 00:00:04,000\na --> b\n", [("2", 3.0, 4.0, "a --> b")], []),
        # no text
        ("2\n00:00:03,000 --> 00:00:04,000\n\n", [], []),
        ("2\n00:00:03,000 --> 00:00:04,000\n<i></i>\n\n", [], []),
        # times that cannot be
        (
            "2\n00:00:04,000 --> 00:00:03,000\nTwo\n",
            [("2", 4.0, 4.0, "Two")],
            [("note", 6, "a duration of -1.000 s")],
        ),
        (
            "2\n00:00:04,000 --> 00:00:04,000\nTwo\n",
            [("2", 4.0, 4.0, "Two")],
            [("note", 6, "a duration of 0.000 s")],
        ),
        ("2\n00:00:03,000 --> 120:00:04,000\nTwo\n", [], [("error", 6, "a time of 120 hours")]),
        # damage that costs the cue
        ("2\n00:00:0x,000 --> 00:00:04,000\nTwo\n", [], [("error", 6, '"00:00:0x,000 --> 00:00:04,000"')]),
        ("2\n00:00:03,000 == 00:00:04,000\nTwo\n", [], [("error", 6, '"00:00:03,000 == 00:00:04,000"')]),
        ("2\n%%%\nTwo\n\nmore\n", [], [("error", 6, '"%%%"')]),
        ("2\nx --> y\nTwo\n", [], [("error", 6, '"x --> y"')]),
        (
            "2\n00:00:03,000 --> " + "y" * 99 + "\nTwo\n",
            [],
            [("error", 6, '"00:00:03,000 --> ' + "y" * 62 + '…"')],
        ),
    ],
)
def test_block_between_sound_ones(block, lines, problems, read):
    assert read("a.srt", GOOD.format(block)) == ([ONE, *lines, THREE], problems)


def test_damaged_time_line_says_what_was_expected():
    script = read_script("a.srt", GOOD.format("2\n00:00:03 -> x\nTwo\n").encode())
    assert str(script.problems[0]) == 'a.srt:6: found "00:00:03 -> x", expected 00:00:01,000 --> 00:00:02,000'


def test_negative_start(read):
    lines, problems = read("a.srt", "1\n-00:00:01,000 --> 00:00:02,000\nOne\n")
    assert lines == [("1", 0.0, 2.0, "One")]
    assert problems == [("note", 2, "a start of -1.000 s")]


def test_unsorted_is_noted_once_and_overlap_is_not(read):
    cue = "{}\n00:00:0{},000 --> 00:00:09,000\n{}\n\n"
    text = "".join(cue.format(n, start, n) for n, start in enumerate((5, 3, 4, 3), 1))
    lines, problems = read("a.srt", text)
    assert [line[0] for line in lines] == ["2", "4", "3", "1"]
    assert problems == [("note", 6, "a line that starts before the one above it")]


def test_text_before_the_first_cue(read):
    lines, problems = read("a.srt", "\ufeffSubtitles by me\n\n1\n00:00:01,000 --> 00:00:02,000\nOne\n")
    assert lines == [ONE]
    assert problems == [("error", 1, '"Subtitles by me"')]


def test_without_indices_and_with_carriage_returns(read):
    cue = "00:0{},000 --> 00:0{},000\r\n{}\r\n\r\n"
    text = cue.format(1, 2, "One") + cue.format(3, 4, "1984") + cue.format(5, 6, "Three")
    assert read("a.srt", text) == ([ONE, ("2", 3.0, 4.0, "1984"), THREE], [])


def test_numbering_that_begins_again(read):
    lines, problems = read("a.srt", GOOD.format("") + "\n" + GOOD.format("").replace("00:00:0", "00:01:0"))
    assert [line[0] for line in lines] == ["1", "3", "2", "4"]
    assert problems == [("note", 11, 'id "1" a second time (and 1 more)')]
