"""What `dub detect` shows."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from pipeline.report.progress import clock
from pipeline.report.tables import table

if TYPE_CHECKING:
    from pipeline.evidence import Evidence

LINE = 24  # characters of a time line
PLACES = 4  # spans written out


def show(console: Console, evidence: Sequence["Evidence"], titles: dict[str, dict[str, Any]]) -> None:
    """A row for each file, or audio stream of a film; `titles` maps ids of tracks to manifests."""
    made = table("", "file", "mark", ">p", "key", "track", "layer", "change", "0 " + " " * (LINE - 5) + "end", "where")
    for file in evidence:
        if not file.findings:
            made.add_row(Text(file.name), Text("unreadable", style="red"))
            continue
        best = file.findings[0]
        verdict = Text("marked", style="green") if file.marked else Text("not found", style="yellow")
        track = best.payload.hex()[4:] if best.payload else ""
        manifest = titles.get(track)
        named = f"{manifest['title']}/{manifest['language']}" if manifest else track
        told = [best.key[:8], named, best.layer, _change(best.tempo, best.pitch, best.polarity)]
        where = [_line(file), _where(file)]
        made.add_row(Text(file.name), verdict, _p(best.p), *(told + where if file.marked else []))
    console.print(made)
    for file in evidence:
        if file.error:
            heard = f" (heard as far as {clock(file.seconds)})" if file.findings else ""
            console.print(Text(f"{file.name}: {file.error}{heard}"), soft_wrap=True)


def _p(p: float) -> str:
    return f"{p:.2f}" if p > 0.01 else f"{p:.0e}".replace("e-0", "e-") if p > 1e-300 else "< 1e-300"


def _change(tempo: float, pitch: float, polarity: int) -> str:
    """How the audio differs from what was marked."""
    told = [] if tempo == 1 else [f"pace {tempo - 1:+.1%}"]
    told += [] if pitch == 1 else [f"pitch {12 * math.log2(pitch):+.1f} st"]
    return ", ".join(told + (["inverted"] if polarity < 0 else []))


def _line(file: "Evidence") -> str:
    """The whole file from left to right, dark where the mark is."""
    cells = [" "] * LINE
    for start, end in file.spans():
        first, last = (min(LINE - 1, int(at / max(file.seconds, 1e-9) * LINE)) for at in (start, end - 1e-6))
        cells[first : last + 1] = "█" * (last + 1 - first)
    return "".join(cells).replace(" ", "·")


def _where(file: "Evidence") -> str:
    spans = file.spans()
    told = ", ".join(f"{clock(start)} to {clock(end)}" for start, end in spans[:PLACES])
    return told + (f" and {len(spans) - PLACES} more" if len(spans) > PLACES else "")
