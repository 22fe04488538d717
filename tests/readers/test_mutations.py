"""Damage costs what it hits and nothing else. ``FUZZ=5000`` sets the mutations per format, 300 otherwise."""

import os
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from pipeline.model import InputError
from pipeline.readers import read_script

RUNS = int(os.environ.get("FUZZ", "300"))
CUES = 24
WORDS = (
    "Où",
    "est-il",
    "?",
    "Nobody",
    "knows.",
    "Привет,",
    "你好!",
    "was",
    "1984,",
    "or",
    "12:30.",
    "«Ça",
    "va»",
)


@dataclass
class Sample:
    """A sound file in pieces. A frame is what is no line: header, footer, notes, tags around lines."""

    name: str
    pieces: list[str] = field(default_factory=list)
    lines: dict[int, list[tuple[str, float | None]]] = field(default_factory=dict)  # by piece

    def frame(self, piece: str) -> None:
        self.pieces.append(piece)

    def entry(self, piece: str, *lines: tuple[str, float | None]) -> None:
        self.lines[len(self.pieces)] = list(lines)
        self.pieces.append(piece)


def stamp(seconds: int, sign: str, digits: str) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}{sign}{digits}"


def words(number: int) -> str:
    return " ".join(random.Random(number).choices(WORDS, k=5)) + f" N{number}"


def srt() -> Sample:
    sample = Sample("a.srt")
    for n in range(1, CUES):
        text = words(n)
        more = "\n\nafter a blank" if n % 5 == 0 else "\nsecond row" if n % 3 == 0 else ""
        head = f"{n}\n" if n % 7 else ""
        body = f"0{stamp(3 * n, ',', '500')} --> 0{stamp(3 * n + 2, ',', '000')}\n<i>{text}</i>{more}\n\n"
        sample.entry(head + body, (text + more.replace("\n\n", "\n"), 3 * n + 0.5))
    return sample


def vtt() -> Sample:
    sample = Sample("a.vtt")
    sample.frame("WEBVTT\nKind: captions\n\n")
    sample.frame("STYLE\n::cue { color: red }\n\n")
    for n in range(1, CUES):
        head = f"{n}\n" if n % 4 else f"scene-{n}\n" if n % 8 else ""
        body = f"0{stamp(3 * n, '.', '500')} --> 0{stamp(3 * n + 2, '.', '000')} line:0\n"
        sample.entry(f"{head}{body}<v Anna>{words(n)}</v>\n\n", (words(n), 3 * n + 0.5))
        if n % 6 == 0:
            sample.frame("NOTE a note\nof two rows\n\n")
    return sample


def ass() -> Sample:
    sample = Sample("a.ass")
    sample.frame("[Script Info]\nTitle: x\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n")
    sample.frame("[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n")
    for n in range(1, CUES):
        times = f"{stamp(3 * n, '.', '50')},{stamp(3 * n + 2, '.', '00')}"
        row = f"Dialogue: 0,{times},Default,Anna,0,0,0,,{{\\an8}}{words(n)}\\Nrow\n"
        sample.entry(row, (f"{words(n)}\nrow", 3 * n + 0.5))
    return sample


def ttml() -> Sample:
    sample = Sample("a.ttml")
    sample.frame('<?xml version="1.0"?>\n<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="fr">\n')
    sample.frame('<head><ttm:agent xml:id="a"><ttm:name>Anna</ttm:name></ttm:agent></head>\n<body>\n')
    sample.frame('<div begin="10s">\n')
    for n in range(1, CUES):
        times = f'begin="0{stamp(3 * n, ".", "500")}" end="0{stamp(3 * n + 2, ".", "000")}"'
        shift = 10 if n < 12 else 20
        piece = f'<p {times} ttm:agent="a"><span>{words(n)}</span><br/>row</p>\n'
        sample.entry(piece, (f"{words(n)}\nrow", 3 * n + 0.5 + shift))
        if n == 11:
            sample.frame('</div>\n<div begin="20s">\n')
    sample.frame("</div>\n</body>\n</tt>\n")
    return sample


def txt() -> Sample:
    sample = Sample("a.txt")
    for n in range(1, CUES):
        if n % 5 == 0:
            sample.entry(f"ANNA:\n{words(n)}\nrow {n}\n\n", (words(n), None), (f"row {n}", None))
        else:
            sample.entry(f"ANNA (softly): {words(n)}\n", (words(n), None))
    return sample


SAMPLES = {sample.name: sample for sample in (srt(), vtt(), ass(), ttml(), txt())}
Span = tuple[int, int]


def mutate(data: bytes, dice: random.Random) -> tuple[bytes, list[Span], Span]:
    """Damaged data, the spans of the original that were hit, and the span that was copied to there."""
    size = len(data)
    at = dice.randrange(size)
    end = min(size, at + dice.choice((1, 1, 2, 5, 20, 150)))
    start = dice.randrange(size)
    stop = min(size, start + dice.choice((1, 5, 40, 200)))
    rows = data.splitlines(keepends=True)
    kind = dice.choice(("flip", "delete", "insert", "duplicate", "cut", "swap", "truncate", "splice"))
    if kind == "flip":
        return data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :], [(at, at + 1)], (0, 0)
    if kind == "delete":
        return data[:at] + data[end:], [(at, end)], (0, 0)
    if kind == "insert":
        return data[:at] + dice.randbytes(dice.randint(1, 6)) + data[at:], [(at, at)], (0, 0)
    if kind == "duplicate":
        return data[:at] + data[start:stop] + data[at:], [(at, at)], (start, stop)
    if kind == "truncate":
        return data[:at], [(at, size)], (0, 0)
    if kind == "splice":
        return data[:at] + data[start:stop] + data[end:], [(at, end)], (start, stop)
    places = [0]
    for row in rows:
        places.append(places[-1] + len(row))
    i, j = sorted((dice.randrange(len(rows)), dice.randrange(len(rows))))
    if kind == "cut":
        j = min(j, i + 3)
        return b"".join(rows[:i] + rows[j + 1 :]), [(places[i], places[j + 1])], (0, 0)
    rows[i], rows[j] = rows[j], rows[i]
    hit = [(places[i], places[i + 1]), (places[j], places[j + 1])]
    return b"".join(rows), hit, (places[i], places[j + 1])


def certain(sample: Sample, hit: list[Span], copied: Span) -> list[tuple[str, float | None]]:
    """The lines that must survive: those of pieces that are whole, with whole pieces on both sides.

    The frames of ASS (its Format row) and TTML (offsets, rates, agents) say how the lines are to be read:
    where one is hit or copied elsewhere, nothing is certain. Those of WebVTT have no such excuse.
    """
    spans, done = [], 0
    for piece in sample.pieces:
        spans.append((done, done + len(piece.encode())))
        done = spans[-1][1]
    touched = {
        n for n, (a, b) in enumerate(spans) if any((i < b and a < j) or (i == j and a <= i <= b) for i, j in hit)
    }
    moved = {n for n, (a, b) in enumerate(spans) if copied[0] < b and a < copied[1]}
    governed = sample.name.endswith((".ass", ".ttml"))
    if governed and any(n not in sample.lines for n in touched | moved):
        return []
    whole = [n for n in sample.lines if not touched & {n - 1, n, n + 1}]
    return [line for n in whole for line in sample.lines[n]]


@pytest.mark.parametrize("name", SAMPLES)
def test_sound_sample(name):
    sample = SAMPLES[name]
    script = read_script(name, "".join(sample.pieces).encode())
    assert [(line.text, line.start) for line in script.lines] == [e for p in sample.lines.values() for e in p]
    assert script.problems == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_damage_stays_where_it_is(name):
    sample = SAMPLES[name]
    data = "".join(sample.pieces).encode()
    checked = 0
    for run in range(RUNS):
        damaged, hit, copied = mutate(data, random.Random(f"{name} {run}"))
        began = time.perf_counter()
        try:
            script = read_script(name, damaged)
            found = {(line.text, line.start) for line in script.lines}
            assert len({line.id for line in script.lines}) == len(script.lines)
        except InputError:
            found = set()
        assert time.perf_counter() - began < 2, run
        expected = certain(sample, hit, copied)
        assert found.issuperset(expected), (run, set(expected) - found)
        checked += bool(expected)
    assert checked > RUNS / 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "cp1251", "gb18030"])
@pytest.mark.parametrize("name", SAMPLES)
def test_only_input_errors_escape(name, encoding):
    """Several wounds at once, in any encoding: no claim on what is found, but none on patience either."""
    data = "".join(SAMPLES[name].pieces).encode(encoding, errors="replace")
    for run in range(RUNS // 12):
        dice = random.Random(f"{name} {encoding} {run}")
        damaged = data
        for _ in range(dice.randint(1, 12)):
            damaged = mutate(damaged or b"\n", dice)[0]
        began = time.perf_counter()
        with suppress(InputError):
            read_script(name, damaged)
        assert time.perf_counter() - began < 2, run
