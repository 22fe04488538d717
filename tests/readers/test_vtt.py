HEAD = "WEBVTT - a title\nKind: captions\n\n"


def test_blocks_settings_and_both_clocks(read):
    text = (
        HEAD
        + "NOTE one\nrow\n\nSTYLE\n::cue(b) { color: red }\n\nREGION\nid:fred\n\n"
        + "intro\n00:01.500 --> 00:02.000 align:start line:0\nOne\nrow\n\n"
        + "NOTE\nbetween\n\n01:00:00.000 --> 01:00:01.000\nTwo\n"
    )
    assert read("a.vtt", text) == ([("intro", 1.5, 2.0, "One\nrow"), ("1", 3600.0, 3601.0, "Two")], [])


def test_voices_share_the_cue(read, spoken):
    text = HEAD + "7\n00:01.000 --> 00:05.000\n<v.loud Anna Lee>12345</v>\n<v Bob>123 <v>"
    assert spoken("a.vtt", text) == [("7", "Anna Lee", "12345"), ("7.2", "Bob", "123")]
    assert read("a.vtt", text)[0] == [("7", 1.0, 3.5, "12345"), ("7.2", 3.5, 5.0, "123")]


def test_part_of_a_cue_never_takes_the_id_of_another(spoken):
    text = HEAD + "7\n00:01.000 --> 00:05.000\n<v A>x</v><v B>y\n\n7.2\n00:06.000 --> 00:07.000\nz\n"
    assert spoken("a.vtt", text) == [("7", "A", "x"), ("1", "B", "y"), ("7.2", "", "z")]


def test_text_outside_the_voice_and_entities_in_its_name(spoken):
    text = HEAD + "00:01.000 --> 00:05.000\nfirst <v Tom &amp; Al>both</v>"
    assert spoken("a.vtt", text) == [("1", "", "first"), ("1.2", "Tom & Al", "both")]


def test_tags(read):
    body = (
        "<c.yellow.bg>Hi</c> <00:00:01.500><lang en-GB>there</lang> "
        "<ruby>漢<rt>kan</rt>字<rt>ji</ruby> &lt;3 <3 {\\an8}x"
    )
    assert read("a.vtt", f"{HEAD}00:01.000 --> 00:02.000\n{body}\n")[0][0][3] == "Hi there 漢字 <3 <3 x"


def test_damage(read):
    text = (
        "WEBVT\n\n"
        "1\n00:01.000 --> 00:02.000\nOne\n\n"
        "stray words\n\n"
        "2\n00:03.0x0 --> 00:04.000\nTwo\n\n"
        "3\n00:05.000 --> 00:06.000\nThree\n4\n00:07.000 --> 00:08.000\nFour\n\n"
        "NOTE\n00:09.000 --> 00:10.000\nFive\n"
    )
    assert read("a.vtt", text) == (
        [
            ("1", 1.0, 2.0, "One"),
            ("3", 5.0, 6.0, "Three"),
            ("4", 7.0, 8.0, "Four"),
            ("2", 9.0, 10.0, "Five"),  # as players do: a time line ends a note
        ],
        [("note", 1, '"WEBVT"'), ("error", 7, '"stray words"'), ("error", 10, '"00:03.0x0 --> 00:04.000"')],
    )


def test_segments_one_after_the_other(read):
    part = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:0{0}.000 --> 00:0{0}.500\n{0}\n\n"
    assert [line[3] for line in read("a.vtt", part.format(1) + part.format(2))[0]] == ["1", "2"]
    assert read("a.vtt", part.format(1) + part.format(2))[1] == []
