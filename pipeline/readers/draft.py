"""A script in the making: what every reader shares about ids, times and problems."""

import html
import itertools
import re
from collections.abc import Sequence

from pipeline.model import InputError, Line, Problem, Script

# id in the file, part of its entry, place, text, start, end, speaker, direction
_Entry = tuple[str, int, int, str, float | None, float | None, str, str]
LONGEST = 100 * 3600.0  # seconds; no script is that long, so such a time is damage
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def quoted(text: str) -> str:
    """Text of the file as a message shows it: on one line, at most 80 characters."""
    text = " ".join(text[:400].split())
    return f'"{text}"' if len(text) <= 80 else f'"{text[:79]}…"'


def unescape(text: str) -> str:
    """Decode the entities that end in a semicolon; a no-break space written as one is layout, so a space."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]).replace("\xa0", " "), text)


def tidy(text: str) -> str:
    """Rows without surrounding space and without empty ones."""
    if "\n" not in text:
        return text.strip()
    return "\n".join(row for row in map(str.strip, text.split("\n")) if row)


class Draft:
    """Collects the lines and the problems of one file, and settles the ids and the order at the end."""

    def __init__(self, name: str):
        self.name = name
        self.problems: list[Problem] = []
        self._entries: list[_Entry] = []

    def error(self, place: int | None, found: str, expected: str) -> None:
        self.problems.append(Problem(file=self.name, line=place, found=found, expected=expected))

    def note(self, place: int | None, found: str, expected: str) -> None:
        self.problems.append(Problem(file=self.name, line=place, found=found, expected=expected, level="note"))

    def add(
        self,
        place: int,
        voices: Sequence[tuple[str, str]],
        start: float | None = None,
        end: float | None = None,
        *,
        id: str = "",
        direction: str = "",
    ) -> None:
        """Add what stands at line ``place``: (speaker, text) pairs that share the span by length of text.

        Times in seconds, both or neither. Voices without text are left out. Times that cannot be are
        clamped with a note; times of a hundred hours and more lose the entry with an error.
        """
        spoken = [(" ".join(speaker.split()), tidy(text)) for speaker, text in voices]
        spoken = [(speaker, text) for speaker, text in spoken if text]
        if not spoken:
            return
        if start is None or end is None:
            spans: list[tuple[float | None, float | None]] = [(None, None)] * len(spoken)
        else:
            whole = self._span(place, start, end)
            if whole is None:
                return
            spans = [*_shares(*whole, [len(text) for _, text in spoken])]
        for part, ((speaker, text), span) in enumerate(zip(spoken, spans, strict=True), 1):
            self._entries.append((id, part, place, text, *span, speaker, direction))

    def script(self, *, format: str, encoding: str) -> Script:
        """The script in time order. Raises InputError when no line was found."""
        if not self._entries:
            place = next((p.line for p in self.problems if p.level == "error"), None)
            expected = f"at least one line in the form of {format}"
            raise InputError(Problem(file=self.name, line=place, found="no lines", expected=expected))
        lines = self._numbered()
        for before, after in itertools.pairwise(lines):
            if after.start is not None and before.start is not None and after.start < before.start:
                self.note(after.place, "a line that starts before the one above it", "lines in time order")
                lines.sort(key=lambda line: line.start or 0.0)
                break
        problems = sorted(self.problems, key=lambda problem: problem.line or 0)
        return Script(lines=tuple(lines), problems=tuple(problems), format=format, encoding=encoding)

    def _span(self, place: int, start: float, end: float) -> tuple[float, float] | None:
        if max(start, end) >= LONGEST:
            self.error(place, f"a time of {max(start, end) / 3600:.0f} hours", "times below 100 hours")
            return None
        if start < 0:
            self.note(place, f"a start of {start:.3f} s", "a start of 0 s or more")
            start = 0.0
        if end <= start:
            self.note(place, f"a duration of {end - start:.3f} s", "an end after the start")
            end = start
        return start, end

    def _numbered(self) -> list[Line]:
        """The lines with their ids: that of the file if no line before has it, else a free number."""
        wanted = {entry[0] for entry in self._entries}
        numbers = (n for n in map(str, itertools.count(1)) if n not in wanted)
        taken: set[str] = set()
        repeated: list[tuple[int, str]] = []
        lines: list[Line] = []
        head = ""
        for id, part, place, text, start, end, speaker, direction in self._entries:
            if part > 1:
                id = f"{head}.{part}"
            elif id in taken:
                repeated.append((place, id))
            if not _usable(id) or id in taken or (part > 1 and id in wanted):
                id = next(n for n in numbers if n not in taken)
            if part == 1:
                head = id
            taken.add(id)
            lines.append(
                Line(id=id, place=place, text=text, start=start, end=end, speaker=speaker, direction=direction)
            )
        if repeated:
            place, id = repeated[0]
            more = f" (and {len(repeated) - 1} more)" if len(repeated) > 1 else ""
            self.note(place, f"id {quoted(id)} a second time{more}", "an id of its own for every line")
        return lines


def _usable(id: str) -> bool:
    return 0 < len(id) <= 100 and "/" not in id and id.isprintable() and bool(id.strip(". "))


def _shares(start: float, end: float, weights: list[int]) -> list[tuple[float, float]]:
    """Parts of a span in proportion to the weights."""
    if len(weights) == 1:
        return [(start, end)]
    marks = [start + (end - start) * done / sum(weights) for done in itertools.accumulate(weights)]
    return list(itertools.pairwise([start, *marks[:-1], end]))
