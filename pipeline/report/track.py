"""The figures of a track, and the subtitles of what is really spoken."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipeline.assemble import Placed
    from pipeline.plan import TrackPlan

QUIET = 1.2  # above this a stretch is counted


def figures(
    track: "TrackPlan", placed: Sequence["Placed"], level: dict[str, Any], rate: int, length: int
) -> dict[str, Any]:
    """The report of a track: `figures` of the whole, counts of `flags`, and each utterance. Times in seconds."""
    spoken = [p for p in placed if p.length]
    timed = [p for p in spoken if p.utterance.start is not None]
    errors = np.array([1000 * (p.onset / rate - (p.utterance.start or 0.0)) for p in timed])
    stretches = np.array([p.stretch for p in spoken])
    rows = [_row(p, rate) for p in placed]
    flags = [flag for row in rows for flag in row["flags"]]
    overruns = [p.overrun / rate for p in spoken if "overrun" in _flags(p, rate)]
    return {
        "title": track.title,
        "language": track.language,
        "figures": {
            "seconds": round(length / rate, 3),
            "utterances": len(placed),
            "spoken_seconds": round(sum(p.length for p in spoken) / rate, 3),
            "onset_error_ms": _spread(np.abs(errors)),
            "drift_ms_per_minute": _slope(errors, [p.utterance.start or 0.0 for p in timed]),
            "source_overlap": _overlap(timed, rate),
            "stretch": {**_spread(stretches), "max": round(float(stretches.max(initial=1.0)), 3)},
            "stretched_over_1.2": round(float(np.mean(stretches > QUIET)), 4) if spoken else 0.0,
            "overruns": {"count": len(overruns), "seconds": round(sum(overruns), 3)},
            "truncations": sum(p.length * p.stretch < p.natural * 0.999 - 2 for p in spoken),
            "loudness_lufs": round(level["loudness"], 2),
            "true_peak_dbtp": round(level["true_peak"], 2),
            "gain_db": round(level["gain"], 2),
            "limited": level["limited"],
            "watermark_p": level["watermark_p"],
        },
        "flags": {flag: flags.count(flag) for flag in sorted(set(flags))},
        "notes": [f"line {p.line}: found {p.found}, expected {p.expected}" for p in track.problems],
        "utterances": rows,
    }


def _row(p: "Placed", rate: int) -> dict[str, Any]:
    u = p.utterance
    return {
        "id": u.id,
        "lines": list(u.lines),
        "place": u.place,
        "speaker": u.speaker,
        "text": u.text,
        "window": [u.start, None if u.window is None else round(u.window, 3)],
        "spoken": [round(p.start / rate, 4), round((p.start + p.length) / rate, 4)] if p.length else None,
        "rate": p.rate,
        "stretch": round(p.stretch, 4),
        "overrun": round(p.overrun / rate, 4),
        "flags": _flags(p, rate),
    }


def _flags(p: "Placed", rate: int) -> list[str]:
    """`fast`: stretched over 1.2. `overrun`: longer than its window. `missing`: some of it could not be spoken."""
    found = ["missing"] if p.missing else []
    found += ["fast"] if p.stretch > QUIET else []
    return found + (["overrun"] if p.overrun > 0 else [])


def _spread(values: np.ndarray) -> dict[str, float]:
    if not values.size:
        return {"p50": 0.0, "p95": 0.0}
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95)}


def _slope(errors: np.ndarray, starts: Sequence[float]) -> float:
    """Least-squares growth of the onset error, in ms per minute of programme."""
    if len(starts) < 2 or len(set(starts)) < 2:
        return 0.0
    return round(float(np.polyfit(np.array(starts) / 60, errors, 1)[0]), 2) + 0.0


def _overlap(timed: Sequence["Placed"], rate: int) -> float:
    """Share of the source's speech, as its script times it, during which the dub speaks."""
    source = _union([(p.utterance.start or 0.0, p.utterance.end or 0.0) for p in timed])
    dub = _union([(p.start / rate, (p.start + p.length) / rate) for p in timed])
    total, shared, n = sum(b - a for a, b in source), 0.0, 0
    for start, end in source:
        while n < len(dub) and dub[n][1] <= start:
            n += 1
        for other in dub[n:]:
            if other[0] >= end:
                break
            shared += min(end, other[1]) - max(start, other[0])
    return round(shared / total, 3) if total else 0.0


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        elif end > start:
            merged.append((start, end))
    return merged


def subtitles(placed: Sequence["Placed"], rate: int) -> bytes:
    """SubRip of what is spoken, when it is really spoken."""
    spoken = [p for p in placed if p.length]
    cues = (
        f"{n}\n{_clock(p.start / rate)} --> {_clock((p.start + p.length) / rate)}\n{p.utterance.text}\n"
        for n, p in enumerate(spoken, 1)
    )
    return "\n".join(cues).encode()


def _clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"
