"""Tables show what people wrote into files as it is."""

from pathlib import Path

from commands import dub
from conftest import MakeJob, srt

from pipeline.report.tables import about, visible


def test_brackets_in_a_name_are_no_markup(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job({"Film [uncut]": {"en.srt": srt("Hello.")}, "[b]:smile:": {"en.srt": srt("Hello.")}})
    told = dub("plan", str(job))
    assert "Film [uncut]" in told
    assert "[b]:smile:" in told
    file = tmp_path / "[red].yaml"
    file.write_text("voices: {'[/b]': {clip: '[i]a.wav', language: '[/]'}}")
    told = "".join(dub("voices", "list", str(file)).split())  # a narrow table breaks lines
    for shown in ("[red].yaml", "[/b]", "[/]", "[i]a.wav"):
        assert shown in told


def test_what_moves_the_cursor_is_shown() -> None:
    assert visible("a\x1b[2K\r\u009bb\nc\ud800") == "a\\x1b[2K\\x0d\\x9bb\nc\\ud800"
    assert visible(5) == "5"


def test_facts_of_any_form_are_shown() -> None:
    assert about({"refused": [{"title": "a", "language": "fr", "found": "x"}]}) == "refused 1\n  a/fr: x"
    assert about({"refused": [{}, 5, {"title": "a"}]}) == "refused 3\n  {}\n  5\n  {'title': 'a'}"
    assert about({"refused": 5, "tracks": None}) == "refused 5\ntracks None"
