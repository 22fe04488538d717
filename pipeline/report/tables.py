"""Tables for people: the plan, the summary, the failures, the languages."""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.progress import clock

if TYPE_CHECKING:
    from pipeline.record import Summary
    from pipeline.survey import Track

ROWS = 60  # a table for eyes; --json has all
FAILED = ("stage", "title", "language", "found", "expected")  # of each failure; some have a place besides


def console() -> Console:
    """As wide as the terminal, or wide enough where there is none. What people wrote into files is shown as it is:
    `[b]` is no markup, and `:b:` no emoji."""
    return Console(width=None if sys.stdout.isatty() else 140, markup=False, emoji=False)


def table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return made


def show_plan(console: Console, tracks: Sequence["Track"], takes: int, shared: int, job: str) -> None:
    made = table(
        f"Plan of {job}",
        "title",
        "language",
        "state",
        ">lines",
        ">utterances",
        ">speech",
        ">overruns",
        "voices",
    )
    for track in tracks[:ROWS]:
        voices = ", ".join(f"{name or 'narrator'}: {voice}" for name, voice in list(track.voices.items())[:4])
        more = f", {len(track.voices) - 4} more" if len(track.voices) > 4 else ""
        overruns = f"{track.overruns} ({track.overrun_seconds:.1f} s)" if track.overruns else "0"
        made.add_row(
            track.title, track.language, track.state, str(track.lines), str(track.utterances),
            clock(track.predicted), overruns, Text(voices + more),
        )  # fmt: skip
    console.print(made)
    _rest(console, len(tracks))
    speech = sum(track.predicted for track in tracks)
    states = Counter(track.state for track in tracks)
    counts = ", ".join(f"{states[state]} {state}" for state in ("delivered", "todo", "refused") if states[state])
    console.print(
        f"\n{len({t.title for t in tracks})} titles, {len(tracks)} tracks ({counts}); "
        f"{sum(t.lines for t in tracks)} lines, {takes} takes and {shared} duplicates, {speech / 3600:.2f} hours of "
        f"speech, {sum(t.overruns for t in tracks)} predicted overruns.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def show_summary(console: Console, summary: "Summary", output: str) -> None:
    made = table(
        f"Job {summary.job}", "title", "language", "state", ">length", ">spoken", ">onset ms p95", ">stretch max",
        ">overruns", ">LUFS", ">dBTP",
    )  # fmt: skip
    for row in summary.tracks[:ROWS]:
        made.add_row(row["title"], row["language"], _state(row["state"]), *_figures(row.get("figures")))
    console.print(made)
    _rest(console, len(summary.tracks))
    states = Counter(row["state"] for row in summary.tracks)
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    if summary.idle:
        console.print(f"\nNothing to do: {told}. Nothing was spoken, nothing was written.", highlight=False)
        return
    console.print(
        f"\n{told}; {summary.spoken} takes spoken ({clock(summary.audio_seconds)}) in {clock(summary.wall_seconds)}. "
        f"The tracks are in {output}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def show_failed(console: Console, failed: Iterable[dict[str, Any]]) -> None:
    for row in failed:
        place = ":".join(str(part) for part in (row.get("file"), row.get("line")) if part is not None)
        text = f" ({row['text']})" if row.get("text") else ""
        where = f"{row['title']}/{row['language']}"
        console.print(
            Text(f"{where} {row['stage']}: {place or 'track'}{text}: found {row['found']}, expected {row['expected']}"),
            soft_wrap=True,
        )


def _state(state: str) -> Text:
    return Text(state, style={"delivered": "green", "partial": "yellow"}.get(state, "red"))


def _figures(figures: dict[str, Any] | None) -> list[str]:
    if figures is None:
        return [""] * 7
    return [
        clock(figures["seconds"]), clock(figures["spoken_seconds"]), f"{figures['onset_error_ms']['p95']:.1f}",
        f"{figures['stretch']['max']:.2f}", str(figures["overruns"]["count"]),
        f"{figures['loudness_lufs']:.1f}", f"{figures['true_peak_dbtp']:.1f}",
    ]  # fmt: skip


def _rest(console: Console, count: int) -> None:
    if count > ROWS:
        console.print(f"... and {count - ROWS} more")


def visible(value: Any) -> str:
    """What somebody else may have written, in a cell: characters that would move the cursor are shown as escapes."""
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def about(facts: dict[str, Any]) -> str:
    """What an entry of the audit trail tells, in a cell."""
    rows = []
    for name, value in facts.items():
        if name == "refused" and isinstance(value, list):
            value = [_refused(lost) for lost in value]
        inner = "".join(f"\n  {row}" for row in value) if isinstance(value, list | dict) else ""
        rows.append(f"{name} {len(value) if inner or value in ([], {}) else value}{inner}")
    return "\n".join(rows)


def _refused(lost: Any) -> str:
    if not isinstance(lost, dict) or not {"title", "language", "found"} <= set(lost):
        return str(lost)
    return f"{lost['title']}/{lost['language']}: {lost['found']}"
