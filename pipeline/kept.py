"""The plan that a run keeps, and the takes of it that must not stay once their tracks are refused."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import cloning
from pipeline.config import Job
from pipeline.speak import take_name
from pipeline.store import Store
from pipeline.survey import SCHEMA, Track


def keep_plan(job: Job, store: Store, rows: Path, earlier: pa.Table) -> None:
    """Keep the plan of a run, with what `clear` left of earlier ones: a later run may have to clear it."""
    if not earlier.num_rows:
        store.write(_name(job), rows.read_bytes())
        return
    data = io.BytesIO()
    pq.write_table(pa.concat_tables([pq.read_table(rows), earlier]), data, compression="zstd")
    store.write(_name(job), data.getvalue())


def clear(job: Job, store: Store, tracks: Sequence[Track], rows: Path) -> tuple[pa.Table, bool]:
    """Withdraw what a run that was killed spoke for tracks that are refused, or planned otherwise, now.

    The rows of its plan whose takes may stay, and whether any had to go. Takes of the plan of now (`rows`) stay, and so
    do those of delivered tracks.
    """
    earlier = _kept(job, store, [track.name for track in tracks if track.manifest is None])
    needed = pq.read_table(rows, columns=["key"])["key"] if earlier.num_rows else None
    spare = earlier.filter(pc.invert(pc.is_in(earlier["key"], needed))) if needed is not None else earlier
    left = withdraw(job, store, spare, {track.name for track in tracks if track.forbidden})
    return left, left.num_rows < spare.num_rows


def withdraw(job: Job, store: Store, chunks: pa.Table, forbidden: Collection[str]) -> pa.Table:
    """Delete the takes of voices that were revoked or blocked, and those of forbidden tracks; the rows of the rest."""
    gone = [voice for voice in chunks["voice"].unique().to_pylist() if cloning.withdrawn(job, voice)]
    voices, names = pa.array(gone, pa.string()), pa.array(list(forbidden), pa.string())
    doomed = pc.or_(pc.is_in(chunks["voice"], voices), pc.is_in(chunks["track"], names))
    for key in chunks.filter(doomed)["key"].unique().to_pylist():
        store.delete(take_name(key))
    return chunks.filter(pc.invert(doomed))


def _kept(job: Job, store: Store, names: Sequence[str]) -> pa.Table:
    """The rows of the kept plan for these tracks; none where there is no such plan, or one of another version."""
    try:
        data = store.read(_name(job)) if names else b""
        found = pq.read_table(io.BytesIO(data))
    except (FileNotFoundError, pa.ArrowInvalid):
        return SCHEMA.empty_table()
    if not found.schema.equals(SCHEMA):
        return SCHEMA.empty_table()
    return found.filter(pc.is_in(found["track"], pa.array(names, pa.string())))


def _name(job: Job) -> str:
    return f"jobs/{job.name}/plan.parquet"
