"""Tracks that are made without Ray: speak and assemble in this process."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.assemble import assemble
from pipeline.audio.codec import decode
from pipeline.catalogue import read_catalogue
from pipeline.config import Job, load_job
from pipeline.engines import open_engine
from pipeline.plan import TrackPlan, plan
from pipeline.speak import Outcome, speak
from pipeline.store import Store

RATE = 48000
LINES = (
    "The lamp is out again.",
    "Somebody went up the stairs.",
    "Nobody comes here in March.",
    "Give me the lantern.",
)


def planned(path: Path) -> tuple[Job, TrackPlan]:
    job = load_job(str(path))
    (track,) = plan(job, read_catalogue(job))
    assert not track.errors, track.errors
    return job, track


def spoken(job: Job, track: TrackPlan) -> list[Outcome]:
    chunks = [chunk for utterance in track.utterances for chunk in utterance.chunks]
    return list(speak(chunks, open_engine(job.engine.name, job.engine.options), Store(job.output)))


class Made:
    """A track that was made: its plan and everything that lies in its folder."""

    def __init__(self, path: Path, missing: dict[str, str] | None = None):
        self.job, self.track = planned(path)
        failed = [outcome for outcome in spoken(self.job, self.track) if outcome.error]
        assert not failed
        self.facts = assemble(self.job, self.track, missing or {}, Store(self.job.output))
        self.folder = Path(self.job.output) / self.track.name
        self.manifest = json.loads((self.folder / "manifest.json").read_text())
        self.report = json.loads((self.folder / "report.json").read_text())
        self.figures = self.report["figures"]

    def audio(self, rate: int | None = None) -> np.ndarray:
        return decode(self.folder / f"dub.{self.job.delivery.format}", rate)[0]


Make = Callable[..., Made]
