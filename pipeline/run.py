"""One run of a job: what is missing is spoken, what is complete is assembled, what failed is listed."""

import itertools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import cloning, flow, kept, lists, record
from pipeline.assemble import file_format
from pipeline.audit import Trail
from pipeline.catalogue import read_catalogue
from pipeline.config import Job
from pipeline.lock import Lock
from pipeline.parse import ConfigError
from pipeline.record import Summary
from pipeline.speak import Outcome, take_name
from pipeline.store import Store
from pipeline.survey import CHUNK, Track, survey

WAVE = 16  # batches for each replica in a wave of tracks
DIED = "the engine's process died each of the {tries} times that it was spoken"


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a run is. Seconds are of speech, as predicted until it is spoken."""

    stage: str = "plan"
    tracks: int = 0
    tracks_done: int = 0  # delivered by this run
    tracks_before: int = 0  # delivered by an earlier one
    tracks_failed: int = 0
    takes: int = 0  # that this run must speak
    takes_done: int = 0
    takes_failed: int = 0
    seconds: float = 0.0  # that this run must speak, as predicted
    seconds_done: float = 0.0  # of these, as predicted
    audio: float = 0.0  # seconds of audio spoken
    programme: float = 0.0  # seconds of finished tracks
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started


Watch = Callable[[Progress], None]


def run(job: Job, *, address: str | None = None, watch: Watch = lambda progress: None) -> Summary:
    """Bring the job's output up to date with its inputs. Raises ConfigError, StoreError.

    Killed at any moment, it is started again the same way: what is in the store is kept, and nothing else counts.
    """
    progress = Progress()
    file_format(job)
    titles = {title.id: title for title in read_catalogue(job)}
    store = Store(job.output, job.storage_options)
    cut_off = Trail(store, job.name).unfinished()
    with tempfile.TemporaryDirectory(prefix="dub-plan-") as folder:
        rows = Path(folder) / "plan.parquet"
        tracks = []
        for track in survey(job, list(titles.values()), store, rows):
            tracks.append(track)
            progress.tracks = len(tracks)
            watch(progress)
        progress.tracks_before = sum(track.state == "delivered" for track in tracks)
        progress.tracks_failed = sum(track.state == "refused" for track in tracks)
        work = _Work(job, tracks, store, progress, watch)
        _remember(job)
        earlier, withdrew = kept.clear(job, store, tracks, rows)
        if withdrew:
            kept.keep_plan(job, store, rows, earlier)
        if not work.todo:
            summary = work.summary()
            new = record.write_if_new(store, summary)
            missed = record.missed(store, cut_off, tracks)
            summary.idle = not new and not missed and not withdrew
            if not summary.idle:
                record.enter_end(store, job, missed, summary)
            return summary
        with Lock(store, job.name) as lock:
            store.sweep()
            record.enter_start(store, job, work.todo, record.missed(store, cut_off, tracks))
            _alone(store, job, work, lock)
            kept.keep_plan(job, store, rows, earlier)
            work.find_missing(rows)
            with flow.cluster(job, address):
                work.do({name: titles[name] for name in {track.title for track in work.todo.values()}}, lock)
        summary = work.summary()
        _remember(job)
        record.write_if_new(store, summary)
        record.enter_end(store, job, {name: work.todo[name].digest for name in work.figures}, summary)
        return summary


class _Work:
    """The takes and tracks of one run, and what became of them."""

    def __init__(self, job: Job, tracks: list[Track], store: Store, progress: Progress, watch: Watch):
        self.job, self.tracks, self.store, self.progress, self.watch = job, tracks, store, progress, watch
        self.todo = {track.name: track for track in tracks if track.state == "todo"}
        self.figures: dict[str, dict[str, Any]] = {}  # of tracks delivered by this run
        self.errors: dict[str, str] = {}  # of tracks that could not be assembled
        self.reasons: dict[str, str] = {}  # chunk key -> why it could not be spoken
        self.rows = Path()  # the plan of all tracks, as Parquet
        self.chunks: pa.Table = pa.table({})
        self.waiting: dict[str, set[str]] = {}  # track -> keys that are still to be spoken
        self.users: dict[str, list[str]] = defaultdict(list)  # key -> tracks that wait for it
        self.predicted: dict[str, float] = {}

    def find_missing(self, rows: Path) -> None:
        """Which takes of the tracks to do the store does not hold."""
        self.rows = rows
        held = {name.rpartition("/")[2].removesuffix(".flac") for name in self.store.sizes("takes")}
        table = pq.read_table(rows, columns=["title", "track", "utterance", "place", *CHUNK])
        table = table.filter(pc.is_in(table["track"], pa.array(list(self.todo), pa.string())))
        self.chunks = table
        for track, key in zip(table["track"].to_pylist(), table["key"].to_pylist(), strict=True):
            waiting = self.waiting.setdefault(track, set())
            if key not in held and key not in waiting:
                waiting.add(key)
                self.users[key].append(track)
        self._count()

    def _count(self) -> None:
        missing = self.chunks.filter(pc.is_in(self.chunks["key"], pa.array(list(self.users), pa.string())))
        keys, seconds = missing["key"].to_pylist(), missing["predicted"].to_pylist()
        self.predicted = dict(zip(keys, seconds, strict=True))
        self.progress.takes, self.progress.seconds = len(self.predicted), sum(self.predicted.values())

    def do(self, titles: dict[str, Any], lock: Lock) -> None:
        assembly = flow.Assembly(self.job, titles)
        self.progress.stage = "speak"
        for name in [name for name, keys in self.waiting.items() if not keys]:
            self._complete(name, assembly)
        tries = self.job.speak.tries
        for attempt in range(tries):
            # What a dead replica lost is spoken again chunk by chunk, so that only the guilty one is left.
            batches = list(self._batches(alone=attempt > 0))
            if not batches and not assembly.busy:
                break
            self._round(flow.Stream(self.job, batches, ahead=1 if attempt else 2), assembly, lock)
        for key in list(self.users):
            self._spoken(Outcome(key=key, error=DIED.format(tries=tries)), assembly)
        self._round(flow.Stream(self.job, []), assembly, lock)
        for name in (name for name, keys in self.waiting.items() if keys):
            self.errors.setdefault(name, f"its takes were damaged again after {tries} tries")

    def _round(self, stream: flow.Stream, assembly: flow.Assembly, lock: Lock) -> None:
        """Speak the batches of a stream, and assemble each track when its last take is there."""
        while not stream.done or assembly.busy:
            lock.check()
            for outcome in stream.take(0.0 if assembly.running else 0.2):
                self._spoken(outcome, assembly)
            self.progress.stage = "assemble" if stream.done else "speak"
            for track, result in assembly.step(0.2):
                self._assembled(track, result, assembly)
            self.watch(self.progress)

    def _batches(self, *, alone: bool) -> Iterator[list[flow.Row]]:
        """Missing chunks in batches of predicted seconds: tracks in waves, the longest first in each.

        Waves let the first tracks be finished while later ones are spoken; inside a wave the long chunks go
        first, so that no replica is left with one at the end.
        """
        table = self.chunks.filter(pc.is_in(self.chunks["key"], pa.array(list(self.users), pa.string())))
        size = self.job.speak.batch
        wave: list[flow.Row] = []
        seen: set[str] = set()
        seconds = 0.0
        for _, rows in itertools.groupby(_rows(table), lambda row: row[0]):
            fresh = [row for _, row in rows if not (row["key"] in seen or seen.add(row["key"]))]  # type: ignore[func-returns-value]
            wave += fresh
            seconds += sum(row["predicted"] for row in fresh)
            if seconds >= WAVE * size * flow.replicas(self.job):
                yield from _packed(wave, 0.0 if alone else size)
                wave, seconds = [], 0.0
        yield from _packed(wave, 0.0 if alone else size)

    def _spoken(self, outcome: Outcome, assembly: flow.Assembly) -> None:
        key = outcome.key
        if key not in self.users:
            return
        if outcome.error:
            self.reasons[key] = outcome.error
            self.progress.takes_failed += 1
        else:
            self.progress.takes_done += 1
            self.progress.audio += outcome.seconds
        self.progress.seconds_done += self.predicted.get(key, 0.0)
        for name in self.users.pop(key):
            self.waiting[name].discard(key)
            if not self.waiting[name]:
                self._complete(name, assembly)

    def _complete(self, name: str, assembly: flow.Assembly) -> None:
        """All that can be spoken of a track is there: assemble it, unless just this was delivered before."""
        track = self.todo[name]
        keys = self.chunks.filter(pc.equal(self.chunks["track"], name))["key"].to_pylist() if self.reasons else []
        missing = {key: self.reasons[key] for key in keys if key in self.reasons}
        manifest = track.manifest or {}
        if manifest.get("plan") == track.digest and _lacking(manifest) == missing:
            track.state = "delivered"
            self.progress.tracks_done += 1
            return
        assembly.add(track, missing)

    def _assembled(self, track: Track, result: dict[str, Any], assembly: flow.Assembly) -> None:
        if "bad" in result:
            self.waiting[track.name] = set(result["bad"])
            for key in result["bad"]:
                self.users[key].append(track.name)
                self.store.delete(take_name(key))
        elif "error" in result:
            self.errors[track.name] = result["error"]
            self._withdraw(track.name, forbidden=result.get("forbidden", False))
            self.progress.tracks_failed += 1
        else:
            track.state = "delivered"
            self.figures[track.name] = result["figures"]
            self.progress.tracks_done += 1
            self.progress.programme += result["figures"]["seconds"]

    def _withdraw(self, name: str, *, forbidden: bool) -> None:
        """Takes of a voice that was revoked or blocked, or of a text that the rules forbid, go with their track.

        Those of other tracks stay, unless these have failed as well.
        """
        lists.reread()
        table = pq.read_table(self.rows, columns=["track", "voice", "key"])
        others = table.filter(pc.invert(pc.is_in(table["track"], pa.array([name, *self.errors], pa.string()))))
        rows = table.filter(pc.equal(table["track"], name))
        rows = rows.filter(pc.invert(pc.is_in(rows["key"], others["key"])))
        kept.withdraw(self.job, self.store, rows, [name] if forbidden else [])

    def summary(self) -> Summary:
        tracks = [
            {"title": t.title, "language": t.language, "state": t.state, "lines": t.lines, "utterances": t.utterances,
             **({"figures": self.figures[t.name]} if t.name in self.figures else {})}
            for t in self.tracks
        ]  # fmt: skip
        for row, track in zip(tracks, self.tracks, strict=True):
            if row["state"] == "todo":
                row["state"] = "failed"
            elif row["state"] == "delivered" and (track.problems or self._lost(track.name)):
                row["state"] = "partial"
        return Summary(
            job=self.job.name, tracks=tracks, failed=list(self._failures()), spoken=self.progress.takes_done,
            audio_seconds=round(self.progress.audio, 1), wall_seconds=round(self.progress.elapsed, 1),
        )  # fmt: skip

    def _lost(self, name: str) -> list[dict[str, Any]]:
        if not self.reasons or name not in self.waiting:
            return []
        rows = self.chunks.filter(pc.equal(self.chunks["track"], name)).to_pylist()
        return [row for row in rows if row["key"] in self.reasons]

    def _failures(self) -> Iterator[dict[str, Any]]:
        for track in self.tracks:
            where = {"title": track.title, "language": track.language}
            for problem in track.problems:
                yield {"stage": "plan", **where, **problem}
            for row in self._lost(track.name):
                yield {
                    "stage": "speak", **where, "file": track.file, "line": row["place"],
                    "utterance": row["utterance"], "text": row["text"],
                    "found": self.reasons[row["key"]], "expected": "speech",
                }  # fmt: skip
            if track.name in self.errors:
                yield {
                    "stage": "assemble",
                    **where,
                    "file": track.file,
                    "found": self.errors[track.name],
                    "expected": "a track",
                }


def _rows(table: pa.Table) -> Iterator[tuple[str, flow.Row]]:
    for batch in table.select(["title", *CHUNK]).to_batches():
        for row in batch.to_pylist():
            yield row.pop("title"), row


def _packed(rows: Sequence[flow.Row], size: float) -> Iterator[list[flow.Row]]:
    """The longest first, in batches of at least `size` predicted seconds."""
    batch: list[flow.Row] = []
    seconds = 0.0
    for row in sorted(rows, key=lambda row: (-row["predicted"], row["key"])):
        batch.append(row)
        seconds += row["predicted"]
        if seconds >= size:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


def _remember(job: Job) -> None:
    """Keep the versions of the signed lists: plans may have been made, and lists read, in other processes."""
    cloning.look(job)
    lists.remember(job)


def _alone(store: Store, job: Job, work: _Work, lock: Lock) -> None:
    """Raises ConfigError where another job is making one of these tracks: audio of one could meet the other's manifest.

    It looks once this run has said which tracks are its own: of two that start at once, one sees the other.
    """
    for other in lock.others():
        theirs = Trail(store, other).unfinished().get("tracks")
        shared = sorted(set(theirs) & set(work.todo)) if isinstance(theirs, dict) else []
        if shared and (holder := lock.holder(other)):
            raise ConfigError(
                f"output: found the track {shared[0]} in {job.output} made by two jobs, {job.name!r} and {other!r}, "
                f"which {holder} is running; expected one after the other, or an output for each"
            )


def _lacking(manifest: dict[str, Any]) -> dict[str, str] | None:
    """What a manifest says is missing: keys of takes, with the reasons; None where no run wrote what it says."""
    try:
        return {lost["key"]: lost["reason"] for lost in manifest["missing"]}
    except (KeyError, TypeError):
        return None
