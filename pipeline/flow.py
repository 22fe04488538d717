"""Plan, speak and assemble on the cluster: the only file that imports Ray."""

import contextlib
import logging
import os
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa
import ray

from pipeline.assemble import BadTakes, assemble
from pipeline.cloning import note, refusal
from pipeline.config import Job, Title, environment
from pipeline.model import Chunk
from pipeline.parse import ConfigError
from pipeline.plan import engine, plan_track
from pipeline.speak import Outcome, speak
from pipeline.store import Store, StoreError

Row = dict[str, Any]
OUTCOMES = pa.schema([("key", pa.string()), ("seconds", pa.float64()), ("error", pa.string())])


@contextlib.contextmanager
def cluster(job: Job, address: str | None) -> Iterator[None]:
    """Ray for the time of a job: what this process is connected to, the cluster at `address`, or a local one."""
    if ray.is_initialized():
        yield
        return
    _quiet()
    remote = address or os.environ.get("RAY_ADDRESS")
    try:
        with _muted():
            ray.init(
                address=remote,
                include_dashboard=None if remote else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": environment(job)} if remote else None,
            )
    except Exception as error:  # Ray raises every kind, down to Exception itself
        if remote:
            raise ConfigError(f"--address: found {remote!r} ({error}), expected a running Ray cluster") from error
        raise ConfigError(
            f"Ray did not start on this machine: {error}; its logs lie in ray's temporary folder"
        ) from error
    try:
        if not remote:  # a cluster may grow; this machine will not
            _check_room(job)
        yield
    finally:
        ray.shutdown()


def _check_room(job: Job) -> None:
    """Refuse a replica that would wait for ever for what is not there."""
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for kind, wanted in (("CPU", job.speak.cpus), ("GPU", job.speak.gpus)):
        if wanted > have.get(kind, 0):
            raise ConfigError(
                f"speak.{kind.lower()}s: found {wanted:g} for a replica, expected at most the {have.get(kind, 0):g} "
                f"{kind}s of this machine; --address runs on a cluster"
            )


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Silence for what Ray's libraries write to the error stream past Python; its errors are raised as well."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _quiet() -> None:
    """Keep Ray's own warnings and tracebacks in its log files: what concerns the job, the job says itself."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # max_restarts and max_task_retries have no other way into a pool in this version.
    warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="ray.*")


@ray.remote(num_cpus=0)
class Roll:
    """Who works in the pool, so that they can be dismissed.

    Ray Data lets go of a pool by forgetting it. A replica that was restarted after a crash stays, with its CPU or
    GPU, for as long as a traceback in some log record remembers it, and assembly would wait for that CPU for ever.
    """

    def __init__(self) -> None:
        self.replicas: list[Any] = []

    def sign(self, replica: Any) -> None:
        self.replicas.append(replica)

    def dismiss(self) -> None:
        while self.replicas:
            ray.kill(self.replicas.pop())


class Replica:
    """An actor of the pool: one engine. It writes takes to the store and returns what became of them."""

    def __init__(self, job: Job, roll: Any):
        ray.get(roll.sign.remote(ray.get_runtime_context().current_actor))
        self.store = Store(job.output, job.storage_options)
        self.refusal = partial(refusal, job)
        try:
            self.engine = engine(job)
            self.engine.load()
        except Exception as error:
            raise ConfigError(f"engine: {job.engine.name!r} cannot be loaded on a worker: {error}") from error

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        for chunks in batch["chunks"].to_pylist():
            outcomes = speak([Chunk(**chunk) for chunk in chunks], self.engine, self.store, self.refusal)
            yield pa.Table.from_pylist([asdict(outcome) for outcome in outcomes], OUTCOMES)


def speaking(job: Job, batches: Sequence[Sequence[Row]], ahead: int = 2) -> Iterator[Outcome]:
    """Speak batches of chunks on the pool, with `ahead` of them on their way to each replica.

    A replica that dies gives no outcome for any batch on its way: with `ahead` 1 that is the guilty one alone.
    """
    from ray.data import ActorPoolStrategy, DataContext, from_arrow  # a second, which workers that assemble do without

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its import sets another; see _quiet
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = job.speak.no_progress
    # A dead replica costs its batch, not the job: the driver sees which takes did not come back. Ray's own
    # retries have no such limit and would give a line that kills the process to one replica after another.
    context.max_errored_blocks = -1
    tables = [pa.table({"chunks": [list(batch)]}, pa.schema([("chunks", CHUNKS)])) for batch in batches]
    roll = Roll.remote()  # type: ignore[attr-defined]
    outcomes = from_arrow(tables).map_batches(
        Replica,
        fn_constructor_args=(job, roll),
        batch_size=1,  # a row is a batch
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=min(replicas(job), len(batches)), max_tasks_in_flight_per_actor=ahead),
        num_cpus=job.speak.cpus,
        num_gpus=job.speak.gpus or None,
        max_restarts=-1,
        max_task_retries=0,
    )
    table: Any
    try:
        for table in outcomes.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from (Outcome(**row) for row in table.to_pylist())
    except (ray.exceptions.RayError, TimeoutError) as error:
        raise ConfigError(_cause(error)) from error
    finally:
        ray.get(roll.dismiss.remote())


CHUNKS = pa.list_(
    pa.struct(
        [("key", pa.string()), ("text", pa.string()), ("language", pa.string()), ("voice", pa.string()),
         ("direction", pa.string()), ("target", pa.float64()), ("max_rate", pa.float64()),
         ("predicted", pa.float64())]
    )
)  # fmt: skip


def _cause(error: Exception) -> str:
    """What a replica said when it could not start, out of the tracebacks that Ray wraps around it."""
    rows = [row.strip() for row in str(error).splitlines() if row.strip()]
    told = next((row for row in reversed(rows) if "cannot be loaded on a worker" in row), rows[-1])
    return told.partition("ConfigError: ")[2] or f"speaking stopped: {told}"


def cpus() -> int:
    """CPUs of the cluster."""
    return int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]


def replicas(job: Job) -> int:
    """How many replicas the job runs: as many as it says, else one for each GPU share, else one for each CPU but one,
    which is left to assembly."""
    if job.speak.replicas:
        return job.speak.replicas
    if job.speak.gpus:
        return max(1, int(ray.cluster_resources().get("GPU", 0) / job.speak.gpus))  # type: ignore[no-untyped-call]
    return max(1, cpus() - 1)


@ray.remote(num_cpus=1, max_retries=3)
def _assemble(job: Job, title: Title, language: str, digest: str, missing: dict[str, str]) -> Row:
    """Assemble one track on a worker. It plans the track anew, which is cheaper than to send it."""
    result = _assembled(job, title, language, digest, missing)
    note(job)
    return result


def _assembled(job: Job, title: Title, language: str, digest: str, missing: dict[str, str]) -> Row:
    track = plan_track(job, title, language)
    if not track.utterances:  # refused meanwhile
        return {"error": "; ".join(str(problem) for problem in track.errors), "forbidden": track.forbidden}
    if track.digest != digest:
        return {"error": "its script changed while the job ran; run the job again"}
    try:
        return {"figures": assemble(job, track, missing, Store(job.output, job.storage_options))}
    except BadTakes as error:
        return {"bad": error.keys}
    except (StoreError, FileNotFoundError, ValueError) as error:
        return {"error": str(error)}


class Assembly:
    """Tracks on their way through assembly, as many at once as the cluster has CPUs."""

    def __init__(self, job: Job, titles: dict[str, Title]):
        self.job, self.titles = job, titles
        self.waiting: deque[tuple[Any, dict[str, str]]] = deque()
        self.running: dict[Any, Any] = {}
        self.limit = max(2, cpus())

    def add(self, track: Any, missing: dict[str, str]) -> None:
        self.waiting.append((track, missing))

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def step(self, timeout: float) -> Iterator[tuple[Any, Row]]:
        """Start what may start, wait up to `timeout` seconds, and give out the tracks that ended."""
        while self.waiting and len(self.running) < self.limit:
            track, missing = self.waiting.popleft()
            arguments = (self.job, self.titles[track.title], track.language, track.digest, missing)
            self.running[_assemble.remote(*arguments)] = track
        if not self.running:
            return
        for ref in ray.wait(list(self.running), timeout=timeout)[0]:
            track = self.running.pop(ref)
            try:
                yield track, ray.get(ref)
            except ray.exceptions.RayError as error:
                yield track, {"error": f"its worker died: {str(error).splitlines()[0]}"}


class Stream:
    """The outcomes of a speaking pool, read in a thread so that the driver can assemble meanwhile."""

    def __init__(self, job: Job, batches: Sequence[Sequence[Row]], ahead: int = 2):
        self._queue: queue.Queue[Outcome | None] = queue.Queue()
        self._error: BaseException | None = None
        self.done = not batches
        if batches:
            threading.Thread(target=self._read, args=(lambda: speaking(job, batches, ahead),), daemon=True).start()

    def _read(self, outcomes: Callable[[], Iterator[Outcome]]) -> None:
        try:
            for outcome in outcomes():
                self._queue.put(outcome)
        except BaseException as error:  # handed to the driver's thread
            self._error = error
        self._queue.put(None)

    def take(self, timeout: float) -> Iterator[Outcome]:
        """The outcomes that have come in; waits up to `timeout` seconds for the first."""
        with contextlib.suppress(queue.Empty):
            while not self.done:
                outcome = self._queue.get(timeout=timeout)
                timeout = 0.0
                if outcome is None:
                    self.done = True
                    if self._error:
                        raise self._error
                    return
                yield outcome
