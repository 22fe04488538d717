"""WebVTT: paragraphs between blank lines, parted again at every time line as its parser does."""

import re
from collections.abc import Iterator

from pipeline.readers import srt
from pipeline.readers.draft import Draft, quoted, unescape

EXPECTED = "00:00:01.000 --> 00:00:02.000"
_ASIDE = re.compile(r"(?:WEBVTT|NOTE)(?:\s|$)|(?:STYLE|REGION)\s*$")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?(?:\s+([^<>]*))?>|</v\s*>")
_RUBY = re.compile(r"<rt\b[^<>]*>[^<]*(?:</rt>)?")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>|</?>")


def read(text: str, draft: Draft) -> None:
    """Read a WebVTT file. Notes, styles and regions are skipped; other text outside cues is an error."""
    rows = text.split("\n")
    if not re.match(r"WEBVTT(?:\s|$)", rows[0]):
        draft.note(1, quoted(rows[0]), "WEBVTT")
    for first, end in _paragraphs(rows):
        aside = _ASIDE.match(rows[first]) is not None or (first == 0 and "-->" not in rows[0])
        cuts = [row for row in range(first, end) if _is_time(rows[row], aside)]
        if cuts:
            _cues(rows, first, cuts, end, aside, draft)
        elif not aside:
            draft.error(first + 1, quoted(rows[first]), EXPECTED)


def voices(body: str) -> list[tuple[str, str]]:
    """(speaker, text) for each voice span of a cue; "" speaks what stands outside them."""
    if "<v" not in body:
        return [("", _plain(body))]
    spoken: list[tuple[str, str]] = []
    speaker, done = "", 0
    for mark in _VOICE.finditer(body):
        spoken.append((speaker, _plain(body[done : mark.start()])))
        speaker, done = unescape(mark[1] or ""), mark.end()
    return [*spoken, (speaker, _plain(body[done:]))]


def _plain(text: str) -> str:
    if "<" in text:
        text = _TAG.sub("", _RUBY.sub("", text))
    return srt.plain(text)


def _paragraphs(rows: list[str]) -> Iterator[tuple[int, int]]:
    first: int | None = None
    for row, content in enumerate([*rows, ""]):
        if content and not content.isspace():
            first = row if first is None else first
        elif first is not None:
            yield first, row
            first = None


def _is_time(row: str, aside: bool) -> bool:
    """True for a time line, sound or damaged; in a note or a style only for a sound one."""
    if ">" in row and srt.span(row):
        return True
    return not aside and ("-->" in row or srt.broken(row))


def _cues(rows: list[str], first: int, cuts: list[int], end: int, aside: bool, draft: Draft) -> None:
    """Add the cues of one paragraph: its time lines stand at ``cuts``; blank lines may be missing between."""
    id = "" if aside or cuts[0] == first else rows[cuts[0] - 1].strip()
    if not aside and cuts[0] - first > 1:
        draft.error(first + 1, quoted(rows[first]), EXPECTED)
    for cut, after in zip(cuts, [*cuts[1:], end], strict=True):
        # Only a number between two numbered cues is an id here: anything else may be text.
        numbered = after < end and id.isdecimal() and rows[after - 1].strip().isdecimal() and after - cut > 1
        body = "\n".join(rows[cut + 1 : after - 1 if numbered else after])
        if span := srt.span(rows[cut]):
            draft.add(cut + 1, voices(body), *span, id=id)
        else:
            draft.error(cut + 1, quoted(rows[cut]), EXPECTED)
        id = rows[after - 1].strip() if numbered else ""
