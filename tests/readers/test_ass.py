import pytest

HEAD = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""
ROW = "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Anna,0,0,0,,"


def test_events(read, spoken):
    text = HEAD + ROW + "{\\an8\\i1}Hi, you{\\i0}\\Nthere\\nand\\hhere\nComment: 0,0:00:01.00,0:00:02.00,,,0,0,0,,no\n"
    assert read("a.ass", text) == ([("1", 1.0, 2.5, "Hi, you\nthere\nand here")], [])
    assert spoken("a.ass", text)[0][1] == "Anna"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{\\p1}m 0 0 l 9 9{\\p0}", None),
        ("{\\p1}m 0 0 l 9 9{\\p0}words", "words"),
        ("{\\pos(1,2)\\pbo3}words", "words"),
        ("{a remark}words", "words"),
        ("{open words", "{open words"),
        ("a,b,,c", "a,b,,c"),
    ],
)
def test_text(text, shown, read):
    lines, problems = read("a.ass", HEAD + ROW + text + "\n" + ROW + "last\n")
    assert [line[3] for line in lines] == ([shown, "last"] if shown else ["last"])
    assert problems == []


def test_ssa_and_order_of_fields(spoken):
    text = (
        "[Events]\nFormat: Marked, Start, End, Style, Actor, MarginL, MarginR, MarginV, Effect, Text\n"
        "Dialogue: Marked=0,0:00:01.00,0:00:02.00,Default,Bob,0000,0000,0000,!Effect,One\n"
        "Dialogue: Marked=0,0:00:03.00,0:00:04.00,Default,NTP,0000,0000,0000,!Effect,Two\n"
        "Format: Start, End, Name, Text\nDialogue: 0:00:05.00,0:00:06.00,Eve,Three, four\n"
    )
    assert spoken("a.ssa", text) == [("1", "Bob", "One"), ("2", "", "Two"), ("3", "Eve", "Three, four")]


def test_damage(read):
    text = (
        HEAD.replace("[Events]", "[Event").replace("Layer, ", "Layer, Lyer, ")
        + ROW.replace("01.00", "0x.00")
        + "lost\n"
        + ROW.replace("Dialogue", "Dialog")
        + "lost\n"
        + "Dialogue: 0,0:00:01.00\n"
        + ROW.replace("0:00:01", "-0:00:01")
        + "kept\n"
    )
    lines, problems = read("a.ass", text)
    assert lines == [("1", 0.0, 2.5, "kept")]
    assert [problem[:2] for problem in problems] == [
        ("error", 10),
        ("error", 11),
        ("error", 12),
        ("note", 13),
    ]


def test_damaged_format_row(read):
    lines, problems = read("a.ass", HEAD.replace("Layer, Start", "Layer, Strt") + ROW + "kept\n")
    assert lines == [("1", 1.0, 2.5, "kept")]
    assert [problem[:2] for problem in problems] == [("note", 9)]
