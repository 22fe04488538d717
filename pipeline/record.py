"""What a run leaves in writing besides its tracks: the summary, the list of failures, entries of the audit trail."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.audit import ENDED, STARTED, Trail
from pipeline.config import Job
from pipeline.store import Store, pretty
from pipeline.survey import Track


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run leaves behind. `failed` rows name stage, title, language, file, line, found, expected."""

    job: str
    tracks: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    spoken: int = 0
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0
    idle: bool = False  # nothing was left to do, nothing was written

    @property
    def exit_code(self) -> int:
        return 3 if self.failed else 0


def write_if_new(store: Store, summary: Summary) -> bool:
    """Write the summary and the list of failures, unless they say what the store's do. Whether it wrote."""
    folder = f"jobs/{summary.job}"
    failed = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in summary.failed)
    try:
        same = store.read(f"{folder}/failed.jsonl") == failed
    except FileNotFoundError:
        same = False
    if same and not summary.spoken and _told(store.read_json(f"{folder}/summary.json")) == _states(summary.tracks):
        return False
    store.write(f"{folder}/failed.jsonl", failed)
    facts = {k: v for k, v in asdict(summary).items() if k not in ("failed", "idle")}
    store.write(f"{folder}/summary.json", pretty({**facts, "failures": len(summary.failed)}))
    return True


def enter_start(store: Store, job: Job, todo: Mapping[str, Track], missed: Mapping[str, str]) -> None:
    """That a run makes these tracks; and what one before it delivered that was cut off before it could enter that."""
    about: dict[str, Any] = {"tracks": {name: track.digest for name, track in todo.items()}}
    if missed:
        about["delivered"] = dict(missed)
    Trail(store, job.name).add(STARTED, **_checks(job), **about)


def enter_end(store: Store, job: Job, delivered: Mapping[str, str], summary: Summary) -> None:
    """What was delivered, by the digests of the plans as manifests name them, and what was not, with the reasons."""
    lost = [{key: row.get(key) for key in ("stage", "title", "language", "line", "found")} for row in summary.failed]
    Trail(store, job.name).add(ENDED, **_checks(job), delivered=dict(delivered), refused=lost)


def missed(store: Store, started: Mapping[str, Any], tracks: Sequence[Track]) -> dict[str, str]:
    """What a run delivered that was cut off before it could enter it: tracks of which the manifest names its plan.

    `started` is what its entry of the start is about.
    """
    planned, held = started.get("tracks"), {track.name: track.manifest for track in tracks}
    found = {}
    for name, digest in planned.items() if isinstance(planned, dict) else ():
        manifest = held.get(name) or store.read_json(f"{name}/manifest.json")  # it may be in no catalogue any more
        if isinstance(manifest, dict) and manifest.get("plan") == digest:
            found[name] = digest
    return found


def _checks(job: Job) -> dict[str, str]:
    """Which safeguards are on; what is switched off stands in the audit trail."""
    names = ("watermark", "consent", "blocklist", "rules", "disclosure")
    return {name: "off" if getattr(job, name) is None else "on" for name in names}


def _told(summary: Any) -> list[tuple[str, str, str]] | None:
    """The states of the tracks in a summary of the store; None for what is none."""
    try:
        return _states(summary["tracks"])
    except (KeyError, TypeError):
        return None


def _states(tracks: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(track["title"], track["language"], track["state"]) for track in tracks]
