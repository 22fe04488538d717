"""The elements of TTML as they come: nested times, speakers, and the text of each <p>."""

import itertools
import re
from dataclasses import dataclass, field
from xml.parsers import expat

from pipeline.model import InputError, Problem
from pipeline.readers.draft import Draft, quoted

EXPECTED = '<p begin="00:00:01.000" end="00:00:02.000">'
_CLOCK = re.compile(r"(\d{1,9}):(\d{1,2}):(\d{1,2})(?:([.,:])(\d{1,9})(?:\.\d{1,9})?)?")
_OFFSET = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)(h|ms|m|s|f|t)")
_ANNOTATION = {"text", "textContainer", "delimiter"}  # values of tts:ruby beside the base text
_SPACES = re.compile(r"[ \t]+")


@dataclass(slots=True, kw_only=True)
class _Box:
    """An open element with the times, in seconds, and the speaker that hold within it."""

    name: str
    place: int = 0
    id: str = ""
    speaker: str = ""
    start: float = 0.0
    end: float | None = None
    timed: bool = False  # it has times, or an element around it
    next: float | None = None  # in a sequence: where the element to come begins
    own: bool = False  # it has times of its own
    unreadable: bool = False
    silent: bool = False
    voices: list[tuple[str, str]] = field(default_factory=list)
    spans: list["_Box"] = field(default_factory=list)  # those with times in a <p> without


class Stream:
    """Parses pieces of a document one after the other and adds each <p> to the draft."""

    def __init__(self, draft: Draft):
        self.elements = 0
        self._draft = draft
        self._open: list[_Box] = []
        self._paragraph: _Box | None = None
        self._agent = ""
        self._agents: dict[str, str] = {}
        self._units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "f": 1 / 30, "t": 1.0}

    def parse(self, text: str, line: int) -> tuple[str, int, int] | None:
        """Parse a piece before which ``line`` lines stand. At damage: what it is, its line, its character.

        Raises InputError at a document type declaration.
        """
        data = text.encode()
        self._line = line
        self._parser = parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            offset = len(data[: max(parser.ErrorByteIndex, 0)].decode(errors="ignore"))
            offset -= 2 * text.endswith("</", 0, offset)  # at a mismatched tag expat points to its name
            return expat.ErrorString(error.code), line + text.count("\n", 0, offset) + 1, offset
        return None

    def leave(self) -> None:
        """Close the innermost element."""
        if self._open:
            self._end(self._open[-1].name)

    def drop_paragraph(self) -> bool:
        """Forget the <p> that damage left open, or whatever else is in a <div>. False without a <p>."""
        dropped = self._paragraph is not None
        while self._open and self._open[-1].name not in {"body", "div"}:
            self._open.pop()
        self._paragraph = None
        return dropped

    def _doctype(self, *_: object) -> None:
        place = self._line + self._parser.CurrentLineNumber
        found, expected = "a document type declaration", "TTML, which has none"
        raise InputError(Problem(file=self._draft.name, line=place, found=found, expected=expected))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        name = _local(tag)
        if name == "p" and self._paragraph:  # the end of the one before is missing
            paragraph = self._paragraph
            self.drop_paragraph()
            self._add(paragraph)
        values = {_local(key): value for key, value in attributes.items()}
        outer = self._open[-1] if self._open else _Box(name="")
        box = _Box(
            name=name,
            place=self._line + self._parser.CurrentLineNumber,
            id=values.get("id", ""),
            speaker=self._speaker(values["agent"]) if "agent" in values else outer.speaker,
            silent=outer.silent or values.get("ruby") in _ANNOTATION,
        )
        self._open.append(box)
        if name == "p":
            self._paragraph = box
        if name in {"body", "div", "p", "span"}:
            self._time(box, outer, values)
        elif name == "tt":
            self._rates(values)
        elif name == "agent":
            self._agent = box.id
        elif name == "name" and self._agent in self._agents:  # an alias
            self._agent = ""
        elif name == "br":
            self._say("\n", outer)

    def _end(self, tag: str) -> None:
        name = _local(tag)
        if not self._open or self._open[-1].name != name:  # ended already, as its <p> was
            return
        box = self._open.pop()
        if self._open and self._open[-1].next is not None:
            self._open[-1].next = box.start if box.end is None else box.end
        if name == "p":
            self._add(box)

    def _text(self, text: str) -> None:
        if not self._open:
            return
        box = self._open[-1]
        if box.name == "name" and self._agent:
            self._agents[self._agent] = self._agents.get(self._agent, "") + text
        else:
            self._say(text.replace("\n", " "), box)

    def _say(self, text: str, box: _Box) -> None:
        if self._paragraph and box.name in {"p", "span"} and not box.silent:
            self._paragraph.voices.append((box.speaker, text))

    def _speaker(self, agents: str) -> str:
        return ", ".join(self._agents.get(agent, agent).strip() for agent in agents.split())

    def _rates(self, values: dict[str, str]) -> None:
        rates = {key: re.findall(r"\d{1,9}", values.get(key, "")) for key in ("frameRate", "tickRate")}
        frames = float((rates["frameRate"] or ["30"])[0]) or 30.0
        over = re.fullmatch(r"([1-9]\d{0,8})[ :]([1-9]\d{0,8})", values.get("frameRateMultiplier", ""))
        frames *= int(over[1]) / int(over[2]) if over else 1.0
        ticks = float((rates["tickRate"] or ["0"])[0]) or (frames if rates["frameRate"] else 1.0)
        self._units |= {"f": 1 / frames, "t": 1 / ticks}

    def _time(self, box: _Box, outer: _Box, values: dict[str, str]) -> None:
        """Set the times of an element, which count from the start of the one around it."""
        written = {key: values[key] for key in ("begin", "end", "dur") if key in values}
        times = {key: self._seconds(value.strip()) for key, value in written.items()}
        if None in times.values():
            box.unreadable = True
            shown = " ".join(f'{key}="{value}"' for key, value in written.items())
            self._draft.error(box.place, quoted(shown), EXPECTED)
        base = outer.start if outer.next is None else outer.next
        box.start = base + (times.get("begin") or 0.0)
        ends = [base + end for end in [times.get("end")] if end is not None]
        ends += [box.start + dur for dur in [times.get("dur")] if dur is not None]
        box.end = min(ends, default=outer.end)
        box.own = bool(written)
        box.timed = box.own or outer.timed
        if values.get("timeContainer") == "seq":
            box.next = box.start
        if box.name == "span" and box.own and self._paragraph and not self._paragraph.own:
            self._paragraph.spans.append(box)

    def _seconds(self, time: str) -> float | None:
        if clock := _CLOCK.fullmatch(time):
            hours, minutes, seconds, sign, rest = clock.groups()
            whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
            if sign == ":":
                return whole + int(rest) * self._units["f"]
            return float(f"{whole}.{rest or 0}")
        offset = _OFFSET.fullmatch(time)
        return float(offset[1]) * self._units[offset[2]] if offset else None

    def _add(self, p: _Box) -> None:
        self._paragraph = None
        voices = [
            (speaker, _SPACES.sub(" ", "".join(text for _, text in said)))
            for speaker, said in itertools.groupby(p.voices, key=lambda voice: voice[0])
        ]
        start, end = p.start, p.end
        if p.spans:
            start = min(span.start for span in p.spans)
            end = max((span.end for span in p.spans if span.end is not None), default=None)
        if any(text.strip() for _, text in voices) and not p.unreadable:
            if p.timed or p.spans:
                self._draft.add(p.place, voices, start, start if end is None else end, id=p.id)
            else:
                self._draft.error(p.place, "a <p> without times", EXPECTED)


def _local(name: str) -> str:
    """A name without its namespace prefix: that of a damaged document may not be declared."""
    return name.rpartition(":")[2]
