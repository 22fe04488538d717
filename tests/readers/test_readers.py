"""What holds for every format: the front door, ids, times and order."""

import pytest

from pipeline.model import InputError
from pipeline.readers import FORMATS, read_script


@pytest.mark.parametrize(
    ("name", "data", "found"),
    [
        ("film.sub", b"{1}{2}hello", 'extension ".sub"'),
        ("film", b"hello", 'extension ""'),
        ("film.srt", b"", "no lines"),
        ("film.srt", b"\n\n", "no lines"),
        ("film.vtt", b"WEBVTT\n\nNOTE nothing\n", "no lines"),
        ("film.ass", b"[Events]\n", "no lines"),
        ("film.ttml", b"<tt/>", "no lines"),
        ("film.txt", b"# a comment\n", "no lines"),
        ("film.srt", bytes(range(256)) * 8, "binary data"),
        ("film.ttml", b"just words", "not XML (syntax error)"),
    ],
)
def test_nothing_can_be_made_of(name, data, found):
    with pytest.raises(InputError) as caught:
        read_script(name, data)
    assert caught.value.problem.found == found
    assert caught.value.problem.file == name


def test_unknown_extension_lists_the_known_ones():
    with pytest.raises(InputError, match=r"expected one of .*\.srt .*\.txt"):
        read_script("film.doc", b"x")


def test_file_of_damaged_cues_points_at_the_first():
    with pytest.raises(InputError) as caught:
        read_script("a.srt", b"1\n00:00:0x,000 --> 00:00:02,000\nHello\n")
    assert (caught.value.problem.line, caught.value.problem.found) == (2, "no lines")


def test_extension_in_any_case_and_script_facts():
    script = read_script("s3://bucket/Season 1/Film.SRT", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    assert (script.format, script.encoding, script.lines[0].place) == ("srt", "utf-8", 2)
    assert set(FORMATS) == {".srt", ".vtt", ".ass", ".ssa", ".ttml", ".dfxp", ".xml", ".txt"}


@pytest.mark.parametrize("id", ["a/b", "x" * 101, "a\u2028b", "..", " "])
def test_id_that_cannot_be_an_address(id, read):
    lines, _ = read("a.vtt", f"WEBVTT\n\n{id}\n00:01.000 --> 00:02.000\nHello\n")
    assert [line[0] for line in lines] == ["1"]


def test_running_numbers_avoid_ids_of_the_file(read):
    cue = "00:0{0}.000 --> 00:0{0}.500\n{0}\n\n"
    text = "WEBVTT\n\n" + cue.format(1) + "1\n" + cue.format(2) + "2\n" + cue.format(3) + "2\n" + cue.format(4)
    lines, problems = read("a.vtt", text)
    assert [line[0] for line in lines] == ["3", "1", "2", "4"]
    assert problems == [("note", 15, 'id "2" a second time')]
