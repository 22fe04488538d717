"""The plan held against the store: what is delivered, what is to do, what cannot be done."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.assemble import delivered, whole
from pipeline.config import Job, Title
from pipeline.plan import TrackPlan, languages, overrun, plan
from pipeline.store import Store

READERS = 32  # manifests read at once
CHUNK = ("key", "text", "language", "voice", "direction", "target", "max_rate", "predicted")
SCHEMA = pa.schema(
    [("title", pa.string()), ("track", pa.string()), ("utterance", pa.string()), ("place", pa.int32()),
     ("speaker", pa.string()), ("start", pa.float64()), ("end", pa.float64()), ("window", pa.float64()),
     ("overrun", pa.float64()), ("key", pa.string()), ("text", pa.string()), ("language", pa.string()),
     ("voice", pa.string()), ("direction", pa.string()), ("target", pa.float64()), ("max_rate", pa.float64()),
     ("predicted", pa.float64())]
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Track:
    """One track of the job, in brief."""

    title: str
    language: str
    digest: str
    state: str  # "delivered" | "todo" | "refused"
    file: str = ""  # URL of the script
    lines: int = 0
    utterances: int = 0
    predicted: float = 0.0  # seconds of speech
    overruns: int = 0  # predicted
    overrun_seconds: float = 0.0
    problems: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    forbidden: bool = False  # refused by the rules
    voices: dict[str, str] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.title}/{self.language}"


def survey(job: Job, titles: Sequence[Title], store: Store, rows: Path | None = None) -> Iterator[Track]:
    """Plan every track and look up what the store holds of it. `rows`: write the plan there, as Parquet."""
    names = [f"{title.id}/{language}" for title in titles for language in languages(job, title)]
    with ThreadPoolExecutor(READERS) as pool:
        held = dict(zip(names, pool.map(lambda name: _held(store, name), names), strict=True))
    writer = pq.ParquetWriter(rows, SCHEMA, compression="zstd") if rows else None
    try:
        for track in plan(job, titles):
            if writer and track.utterances:
                writer.write_batch(_rows(track, job))
            yield _brief(track, job, *held[track.name])
    finally:
        if writer:
            writer.close()


def _held(store: Store, name: str) -> tuple[Any, dict[str, int]]:
    manifest = store.read_json(f"{name}/manifest.json")
    if manifest is None:
        return None, {}
    return manifest, {path.rpartition("/")[2]: size for path, size in store.sizes(name).items()}


def _brief(track: TrackPlan, job: Job, manifest: Any, sizes: dict[str, int]) -> Track:
    state = "todo" if track.utterances else "refused"
    if track.utterances and delivered(manifest, track.digest, sizes):
        state = "delivered"
    overruns = [seconds for u in track.utterances if (seconds := overrun(u, job)) > 0]
    return Track(
        title=track.title, language=track.language, file=track.file, digest=track.digest, state=state,
        lines=track.lines, utterances=len(track.utterances),
        predicted=sum(c.predicted for u in track.utterances for c in u.chunks),
        overruns=len(overruns), overrun_seconds=sum(overruns), voices=dict(track.voices),
        problems=[{"file": p.file, "line": p.line, "found": p.found, "expected": p.expected} for p in track.errors],
        notes=[str(p) for p in track.problems if p.level == "note"],
        forbidden=track.forbidden, manifest=manifest if whole(manifest, sizes) else None,
    )  # fmt: skip


def _rows(track: TrackPlan, job: Job) -> pa.RecordBatch:
    pairs = [(u, c) for u in track.utterances for c in u.chunks]
    columns: dict[str, list[Any]] = {
        "title": [track.title] * len(pairs),
        "track": [track.name] * len(pairs),
        "utterance": [u.id for u, _ in pairs],
        "overrun": [overrun(u, job) for u, _ in pairs],
    }
    for name in ("place", "speaker", "start", "end", "window"):
        columns[name] = [getattr(u, name) for u, _ in pairs]
    for name in CHUNK:
        columns[name] = [getattr(c, name) for _, c in pairs]
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def unique_takes(rows: Path) -> tuple[int, int]:
    """Takes that the plan needs, and chunks that share one with another."""
    keys = pq.read_table(rows, columns=["key"])["key"]
    distinct = pc.count_distinct(keys).as_py() if len(keys) else 0
    return distinct, len(keys) - distinct
