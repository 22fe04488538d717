"""SubRip. Its time lines part the file, so that damage stays within the cue that it hit."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pysrt import SubRipTime

from pipeline.readers.draft import Draft, quoted, unescape

EXPECTED = "00:00:01,000 --> 00:00:02,000"
_STAMP = r"(-?)\s*(?:(\d{1,9})\s*:\s*)?(\d{1,2})\s*:\s*(\d{1,2})(?:\s*[,.:]\s*(\d{1,3})\d{0,9})?"
_TIMES = re.compile(rf"\s*{_STAMP}\s*(?:-\s?-?\s?-?|[–—])>\s*{_STAMP}(?:\s.*)?$")
# Still recognisable as a time line: two times, or a time and an arrow.
_BROKEN = re.compile(r"\s*-?\d+\s*[:;.,]\s*\d.*?(?:-->|\d\s*[:;]\s*\d\d?\s*[,.;:]\s*\d+\D+\d+\s*[:;]\s*\d)")
_INDEX = re.compile(r"\s*(\d{1,18})\s*$")
_TAG = re.compile(r"</?(?:[biuspvc]|em|strong|font|span|ruby|r[tbp]|lang|small|big|sup|sub)\b[^<>]*>", re.I)
_BREAK = re.compile(r"<br\s*/?>", re.I)
_OVERRIDE = re.compile(r"\{\\[^{}]*\}|\{[A-Za-z]:[^{}]*\}")


@dataclass(slots=True, kw_only=True)
class Block:
    """A time line with what stands around it. Rows are indices into the rows of the file, from 0."""

    row: int  # of the time line
    first: int  # row where it begins: that of its index, if it has one
    index: str
    span: tuple[float, float] | None  # None: the time line is damaged


def read(text: str, draft: Draft) -> None:
    """A damaged cue is an error at its time line, text before the first cue is one too."""
    rows = text.split("\n")
    blocks = list(_blocks(rows, draft))
    stray = next((n for n in range(blocks[0].first if blocks else len(rows)) if rows[n].strip()), None)
    if stray is not None:
        draft.error(stray + 1, quoted(rows[stray]), EXPECTED)
    for n, block in enumerate(blocks):
        body = rows[block.row + 1 : blocks[n + 1].first if n + 1 < len(blocks) else len(rows)]
        if block.span is None:
            draft.error(block.row + 1, quoted(rows[block.row]), EXPECTED)
        else:
            draft.add(block.row + 1, [("", plain("\n".join(body)))], *block.span, id=block.index)


def span(row: str) -> tuple[float, float] | None:
    """Start and end of a time line in seconds; None where it is none. Reads those of WebVTT as well."""
    found = _TIMES.match(row)
    if found is None:
        return None
    parts = found.groups()
    return _seconds(*parts[:5]), _seconds(*parts[5:])


def plain(text: str) -> str:
    """Text of a cue without tags, overrides such as {\\an8}, and entities."""
    if "<" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    if "{" in text:
        text = _OVERRIDE.sub("", text)
    return unescape(text)


def broken(row: str) -> bool:
    """True for a row that was meant as a time line."""
    return _BROKEN.match(row[:120]) is not None


def _seconds(sign: str, hours: str | None, minutes: str, seconds: str, fraction: str | None) -> float:
    milliseconds = int((fraction or "0").ljust(3, "0"))
    time = SubRipTime(int(hours or 0), int(minutes), int(seconds), milliseconds)
    return float(-time.ordinal if sign else time.ordinal) / 1000


def _blocks(rows: list[str], draft: Draft) -> Iterator[Block]:
    last: int | None = None  # index of the block before, counted on where one is missing
    ended = -1  # row of the time line before
    for row, content in enumerate(rows):
        if not content or content.isspace():
            continue
        times = span(content) if ">" in content else None
        if times is None and not _damaged(rows, row, ended, last):
            continue
        first, number = _index(rows, row, ended, last)
        if first < row and number is None:
            draft.note(first + 1, quoted(rows[first]), "the number of a cue")
        yield Block(row=row, first=first, index=str(number) if number else "", span=times)
        if number is not None or last is not None:
            last = number if number is not None else (last or 0) + 1
        ended = row


def _damaged(rows: list[str], row: int, ended: int, last: int | None) -> bool:
    """True for a row that stands where a time line should, but is none."""
    content = rows[row]
    if broken(content):
        return True
    above = rows[row - 1] if row - 1 > ended else "."
    number = _INDEX.match(above)
    if "-->" in content:
        return number is not None or not above.strip()
    if number is None or (last is None and ended >= 0):
        return False
    # The next number of the count, alone on its row, opens a cue whatever follows it.
    return int(number[1]) == (last or 0) + 1 and (row < 2 or not rows[row - 2].strip())


def _index(rows: list[str], row: int, ended: int, last: int | None) -> tuple[int, int | None]:
    """Row and number of the index that belongs to the time line at ``row``; that row itself without one."""
    above = row - 1
    while above > ended and not rows[above].strip():
        above -= 1
    if above <= ended:
        return row, None
    parted = above - 1 <= ended or not rows[above - 1].strip()
    following = (last or 0) + 1
    if found := _INDEX.match(rows[above]):
        number = int(found[1])
        near = above == row - 1 and (parted or last is not None or ended < 0)
        if near or (number == following and (last is not None or ended < 0)):
            return above, number
    elif above == row - 1 and above - 1 > ended and parted and last is not None:
        damaged = len(rows[above].strip()) <= len(str(following)) + 1  # too short for a row of text
        return (above, None) if damaged else (row, None)
    return row, None
