"""The words of a dubbing job. Times are float seconds here; the audio path counts integer samples."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with an input, with its place. An ``error`` loses content; a ``note`` does not."""

    file: str
    line: int | None = None  # 1-based line or row of the file
    found: str
    expected: str
    level: str = "error"  # "error" | "note"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: found {self.found}, expected {self.expected}"


class InputError(ValueError):
    """A file that cannot be used at all. Carries the problem, so that it can be listed like any other."""

    def __init__(self, problem: Problem):
        super().__init__(str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.problem,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of a script: a subtitle cue or a dialogue row. ``start`` is None where a script has no times."""

    id: str
    place: int  # 1-based line of the script where it stands
    text: str  # markup of the file format removed; line breaks kept
    start: float | None = None  # seconds
    end: float | None = None
    speaker: str = ""
    direction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a reader made of one file: its sound lines, in time order, and every problem met on the way."""

    lines: tuple[Line, ...]
    problems: tuple[Problem, ...] = ()
    format: str = ""
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """What the engine speaks at once: the unit of synthesis."""

    key: str  # address of its take: SHA-256 over everything that shapes the audio
    text: str
    language: str
    voice: str
    direction: str = ""
    target: float | None = None  # seconds it should not exceed; None where it is sure to fit
    max_rate: float = 1.0  # how far the engine may speed up to reach the target
    predicted: float = 0.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """Consecutive lines of one speaker joined to whole sentences: the unit of timing."""

    id: str  # id of its first line
    lines: tuple[str, ...]  # ids of its lines
    place: int
    text: str
    speaker: str = ""
    direction: str = ""
    start: float | None = None  # seconds; None: follows the utterance before it
    end: float | None = None  # end of its own span
    window: float | None = None  # end of the time it may fill; None: unlimited
    chunks: tuple[Chunk, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What is known of the audio of a chunk."""

    key: str
    seconds: float
    rate: float = 1.0  # speaking rate that the engine was asked for
