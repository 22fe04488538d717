import pytest

from pipeline.model import InputError
from pipeline.readers import read_script

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<tt xmlns="http://www.w3.org/ns/ttml" {}>\n<body>\n'
TAIL = "</body>\n</tt>\n"


def doc(body, attributes=""):
    return HEAD.format(attributes) + body + TAIL


@pytest.mark.parametrize(
    ("times", "start", "end"),
    [
        ('begin="00:00:01.500" end="00:00:02"', 1.5, 2.0),
        ('begin="00:00:01:12" end="00:01:02:00"', 1.5, 62.0),
        ('begin="10s" dur="500ms"', 10.0, 10.5),
        ('begin="12.5s" end="0.5m"', 12.5, 30.0),
        ('begin="36f" end="0.001h"', 1.5, 3.6),
        ('begin="15000000t" end="20000000t"', 1.5, 2.0),
        ('begin="1s" end="9s" dur="2s"', 1.0, 3.0),
        ('begin="00:00:01,500" end="00:00:02,000"', 1.5, 2.0),
        ('end="2s"', 0.0, 2.0),
    ],
)
def test_times(times, start, end, read):
    rates = 'ttp:frameRate="24" ttp:tickRate="10000000"'
    assert read("a.ttml", doc(f"<p {times}>x</p>", rates)) == ([("1", start, pytest.approx(end), "x")], [])


def test_frame_rate_multiplier(read):
    rates = 'ttp:frameRate="24" ttp:frameRateMultiplier="1000 1001"'
    assert read("a.ttml", doc('<p begin="24f" end="2s">x</p>', rates))[0][0][1] == pytest.approx(1.001)


def test_nested_times(read):
    body = (
        '<div begin="10s" end="60s"><div begin="5s"><p begin="1s" end="2s">a</p>'
        '<p begin="3s">b</p></div></div>'
        '<div begin="100s" timeContainer="seq"><p dur="2s">c</p><p begin="1s" dur="2s">d</p></div>'
        '<div><p><span begin="201s" end="202s">e</span> <span begin="203s" end="204s">f</span></p></div>'
    )
    assert [line[1:] for line in read("a.xml", doc(body))[0]] == [
        (16.0, 17.0, "a"),
        (18.0, 60.0, "b"),
        (100.0, 102.0, "c"),
        (103.0, 105.0, "d"),
        (201.0, 204.0, "e f"),
    ]


def test_text_and_ids(read):
    body = """<p xml:id="first" begin="1s" end="2s">
      One <span tts:fontStyle="italic">two</span><br/>
      three &amp; four &nbsp;&eacute; Q&A <metadata><ttm:desc>no</ttm:desc></metadata>
      <span tts:ruby="container"><span tts:ruby="base">漢</span><span tts:ruby="text">kan</span></span>
    </p><p begin="3s" end="4s"> </p>"""
    assert read("a.dfxp", doc(body))[0] == [("first", 1.0, 2.0, "One two\nthree & four é Q&A 漢")]


def test_agents(spoken):
    head = (
        '<head><metadata><ttm:agent xml:id="a" type="person"><ttm:name type="full">Anna Lee</ttm:name>'
        '<ttm:name type="alias">Al</ttm:name></ttm:agent></metadata></head>'
    )
    body = (
        '<div ttm:agent="a"><p begin="1s" end="2s">One</p><p begin="3s" end="4s" ttm:agent="b">Two</p>'
        '<p xml:id="x" begin="5s" end="6s">Three <span ttm:agent="b">four</span></p></div>'
    )
    assert spoken("a.ttml", doc(body).replace("<body>", head + "<body>")) == [
        ("1", "Anna Lee", "One"),
        ("2", "b", "Two"),
        ("x", "Anna Lee", "Three"),
        ("x.2", "b", "four"),
    ]


BOMB = """<?xml version="1.0"?>
<!DOCTYPE tt [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>
<tt><p begin="1s" end="2s">&b;</p></tt>
"""


def test_document_type_is_refused():
    with pytest.raises(InputError) as caught:
        read_script("a.ttml", BOMB.encode())
    assert (caught.value.problem.line, caught.value.problem.found) == (2, "a document type declaration")


ROWS = [f'<p begin="{n}s" end="{n}.5s">text {n}</p>\n' for n in range(1, 6)]


@pytest.mark.parametrize(
    ("damage", "lost", "line"),
    [
        (("text 3", "te<xt 3"), {3}, 7),
        (("text 3</p>", "text 3"), set(), 10),
        (("text 3</p>", "text 3</q>"), {3}, 7),
        (('begin="3s"', 'begin="3s'), {3}, 7),
        (('end="3.5s">', 'end="3.5s>'), {3}, 7),
        (('<p begin="3s"', '<p begin="3s" begin="3s"'), {3}, 7),
        (("text 3", "<!-- text 3"), {3}, 7),
        (("text 3", "&#1; 3"), {3}, 7),
        (("</div>", "</dv>"), set(), 10),
    ],
)
def test_damage_in_the_middle(damage, lost, line, read):
    text = doc('<div begin="10s">\n' + "".join(ROWS) + '</div><div><p begin="99s" end="100s">end</p></div>')
    lines, problems = read("a.ttml", text.replace(*damage, 1))
    assert [row[1:] for row in lines] == [
        *((10.0 + n, 10.5 + n, f"text {n}") for n in range(1, 6) if n not in lost),
        (99.0, 100.0, "end"),
    ]
    assert {problem[:2] for problem in problems} == {("error", line)}


def test_commented_lines_stay_silent_after_damage(read):
    text = doc(ROWS[0] + "<p oops</p>" + "<!--\n" + ROWS[1] + "-->" + ROWS[2] + "<p begin='x'>lost</p>" + ROWS[3])
    lines, problems = read("a.ttml", text)
    assert [row[3] for row in lines] == ["text 1", "text 3", "text 4"]
    assert [problem[:2] for problem in problems] == [("error", 5), ("error", 8)]


def test_damaged_times(read):
    body = "<p>untimed</p>\n<p begin='1x' end='2s'>wrong</p>\n<div begin='?'>\n<p begin='1s'>kept</p>\n</div>"
    lines, problems = read("a.ttml", doc(body))
    assert lines == [("1", 1.0, 1.0, "kept")]
    assert problems == [
        ("error", 4, "a <p> without times"),
        ("error", 5, '"begin="1x" end="2s""'),
        ("error", 6, '"begin="?""'),
        ("note", 7, "a duration of 0.000 s"),
    ]
