"""Plain dialogue: ``NAME: text`` or ``NAME (direction): text`` to a row, without times."""

import re
import unicodedata

from pipeline.readers.draft import Draft

_PREFIX = re.compile(r"([^:：()（）]{1,60}?)\s*(?:[(（]([^()（）]*)[)）]\s*)?(?::(?=\s|$)|：)\s*(.*)")
_TITLE = re.compile(r"\b(?:mr|mrs|ms|dr|st|jr|sr|prof)\.", re.I)
_SENTENCE = re.compile(r"[.!?,;…。！？，；、؟؛،।]")


def read(text: str, draft: Draft) -> None:
    """Read a dialogue script. Blank rows part, rows that begin with ``#`` are comments.

    A name alone on its row speaks the unnamed rows below it, up to a blank row; other unnamed rows have
    no speaker.
    """
    above, above_direction = "", ""
    for place, row in enumerate(map(str.strip, text.split("\n")), 1):
        if row.startswith("#"):
            continue
        if not row:
            above, above_direction = "", ""
        elif named := _named(row):
            speaker, direction, spoken = named
            above, above_direction = ("", "") if spoken else (speaker, direction)
            draft.add(place, [(speaker, spoken)], direction=direction)
        else:
            draft.add(place, [(above, row)], direction=above_direction)


def _named(row: str) -> tuple[str, str, str] | None:
    """Speaker, direction and text of a row that begins with a name."""
    found = _PREFIX.match(row)
    if found is None:
        return None
    name, direction, spoken = found[1].strip(), (found[2] or "").strip(), found[3]
    if not name or len(name) > 40 or len(name.split()) > 4 or _SENTENCE.search(_TITLE.sub("", name)):
        return None
    return (name, direction, spoken) if unicodedata.category(name[0]) in {"Lu", "Lt", "Lo"} else None
