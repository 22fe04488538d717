"""Lines to utterances: consecutive lines of one speaker are joined until the sentence ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sentencex

from pipeline.model import Line, Utterance
from pipeline.text.script import ELLIPSIS, TERMINATED, glue

MAX_GAP = 1.0  # seconds of silence inside a sentence
MAX_SPAN = 15.0  # seconds; a script without punctuation must not become one breathless utterance
PUNCTUATED = 0.2  # share of lines that end a sentence, below which line ends are taken for sentence ends


@dataclass(slots=True)
class _Open:
    """An utterance that is still growing."""

    lines: list[Line]
    text: str
    end: float | None

    def close(self) -> Utterance:
        first = self.lines[0]
        return Utterance(
            id=first.id, lines=tuple(dict.fromkeys(line.id for line in self.lines)), place=first.place,
            text=self.text, speaker=first.speaker, direction=first.direction, start=first.start, end=self.end,
        )  # fmt: skip


def join(lines: Sequence[Line], language: str) -> list[Utterance]:
    """Utterances of lines that are in time order and hold only what is spoken. Ids are unique."""
    punctuated = sum(1 for line in lines if TERMINATED.search(line.text)) >= PUNCTUATED * len(lines)
    found: list[Utterance] = []
    growing: dict[str, _Open] = {}  # by speaker: two people may talk at the same time
    for line in lines:
        current = growing.get(line.speaker)
        if current and punctuated and _continues(current, line, language):
            current.lines.append(line)
            current.text, current.end = glue(current.text, line.text), line.end
            continue
        if current:
            found.append(current.close())
        growing[line.speaker] = _Open([line], line.text, line.end)
    found += [utterance.close() for utterance in growing.values()]
    found.sort(key=lambda u: (u.start or 0.0, u.place))
    return _unique(found)


def _continues(current: _Open, line: Line, language: str) -> bool:
    last = current.lines[-1]
    if line.start is None or last.end is None or last.start is None or line.end is None:
        return False
    if line.direction != last.direction or line.id == last.id or not 0 <= line.start - last.end + 0.1 <= MAX_GAP + 0.1:
        return False
    if line.end - (current.lines[0].start or 0.0) > MAX_SPAN:
        return False
    return not _ends(current.text, line.text, language)


def _ends(text: str, following: str, language: str) -> bool:
    """Whether a sentence is over at the end of `text`, seen what follows."""
    if not TERMINATED.search(text):
        return language.partition("-")[0] == "el" and text.endswith(";")  # the Greek question mark
    if ELLIPSIS.search(text):
        return not (following[:1].islower() or following.startswith(("…", "...")))
    tail = text.rsplit(None, 1)[-1].rstrip(".")
    if text.endswith(".") and tail == "M" and language.partition("-")[0] == "fr":  # which the segmenter does not know
        return False
    if text.endswith(".") and len(tail) <= 4:  # "Mr." and the like: the segmenter knows abbreviations
        bounds = sentencex.get_sentence_boundaries(language, f"{text} {following}")
        return any(bound["end_index"] == len(text) + 1 for bound in bounds)
    return True


def _unique(utterances: list[Utterance]) -> list[Utterance]:
    """Turns of one line share its id: number the later ones."""
    seen: dict[str, int] = {}
    for n, utterance in enumerate(utterances):
        count = seen[utterance.id] = seen.get(utterance.id, 0) + 1
        if count > 1:
            utterances[n] = replace(utterance, id=f"{utterance.id}~{count}")
    return utterances
