"""Where each utterance goes and how fast: pure arithmetic, seconds at plan, integer samples at assembly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.config import Fit
from pipeline.model import Utterance
from pipeline.text.script import TERMINATED

SENTENCE_PAUSE, CLAUSE_PAUSE = 0.25, 0.10  # seconds between two chunks of an utterance
UNTIMED_PAUSE = 0.5  # seconds between two utterances of a script without times
TIGHT = 1.2  # a prediction this far from the window's end is not sure to fit


def pauses(texts: Sequence[str]) -> list[float]:
    """Seconds of silence after each chunk of an utterance; none after the last."""
    return [SENTENCE_PAUSE if TERMINATED.search(text) else CLAUSE_PAUSE for text in texts[:-1]] + [0.0] * bool(texts)


def windows(utterances: Sequence[Utterance], fit: Fit, programme: float | None = None) -> list[Utterance]:
    """Give each utterance, in order of start, the end of the time that it may fill.

    Its own span, and the silence after it up to `fit.guard` before the next utterance of anybody; for the last one
    up to the end of the programme, where that is known.
    """
    found = list(utterances)
    following = None if programme is None else programme + fit.guard
    for n in range(len(found) - 1, -1, -1):
        utterance = found[n]
        if utterance.start is None or utterance.end is None:
            continue
        own = max(utterance.end, utterance.start)
        window = None if following is None else round(max(own, following - fit.guard), 3)
        found[n] = replace(utterance, window=window)
        following = utterance.start if following is None else min(following, utterance.start)
    return _simultaneous(found)


def _simultaneous(utterances: list[Utterance]) -> list[Utterance]:
    """Utterances with one start share the latest window among them: neither borrows from the other."""
    for n in range(len(utterances) - 2, -1, -1):
        this, after = utterances[n], utterances[n + 1]
        if this.start is not None and this.start == after.start and this.window is not None:
            window = None if after.window is None else max(this.window, after.window)
            utterances[n] = replace(this, window=window)
    return utterances


def targets(predicted: Sequence[float], room: float | None) -> list[float | None]:
    """Seconds that each chunk should not exceed, in steps of 50 ms; None where all are sure to fit.

    `room` is the window less the pauses, in seconds. A coarse step keeps equal texts on equal takes.
    """
    total = sum(predicted)
    if room is None or total * TIGHT <= room:
        return [None] * len(predicted)
    # The same room at another time of the programme differs in its last bits.
    return [max(0.2, int(round(room * seconds / total * 20, 6)) / 20) for seconds in predicted]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an utterance is put, in samples of the delivery, and what had to be done to it."""

    start: int
    length: int
    stretch: float  # 1.0: as spoken; above: so many times faster
    overrun: int = 0  # samples beyond the window


def place(*, start: int, natural: int, window: int | None, fit: Fit) -> Placement:
    """Fit `natural` samples of speech, from `start`, into a window that ends at `window`.

    Nothing is cut: what does not fit at `fit.max_stretch` is written whole and overruns.
    """
    if window is None or natural <= window - start:
        return Placement(start=start, length=natural, stretch=1.0)
    room = max(1, window - start)
    length = max(room, math.ceil(natural / fit.max_stretch))
    return Placement(start=start, length=length, stretch=natural / length, overrun=length - room)


def predicted_overrun(total: float, room: float | None, fit: Fit, fastest: float) -> float:
    """Seconds by which an utterance is expected to overrun its window after rate and stretch did what they may."""
    if room is None:
        return 0.0
    return max(0.0, total / (min(fit.max_rate, fastest) * fit.max_stretch) - room)
