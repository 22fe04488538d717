"""What of a line is spoken: descriptions and music are left out, dialogue dashes part turns."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from pipeline.text.script import glue

_MARKED = re.compile(r"[\[\]()（）【】♪♫♬\n:：–—-]|\s\s|^\s|\s$")
_BRACKETED = re.compile(r"\[[^\[\]]*\]|【[^【】]*】")
_NAMED = re.compile(r"(?m)^(\s*[-–—]?\s*)\[[^\[\]\n]*\]\s*[:：]")  # [MAN]: as captions name who speaks
_LEADING = re.compile(r"^(\s*[-–—]?\s*)(?:\([^()]*\)|（[^（）]*）)")
_WHOLE = re.compile(r"\s*[-–—]?\s*(?:\([^()]*\)|（[^（）]*）)\s*[.!?…]?\s*")
_MUSIC = re.compile(r"[♪♫♬]+[^♪♫♬]*?(?:[♪♫♬]+|(?=\n\s*[-–—])|$)")  # unclosed: up to the next turn
_DASH = re.compile(r"^\s*[-–—‐](?:\s+(?=\S)|(?=[^\s\d]))")  # but -5 is a number
_NAME = re.compile(r"^\s*([^:：\n()（）]{1,40}?)\s*(?:[(（][^)）\n]*[)）])?\s*[:：]\s*")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of a line that one person speaks. `speaker` is set where the text itself names one."""

    text: str
    speaker: str | None = None


def turns(text: str, *, names: Collection[str] = (), descriptions: bool = False) -> list[Turn]:
    """The turns that are spoken in a line; none where it holds only descriptions, music or punctuation.

    `[door slams]`, a leading `(softly)` and anything between ♪ are descriptions. Two dashes at line starts are
    two turns. `NAME: text` names the speaker where NAME is one of `names` (upper case), and is spoken otherwise.

    >>> [turn.text for turn in turns("- Who is it?\\n- [door slams] Me.")]
    ['Who is it?', 'Me.']
    """
    if not _MARKED.search(text):
        return [Turn(text)] if speakable(text) else []
    text = _described(text) if descriptions else _bare(text)
    rows = [row for row in text.split("\n") if row.strip()]
    dashed = sum(1 for row in rows if _DASH.match(row))
    turn_rows: list[list[str]] = []
    for row in rows:
        # One dash alone may open a line of dialogue or part the second speaker from the first.
        starts = bool(_DASH.match(row)) and (dashed > 1 or not turn_rows or len(rows) > 1)
        starts = starts or _speaker(row, names) is not None
        row = _DASH.sub("", row, count=1) if starts or dashed == 1 else row
        if starts or not turn_rows:
            turn_rows.append([row])
        else:
            turn_rows[-1].append(row)
    found = [_turn(rows, names) for rows in turn_rows]
    return [turn for turn in found if speakable(turn.text)]


def speakable(text: str) -> bool:
    """Whether there is anything in it to say: a letter or a digit of any script."""
    return any(char.isalnum() for char in text)


def _bare(text: str) -> str:
    text = _MUSIC.sub(" ", text)
    text = _BRACKETED.sub(" ", _NAMED.sub(r"\1", text))
    rows = (row if not _WHOLE.fullmatch(row) else "" for row in text.split("\n"))
    text = "\n".join(_LEADING.sub(r"\1", row) for row in rows)
    return "" if _WHOLE.fullmatch(text) else text  # a description that runs over two rows


def _described(text: str) -> str:
    return re.sub(r"[\[\]()（）【】♪♫♬]", " ", text)


def _speaker(row: str, names: Collection[str]) -> str | None:
    match = _NAME.match(_DASH.sub("", row, count=1)) if names else None
    name = match.group(1).strip().upper() if match else ""
    return name if name in names else None


def _turn(rows: list[str], names: Collection[str]) -> Turn:
    speaker = _speaker(rows[0], names)
    if speaker is not None:
        rows = [_NAME.sub("", rows[0], count=1), *rows[1:]]
    text = ""
    for row in rows:
        text = glue(text, _SPACES.sub(" ", row).strip())
    return Turn(text, speaker)
