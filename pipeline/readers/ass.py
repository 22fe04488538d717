"""Advanced SubStation Alpha, and SubStation Alpha before it: one event to a row, with named fields."""

import re

from pysubs2.formats.substation import EVENT_FIELDS
from pysubs2.time import TIMESTAMP, timestamp_to_ms

from pipeline.readers.draft import Draft, quoted

EXPECTED = "Dialogue: 0,0:00:01.00,0:00:02.00,Default,NAME,0,0,0,,text"
_FIELDS = [*EVENT_FIELDS["ass"]]
_KNOWN = {*EVENT_FIELDS["ass"], *EVENT_FIELDS["ssa"], "actor"}
_SECTION = re.compile(r"\s*\[([^\]]*)\]\s*$")
_ROW = re.compile(r"\s*([A-Za-z]+)\s*:\s?(.*)")
_EVENTLIKE = re.compile(r"[^,]{0,40},\s*\d{1,2}:\d\d:\d\d[.,]\d+\s*,\s*\d{1,2}:\d\d:\d\d")
_SILENT = {"comment", "picture", "sound", "movie", "command"}
_OVERRIDE = re.compile(r"(\{[^{}]*\})")
_DRAWING = re.compile(r"\\p(\d)")


def read(text: str, draft: Draft) -> None:
    """Read an ASS or SSA file: its Dialogue events, wherever they stand, by the last Format row of events."""
    fields = _FIELDS
    in_events = False
    for place, row in enumerate(text.split("\n"), 1):
        if section := _SECTION.match(row):
            in_events = section[1].strip().lower() == "events"
            continue
        found = _ROW.match(row)
        kind, value = (found[1].lower(), found[2]) if found else ("", row)
        if kind == "dialogue":
            _event(place, value, fields, draft)
        elif kind == "format":
            if in_events and _fields(value) is None:
                draft.note(place, quoted(row), "Format: Layer, Start, End, Style, Name, ..., Text")
            fields = _fields(value) or fields
        elif kind not in _SILENT and _EVENTLIKE.match(row):
            draft.error(place, quoted(row), EXPECTED)


def plain(text: str) -> str:
    """Text of an event without override tags and drawings, its line breaks as such."""
    if "{" in text:
        shown, drawing = [], False
        for part in _OVERRIDE.split(text):
            if not part.startswith("{") or not part.endswith("}"):
                shown.append("" if drawing else part)
            elif scale := _DRAWING.findall(part):
                drawing = scale[-1] != "0"
        text = "".join(shown)
    return text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")


def _event(place: int, value: str, fields: list[str], draft: Draft) -> None:
    values = value.split(",", len(fields) - 1)
    event = dict(zip(fields, values, strict=False))
    start, end = _seconds(event.get("start", "")), _seconds(event.get("end", ""))
    if start is None or end is None or len(values) < len(fields):
        draft.error(place, quoted(f"Dialogue: {value}"), EXPECTED)
    else:
        name = event.get("name", "")
        speaker = "" if name == "NTP" else name  # what SSA files write for nobody
        draft.add(place, [(speaker, plain(event["text"]))], start, end)


def _fields(value: str) -> list[str] | None:
    """Field names of a Format row of events; None where it is another's or damaged."""
    fields = ["name" if name == "actor" else name for name in value.lower().replace(" ", "").split(",")]
    sound = {"start", "end"} < {*fields} <= _KNOWN and fields[-1] == "text"
    return fields if sound and len({*fields}) == len(fields) else None


def _seconds(stamp: str) -> float | None:
    stamp = stamp.strip()
    found = TIMESTAMP.fullmatch(stamp.removeprefix("-"))
    if found is None:
        return None
    return timestamp_to_ms(found.groups()) * (-1 if stamp.startswith("-") else 1) / 1000
