"""Live progress of a run: a bar in a terminal, plain lines elsewhere, JSON lines for machines."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.run import Progress

EVERY = {"live": 0.25, "plain": 10.0, "json": 2.0}  # seconds between two reports


class Reporter:
    """Shows a run's progress on the way. Call it with the progress as often as you like."""

    def __init__(self, console: Console, *, as_json: bool = False):
        self.console = console
        self.mode = "json" if as_json else "live" if console.is_terminal else "plain"
        self._live = Live(console=console, transient=True, auto_refresh=False) if self.mode == "live" else None
        self._next = 0.0
        self._stage = ""

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, progress: "Progress") -> None:
        now = time.monotonic()
        if now < self._next and (progress.stage == self._stage or self.mode == "live"):
            return
        self._next, self._stage = now + EVERY[self.mode], progress.stage
        if self._live:
            self._live.update(_bar(progress), refresh=True)
        elif self.mode == "json":
            print(json.dumps({"event": "progress", **facts(progress)}), flush=True)
        else:
            print(_line(progress), file=sys.stderr, flush=True)


def facts(progress: "Progress") -> dict[str, Any]:
    """What is known of a run at a moment. `speed` is speech made in a second of real time; `left` is seconds."""
    elapsed = progress.elapsed
    share = progress.seconds_done / progress.seconds if progress.seconds else 0.0
    left = elapsed * (1 - share) / share if 0 < share < 1 and progress.stage == "speak" else None
    return {
        "stage": progress.stage,
        "takes": [progress.takes_done, progress.takes],
        "tracks": [progress.tracks_before + progress.tracks_done, progress.tracks],
        "audio": round(progress.audio, 1),
        "speed": round(progress.audio / elapsed, 1) if elapsed else 0.0,
        "left": round(left) if left is not None else None,
        "failed": progress.takes_failed + progress.tracks_failed,
        "elapsed": round(elapsed, 1),
    }


def _line(progress: "Progress") -> str:
    now = facts(progress)
    left = f", {clock(now['left'])} left" if now["left"] is not None else ""
    return (
        f"{clock(now['elapsed'])} {now['stage']}: tracks {now['tracks'][0]}/{now['tracks'][1]}, "
        f"takes {now['takes'][0]}/{now['takes'][1]}, {clock(now['audio'])} of speech, "
        f"{now['speed']:.0f}x real time, {now['failed']} failed{left}"
    )


def _bar(progress: "Progress") -> Table:
    done = progress.tracks_done + progress.takes_done
    total = max(1, progress.takes + progress.tracks - progress.tracks_before)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=total, completed=done, width=30), _line(progress))
    return grid


def clock(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour.

    >>> clock(3725), clock(59.6)
    ('1:02:05', '1:00')
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
