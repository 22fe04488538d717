"""Takes to a track: timed, levelled, encoded, committed, block by block. Memory does not grow with the title."""

import hashlib
import tempfile
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import __version__, blocked, cloning, notice, ruled
from pipeline import fit as fitting
from pipeline.audio.clip import resample, stretch
from pipeline.audio.codec import Encoder
from pipeline.audio.delivery import RATES, Delivery
from pipeline.audio.level import Limiter, gain_db
from pipeline.audio.loudness import Meter
from pipeline.audio.take import decode_take
from pipeline.config import Job
from pipeline.marking import marked, verified
from pipeline.model import Utterance
from pipeline.parse import ConfigError
from pipeline.plan import FORMAT, TrackPlan, engine, mark
from pipeline.provenance import SIDECAR, Facts, sign
from pipeline.report.track import figures, subtitles
from pipeline.speak import take_name
from pipeline.spool import Spool
from pipeline.store import Store, pretty
from pipeline.watermark.payload import Payload

LEVEL_PASSES, LEVEL_TOLERANCE = 5, 0.1  # of a mix that must be limited; LU
LEAD_IN = 0.05  # seconds; more than any take keeps before its onset
AHEAD = 16  # utterances whose takes are fetched before they are needed


class BadTakes(Exception):
    """Takes that are missing or damaged: they must be spoken again before the track can be made."""

    def __init__(self, keys: list[str]):
        super().__init__(f"{len(keys)} takes are missing or damaged")
        self.keys = keys


@dataclass(slots=True)
class Voiced:
    """An utterance with its audio at the engine's rate; `missing` names the chunks that have none."""

    utterance: Utterance
    samples: np.ndarray
    lead: int = 0  # samples before the onset of speech
    rate: float = 1.0
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Placed:
    """An utterance where it lies in the track, in samples of the delivery."""

    utterance: Utterance
    start: int
    length: int
    onset: int
    stretch: float = 1.0
    overrun: int = 0
    natural: int = 0
    rate: float = 1.0
    missing: list[str] = field(default_factory=list)


def assemble(job: Job, track: TrackPlan, missing: dict[str, str], store: Store) -> dict[str, Any]:
    """Make and commit one track; `missing` maps keys of chunks that could not be spoken to the reasons.

    Returns the track's figures. Raises BadTakes, Unmarked, ConsentError, StoreError. The track exists once its manifest
    does: an older one goes first, the new one comes last.
    """
    delivery = file_format(job)
    audio = f"dub{delivery.extension}"
    with (
        tempfile.TemporaryDirectory(prefix="dub-", dir=store.workplace()) as folder,
        Spool(Path(folder) / "mix") as mix,
        Spool(Path(folder) / "marked") as spool,
    ):
        placed = list(_mix(job, track, missing, store, delivery.rate, mix))
        if not any(p.length for p in placed):
            raise ValueError("not one of its utterances could be spoken")
        meter = Meter(delivery.rate)
        for block in marked(mix.blocks(), delivery.rate, job, track.digest):
            meter.add(spool.append(block))
        meter.add(_padding(spool, delivery.rate))
        level = _write(Path(folder) / audio, spool, meter, delivery, job, _tags(track, job))
        spoken = sum(p.length for p in placed) / delivery.rate
        encoded = Path(folder) / audio
        level["watermark_p"] = verified(encoded, spool.blocks(), delivery.rate, spoken, job, track.digest)
        report = figures(track, placed, level, delivery.rate, spool.length)
        files = {audio: Path(folder) / audio}
        for name, data in (("dub.srt", subtitles(placed, delivery.rate)), ("report.json", pretty(report))):
            files[name] = Path(folder) / name
            files[name].write_bytes(data)
        if sidecar := _signed(encoded, job, track):
            files[sidecar.name] = sidecar
        cloning.allowed(job, dict(track.voices).values(), track.title, track.language)  # much may have changed by now
        heard = _heard(job, track, missing, store)
        _commit(job, track, files, missing, heard, store)
    return {**report["figures"], "flags": report["flags"]}


def _heard(job: Job, track: TrackPlan, missing: dict[str, str], store: Store) -> dict[str, int]:
    """Cloned voice -> how many of its takes were held against the blocklist. Raises BlocklistError."""
    chunks = [c for u in track.utterances for c in u.chunks if c.key not in missing]
    voices = cloning.cloned(job, {chunk.voice for chunk in chunks})
    return {v: blocked.check_takes(job, v, [c for c in chunks if c.voice == v], store) for v in voices}


def file_format(job: Job) -> Delivery:
    """The job's delivery as the encoder takes it. Raises ConfigError for a combination that no encoder has."""
    wanted = job.delivery
    try:
        return Delivery(format=wanted.format, rate=wanted.rate, bits=wanted.bits, bitrate=wanted.bitrate)
    except ValueError as error:
        raise ConfigError(f"delivery.{error}") from error


def _mix(
    job: Job, track: TrackPlan, missing: dict[str, str], store: Store, rate: int, spool: Spool
) -> Iterator[Placed]:
    """Put every utterance onto the spool, in time order. Overlaps add at full level."""
    pending = np.zeros(0, np.float32)  # from `done` on: still open to utterances that start before its end
    done = cursor = 0
    for voiced in _voiced(track, missing, store):
        start = voiced.utterance.start
        begin = round(start * rate) if start is not None else cursor
        clip, placed = _fitted(voiced, begin, rate, job)
        if clip.size:
            # No later utterance reaches further back than its lead-in: what lies before is settled.
            settled = max(done, placed.start - round(LEAD_IN * rate))
            cut = min(settled - done, pending.size)
            spool.append(pending[:cut])
            spool.skip(settled - done - cut)
            pending, done = pending[cut:], settled
            shift = placed.start - done
            grown = np.zeros(max(pending.size, shift + clip.size), np.float32)
            grown[: pending.size] = pending
            grown[shift : shift + clip.size] += clip
            pending = grown
        cursor = max(cursor, placed.start + placed.length) + round(fitting.UNTIMED_PAUSE * rate)
        yield placed
    spool.append(pending)
    if track.programme is not None:
        spool.skip(round(track.programme * rate) - spool.length)


def _padding(spool: Spool, rate: int) -> np.ndarray:
    """The silence after a track that is shorter than the 0.4 s which loudness is measured over."""
    return np.zeros(max(0, 4 * round(rate / 10) - spool.length), np.float32)


def _fitted(voiced: Voiced, begin: int, rate: int, job: Job) -> tuple[np.ndarray, Placed]:
    utterance, own_rate = voiced.utterance, engine(job).sample_rate
    natural = round(voiced.samples.size * rate / own_rate)
    if not natural:
        return voiced.samples, Placed(utterance, begin, 0, begin, missing=voiced.missing)
    window = round(utterance.window * rate) if utterance.window is not None else None
    spot = fitting.place(start=begin, natural=natural, window=window, fit=job.fit)
    clip = voiced.samples
    if spot.stretch > 1:
        clip = stretch(clip, own_rate, spot.stretch)
    clip = resample(clip, own_rate, rate)
    lead = round(voiced.lead / spot.stretch * rate / own_rate)
    start = max(0, begin - lead)
    onset = start + _onset(clip)
    return clip, Placed(
        utterance, start, clip.size, onset, stretch=spot.stretch, overrun=spot.overrun, natural=natural,
        rate=voiced.rate, missing=voiced.missing,
    )  # fmt: skip


def _onset(clip: np.ndarray) -> int:
    """The first sample within 50 dB of the clip's peak: where speech is heard to begin."""
    loud = np.abs(clip)
    return int(np.argmax(loud > loud.max(initial=0.0) * 10 ** (-50 / 20)))


def _voiced(track: TrackPlan, missing: dict[str, str], store: Store) -> Iterator[Voiced]:
    """The audio of every utterance, fetched ahead. Raises BadTakes once all have been looked at."""
    bad: list[str] = []
    queue: deque[Future[Voiced | list[str]]] = deque()
    todo = iter(track.utterances)
    with ThreadPoolExecutor(1 if store.local else AHEAD) as pool:
        while True:
            while len(queue) < AHEAD and (utterance := next(todo, None)) is not None:
                queue.append(pool.submit(_voice, utterance, missing, store))
            if not queue:
                break
            found = queue.popleft().result()
            if isinstance(found, list):
                bad += found
            elif not bad:
                yield found
    if bad:
        raise BadTakes(bad)


def _voice(utterance: Utterance, missing: dict[str, str], store: Store) -> Voiced | list[str]:
    """The chunks of an utterance, with pauses between them; or the keys of takes that cannot be used."""
    parts: list[np.ndarray] = []
    lead, fastest, gap, bad = 0, 1.0, 0.0, []
    gaps = fitting.pauses([chunk.text for chunk in utterance.chunks])
    for chunk, pause in zip(utterance.chunks, gaps, strict=True):
        if chunk.key in missing:
            continue
        try:
            samples, rate, tags = decode_take(store.read(take_name(chunk.key)))
            before, used = int(tags["LEAD"]), float(tags["RATE"])
            if tags["KEY"] != chunk.key:
                raise ValueError("the take of another chunk")
        except (ValueError, KeyError, FileNotFoundError):
            bad.append(chunk.key)
            continue
        lead = lead if parts else before
        fastest = max(fastest, used)
        parts += [np.zeros(round(gap * rate), np.float32), samples] if parts else [samples]
        gap = pause
    if bad:
        return bad
    lost = [chunk.key for chunk in utterance.chunks if chunk.key in missing]
    return Voiced(utterance, np.concatenate(parts or [np.zeros(0, np.float32)]), lead, fastest, lost)


def _write(path: Path, spool: Spool, meter: Meter, delivery: Delivery, job: Job, tags: dict[str, str]) -> dict:
    """Bring the mix to the delivery's level and encode it; the loudness and true peak of what is written."""
    gain = gain_db(meter.integrated(), job.delivery.loudness)
    level = {"loudness": meter.integrated() + gain, "true_peak": meter.true_peak() + gain}
    limited = level["true_peak"] > job.delivery.true_peak
    if limited:
        gain, level = _limited_gain(spool, gain, delivery.rate, job)
    with Encoder(path, delivery, tags) as encoder:
        for block in _levelled(spool, gain, delivery.rate, job.delivery.true_peak if limited else None):
            encoder.write(block)
    return {**level, "gain": gain, "limited": limited}


def _levelled(spool: Spool, gain: float, rate: int, ceiling: float | None) -> Iterator[np.ndarray]:
    """The mix with `gain` dB, kept under `ceiling` dBTP where there is one."""
    factor = np.float32(10 ** (gain / 20))
    if ceiling is None:
        yield from (block * factor for block in spool.blocks())
        return
    limiter = Limiter(rate, ceiling)
    for block in spool.blocks():
        yield limiter.process(block * factor)
    yield limiter.flush()


def _limited_gain(spool: Spool, gain: float, rate: int, job: Job) -> tuple[float, dict[str, float]]:
    """The gain at which the limited mix has the delivery's loudness: what the limiter takes away is added again."""
    level: dict[str, float] = {}
    for _ in range(LEVEL_PASSES):
        meter = Meter(rate)
        for block in _levelled(spool, gain, rate, job.delivery.true_peak):
            meter.add(block)
        meter.add(_padding(spool, rate))
        level = {"loudness": meter.integrated(), "true_peak": meter.true_peak()}
        short = gain_db(level["loudness"], job.delivery.loudness)
        if abs(short) < LEVEL_TOLERANCE:
            return gain, level
        best, gain = gain, gain + short
    return best, level


def _tags(track: TrackPlan, job: Job) -> dict[str, str]:
    identity = engine(job).identity()
    return {
        "title": track.title,
        "language": track.language,
        "comment": f"Synthetic speech by {identity['engine']} {identity['version']}; track {track.digest[:16]}",
    }


def _signed(file: Path, job: Job, track: TrackPlan) -> Path | None:
    """Sign what the file is (C2PA), in it or beside it: then the path of the sidecar."""
    if job.certificate is None:
        return None
    identity = engine(job).identity()
    payload = Payload.of(job.key, track.digest).hex() if job.key else ""
    facts = Facts(title=track.title, language=track.language, engine=str(identity["engine"]),
                  engine_version=str(identity["version"]), track=track.digest, payload=payload)  # fmt: skip
    return sign(file, facts, job.certificate)


def _disclosed(job: Job, names: Collection[str], track: TrackPlan, missing: dict[str, str]) -> str | dict[str, Any]:
    """How a track says that it is synthetic, beside its tags, as manifests say it."""
    if job.certificate is None or job.disclosure is None:
        return "off"
    lost = any(c.key in missing for u in track.utterances if u.id == notice.ID for c in u.chunks)
    beside = any(name.endswith(SIDECAR) for name in names)
    return {"c2pa": "sidecar" if beside else "embedded", "certificate": job.certificate.name,
            "notice": bool(job.disclosure.notice) and not lost}  # fmt: skip


def _commit(
    job: Job, track: TrackPlan, files: dict[str, Path], missing: dict[str, str], heard: dict[str, int], store: Store
) -> None:
    facts = [
        {"name": name, "bytes": path.stat().st_size, "sha256": _sha256(path)} for name, path in sorted(files.items())
    ]
    lost = [
        {"utterance": u.id, "place": u.place, "key": c.key, "text": c.text, "reason": missing[c.key]}
        for u in track.utterances for c in u.chunks if c.key in missing
    ]  # fmt: skip
    manifest = {
        "format": FORMAT,
        "made_by": f"dubline {__version__}",
        "title": track.title,
        "language": track.language,
        "plan": track.digest,
        "script": {"name": track.script, "sha256": track.sha256},
        "engine": engine(job).identity(),
        "voices": dict(track.voices),
        "delivery": job.delivery.model_dump(),
        "fit": job.fit.model_dump(),
        "watermark": mark(job, track.digest),
        "consents": "off" if track.consents is None else [{"voice": v, "consent": c} for v, c in track.consents],
        "blocklist": blocked.state(job, bool(heard)),
        "takes_heard": heard,
        "rules": ruled.state(job, track.language, track.rulings),
        "disclosure": _disclosed(job, files, track, missing),
        "missing": lost,
        "files": facts,
    }
    name = f"{track.name}/manifest.json"
    store.delete(name)
    for file in sorted(_ours(store, track.name) - set(files)):  # no file of another format stays beside a manifest
        store.delete(f"{track.name}/{file}")
    for file, path in files.items():
        store.put(path, f"{track.name}/{file}")
    store.write(name, pretty(manifest), sync=True)


def _ours(store: Store, track: str) -> set[str]:
    """The audio files of a track's folder, with their sidecars, whatever format they have: nothing else is touched."""
    audio = {f"dub.{format}" for format in RATES}
    return {
        name for path in store.sizes(track) if (name := path.removeprefix(f"{track}/")).removesuffix(SIDECAR) in audio
    }


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def delivered(manifest: Any, plan: str, sizes: dict[str, int]) -> bool:
    """Whether a track is finished as planned: nothing missing, and every file there in its size."""
    return whole(manifest, sizes) and manifest.get("plan") == plan and not manifest.get("missing")


def whole(manifest: Any, sizes: dict[str, int]) -> bool:
    """Whether every file that a manifest names is there in its size."""
    files = manifest.get("files") if isinstance(manifest, dict) else None
    return isinstance(files, list) and all(
        isinstance(file, dict) and "bytes" in file and sizes.get(str(file.get("name"))) == file["bytes"]
        for file in files
    )
