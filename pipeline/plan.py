"""Catalogue to plan: every take that a job needs and where it will sit. Pure, cheap, always recomputed."""

import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import posixpath
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from pipeline import blocked, cloning, notice, ruled
from pipeline import fit as fitting
from pipeline.audio.codec import duration
from pipeline.config import Job, Title
from pipeline.engines import Engine, clones, open_engine
from pipeline.model import Chunk, InputError, Line, Problem, Utterance
from pipeline.parse import ConfigError
from pipeline.readers import read_script
from pipeline.safety.blocklist import BlocklistError
from pipeline.store import Store, StoreError, canonical, digest, read_file
from pipeline.text.chunk import split
from pipeline.text.directions import Direction
from pipeline.text.join import join
from pipeline.text.languages import match
from pipeline.text.markup import turns
from pipeline.text.pace import predict
from pipeline.watermark.payload import VERSIONS, Payload

FORMAT = 1  # of takes and tracks: raise it when the same inputs shall give other bytes
PARALLEL = 32  # tracks from which planning is spread over processes


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPlan:
    """What one title in one language needs. Without utterances it cannot be made; the problems say why."""

    title: str
    language: str
    lines: int = 0
    utterances: tuple[Utterance, ...] = ()
    problems: tuple[Problem, ...] = ()
    voices: tuple[tuple[str, str], ...] = ()  # speaker, voice
    rulings: tuple[ruled.Ruling, ...] = ()  # rules that the script meets and is spoken all the same
    consents: tuple[tuple[str, str], ...] | None = ()  # cloned voice, id of its consent; None: they were not asked for
    file: str = ""  # URL of the script
    sha256: str = ""  # of the script's bytes
    programme: float | None = None  # seconds of the title's media
    forbidden: bool = False  # refused by the rules
    digest: str = ""  # of everything that shapes the track

    @property
    def name(self) -> str:
        return f"{self.title}/{self.language}"

    @property
    def script(self) -> str:
        """Name of the script, without its folder: outputs do not depend on where the inputs lie."""
        return self.file.rsplit("/", 1)[-1]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.level == "error"]


def plan(job: Job, titles: Sequence[Title]) -> Iterator[TrackPlan]:
    """The plan of every track of a job, in the catalogue's order."""
    engine(job)  # a wrong engine is an error before anything starts
    blocked.ready(job)
    known = {language for title in titles for language in [*title.scripts, *(title.languages or [])]}
    for language in job.languages or []:
        if language not in known:
            raise ConfigError(
                f"languages: found {language!r}, expected one of the catalogue's: {', '.join(sorted(known))}"
            )
    tasks = [(job, title, language) for title in titles for language in languages(job, title)]
    cpus = len(os.sched_getaffinity(0))
    if len(tasks) < PARALLEL or cpus == 1:
        yield from map(plan_track, *zip(*tasks, strict=True)) if tasks else ()
        return
    # Not fork: the object store's client has a thread of its own.
    with ProcessPoolExecutor(min(cpus, 16), mp_context=multiprocessing.get_context("spawn")) as pool:
        with _deaf():  # map submits at once, and that starts the processes
            found = pool.map(plan_track, *zip(*tasks, strict=True), chunksize=4)
        yield from found


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C, which a terminal sends to all: this one ends them, and says so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heard)


def languages(job: Job, title: Title) -> list[str]:
    """The languages of a title that the job asks for."""
    wanted = dict.fromkeys(title.languages or title.scripts)
    return [language for language in wanted if job.languages is None or language in job.languages]


def engine(job: Job) -> Engine:
    """The job's engine, opened once a process. Raises ConfigError."""
    try:
        return _engine(job.engine.name, _options(job))
    except TypeError as error:  # YAML reads 2026-03-01 as a date
        raise ConfigError(f"engine.options: {error}, expected text (write it in quotes), numbers, lists") from error
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _options(job: Job) -> str:
    """The engine's options as JSON; with the store's, where it reads clips: the checks read them by the same."""
    options = job.engine.options
    if options.get("voices") and clones(job.engine.name):
        if "storage_options" in options:
            raise ValueError("engine.options.storage_options: found it there, expected the job's storage_options alone")
        options = {**options, "storage_options": job.storage_options}
    return json.dumps(options, sort_keys=True)


def notes(job: Job) -> list[str]:
    """What the engine wants known before a job starts: its licence, what a replica needs."""
    found = engine(job)
    return list(found.notes()) if hasattr(found, "notes") else []


@functools.cache
def _engine(name: str, options: str) -> Engine:
    return open_engine(name, json.loads(options))


def plan_track(job: Job, title: Title, language: str) -> TrackPlan:
    """Plan one title in one language. Never raises for bad input: the problems are in the plan."""
    try:
        return _plan_track(job, title, language)
    except InputError as error:
        return TrackPlan(title=title.id, language=language, problems=(error.problem,))
    except (StoreError, FileNotFoundError) as error:
        url = title.scripts[language].url if language in title.scripts else job.catalogue
        problem = Problem(file=url, found=str(error), expected="a file that can be read")
        return TrackPlan(title=title.id, language=language, problems=(problem,))


def _plan_track(job: Job, title: Title, language: str) -> TrackPlan:
    speaker = engine(job)
    tag = match(language, speaker.languages())
    if tag is None:
        raise _refuse(job.catalogue, f"language {language!r} in title {title.id!r}",
                      f"one that the engine {job.engine.name} speaks; `dub languages` lists them")  # fmt: skip
    source = title.scripts.get(language)
    if source is None:
        raise _refuse(job.catalogue, f"no script for {language!r} in title {title.id!r}",
                      f"one of its scripts: {', '.join(title.scripts)}")  # fmt: skip
    data = read_file(source.url, job.storage_options)
    script = read_script(source.url, data, encoding=source.encoding)
    problems = list(script.problems)
    spoken = spoken_of(script.lines, {name.upper() for name in title.cast}, job.descriptions)
    if not spoken:
        raise _refuse(source.url, f"{len(script.lines)} lines with nothing to speak", "at least one spoken line")
    spoken = [*_notice(spoken, language, tag, job), *spoken]
    joined = join(spoken, language)
    sha256 = hashlib.sha256(data).hexdigest()
    met, rulings = ruled.rule(joined, language, job, source.url, sha256)
    problems += met
    if any(problem.level == "error" for problem in met):
        return TrackPlan(title=title.id, language=language, problems=tuple(problems), file=source.url, forbidden=True)
    programme = _programme(title, job)
    utterances = fitting.windows(joined, job.fit, programme)
    voices = _cast(sorted({u.speaker for u in utterances}), title, job, speaker)
    agreed = _agreed(voices, title, language, job)
    problems += _undirected(utterances, job, speaker, source.url)
    utterances = [_chunked(u, tag, voices[u.speaker], job, speaker) for u in utterances]
    draft = TrackPlan(
        title=title.id, language=language, lines=len(spoken), utterances=tuple(utterances), problems=tuple(problems),
        voices=tuple(sorted(voices.items())), consents=agreed, file=source.url,
        sha256=sha256, programme=programme, rulings=tuple(rulings),
    )  # fmt: skip
    return replace(draft, digest=_digest(draft, job, speaker))


def _notice(lines: Sequence[Line], language: str, tag: str, job: Job) -> list[Line]:
    """The spoken notice before the first line, where the job wants one."""
    try:
        found = notice.line(list(lines), job.disclosure.notice if job.disclosure else False, language, tag)
    except KeyError:
        raise _refuse(job.catalogue, f"no text of the notice for the language {language!r}",
                      f"one in the job file: disclosure.notice, {{{language}: ...}}") from None  # fmt: skip
    if found and not turns(found.text):
        raise _refuse(job.catalogue, f"a notice for the language {language!r} with nothing to speak, {found.text!r}",
                      "words under disclosure.notice in the job file")  # fmt: skip
    return [found] if found else []


def _refuse(file: str, found: str, expected: str) -> InputError:
    return InputError(Problem(file=file, found=found, expected=expected))


def spoken_of(lines: Sequence[Line], names: set[str], descriptions: bool) -> list[Line]:
    """What is spoken of the lines: one line a turn; turns of one line share its time by length."""
    found: list[Line] = []
    for line in lines:
        parts = turns(line.text, names=names, descriptions=descriptions)
        if len(parts) == 1 and parts[0].text == line.text and parts[0].speaker is None:
            found.append(line)
            continue
        total, start = sum(len(part.text) for part in parts), line.start
        for part in parts:
            end = line.end
            if start is not None and line.start is not None and line.end is not None and part is not parts[-1]:
                end = round(start + (line.end - line.start) * len(part.text) / total, 3)
            speaker = line.speaker if part.speaker is None else part.speaker
            found.append(replace(line, text=part.text, speaker=speaker, start=start, end=end))
            start = end
    return found


def _programme(title: Title, job: Job) -> float | None:
    return _duration(title.media, json.dumps(job.storage_options, sort_keys=True)) if title.media else None


@functools.lru_cache(maxsize=64)
def _duration(url: str, options: str) -> float:
    folder, name = posixpath.split(url)
    try:
        with Store(folder, json.loads(options)).open(name) as file:
            return duration(file)
    except (StoreError, FileNotFoundError) as error:
        raise _refuse(url, str(error), "the title's media") from error
    except ValueError as error:
        raise _refuse(url, str(error), "audio or video with a known length") from error


def _cast(speakers: Sequence[str], title: Title, job: Job, speaker: Engine) -> dict[str, str]:
    """A voice for every speaker: the cast's, else the job's default, else one of the engine's own.

    An own voice comes from the speaker's name, so that it is the same in every title and language; where two
    names meet on one voice, the later in the alphabet moves on. Capitals make no other name.
    """
    named = {name.upper(): voice for name, voice in title.cast.items()}
    own, taken, found = list(speaker.own_voices()), set(named.values()), {}
    chosen: dict[str, str] = {}
    for name in speakers:
        voice = named.get(name.upper(), job.default_voice)
        if voice is None or (voice == "auto" and not own):
            raise _refuse(job.catalogue, f"speaker {name!r} of title {title.id!r} without a voice",
                          "the speaker in the title's cast, or a default_voice in the job file")  # fmt: skip
        if voice == "auto":
            slot = int.from_bytes(hashlib.sha256(name.upper().encode()).digest()[:4], "big") if name else 0
            slots = [own[(slot + step) % len(own)] for step in range(len(own))]
            voice = chosen.setdefault(name.upper(), next((v for v in slots if v not in taken), slots[0]))
        if voice in job.uncloned:
            told = f"the voice {voice!r} of speaker {name!r} in title {title.id!r}, which is to be cloned"
            raise _refuse(job.catalogue, told, f"one that the engine {job.engine.name} has: it cannot clone any")
        try:
            found[name] = speaker.voice(voice)
        except ValueError as error:
            raise _refuse(job.catalogue, f"{error} (speaker {name!r} of title {title.id!r})", "such a voice") from error
        taken.add(found[name])
    return found


def _agreed(voices: Mapping[str, str], title: Title, language: str, job: Job) -> tuple[tuple[str, str], ...] | None:
    """The consents of a track's cloned voices. Raises InputError that says what is wrong with which voice."""
    for speaker, voice in voices.items():
        for clip, found, expected in cloning.faults(job, voice):
            raise _refuse(clip, f"{found} (voice {voice.partition('@')[0]!r} of the speaker {speaker!r})", expected)
    try:
        return cloning.allowed(job, voices.values(), title.id, language)
    except cloning.Refused as error:
        expected = "a consent that covers this use; docs/consent.md"
        if isinstance(error, BlocklistError):
            expected = "a voice that may be cloned, and a list that holds; docs/voices.md"
        raise _refuse(job.catalogue, f"{error} (title {title.id!r}, {error.reason})", expected) from error


def _direct(speaker: Engine, text: str) -> Direction:
    """What the engine makes of a direction; the words as they are where it does not say."""
    if not text or not hasattr(speaker, "direct"):
        return Direction((text,) if text else ())
    found: Direction = speaker.direct(text)
    return found


def _undirected(utterances: Sequence[Utterance], job: Job, speaker: Engine, file: str) -> list[Problem]:
    """What of the directions the engine cannot follow. Raises InputError where the job is strict about it."""
    found = []
    for utterance in utterances:
        if lost := _direct(speaker, utterance.direction).lost:
            problem = Problem(
                file=file, line=utterance.place, found=f"{', '.join(lost)} in the direction {utterance.direction!r}",
                expected=f"what the engine {job.engine.name} can follow; docs/engines.md lists it", level="note",
            )  # fmt: skip
            if job.strict:
                raise InputError(replace(problem, level="error"))
            found.append(problem)
    return found


def _chunked(utterance: Utterance, tag: str, voice: str, job: Job, speaker: Engine) -> Utterance:
    texts, direction = split(utterance.text, tag), str(_direct(speaker, utterance.direction))
    predicted = [predict(text, tag) for text in texts]
    fastest = min(job.fit.max_rate, speaker.max_rate)
    room = _room(utterance, texts)
    limits = fitting.targets(predicted, room) if fastest > 1 else [None] * len(texts)
    chunks = []
    for text, seconds, target in zip(texts, predicted, limits, strict=True):
        shape: dict[str, Any] = {
            "text": text, "language": tag, "voice": voice, "direction": direction, "target": target,
            "max_rate": fastest if target else 1.0,
        }  # fmt: skip
        key = hashlib.sha256(_identity(job) + canonical(shape)).hexdigest()
        chunks.append(Chunk(key=key, predicted=round(seconds, 3), **shape))
    return replace(utterance, chunks=tuple(chunks))


def _room(utterance: Utterance, texts: Sequence[str]) -> float | None:
    if utterance.window is None or utterance.start is None:
        return None
    return utterance.window - utterance.start - sum(fitting.pauses(texts))


def overrun(utterance: Utterance, job: Job) -> float:
    """Seconds by which an utterance is expected to overrun its window."""
    room = _room(utterance, [chunk.text for chunk in utterance.chunks])
    return fitting.predicted_overrun(sum(c.predicted for c in utterance.chunks), room, job.fit, engine(job).max_rate)


def _identity(job: Job) -> bytes:
    return _identity_of(job.engine.name, _options(job))


@functools.cache
def _identity_of(name: str, options: str) -> bytes:
    return canonical({"format": FORMAT, "engine": _engine(name, options).identity()})


def mark(job: Job, track: str = "") -> str | dict[str, Any]:
    """What tracks are marked with, as manifests say it; with the digest of a track, its payload too."""
    if job.watermark is None or job.key is None:
        return "off"
    found = {"key": job.key.name, "strength": job.watermark.strength, "version": VERSIONS[-1]}
    return {**found, "payload": Payload.of(job.key, track).hex()} if track else found


def _digest(track: TrackPlan, job: Job, speaker: Engine) -> str:
    """Of everything that shapes the files of a track. Two plans with one digest give the same bytes."""
    shape: dict[str, Any] = {
        "format": FORMAT,
        "title": track.title,
        "language": track.language,
        "script": [track.script, track.sha256],
        "programme": track.programme,
        "voices": track.voices,
        "delivery": job.delivery.model_dump(),
        "fit": job.fit.model_dump(),
        "watermark": mark(job),
        "disclosure": job.certificate.name if job.certificate else "off",
        "engine": speaker.identity(),
        **({"consent": "off"} if track.consents is None else {}),
        **({"blocklist": "off"} if job.blocklist is None and cloning.cloned(job, dict(track.voices).values()) else {}),
        **({"rules": "off"} if job.rules is None else {}),
        "problems": [[p.line, p.found, p.expected, p.level] for p in track.problems],
        "utterances": [[u.id, u.start, u.end, u.window, [c.key for c in u.chunks]] for u in track.utterances],
    }
    return digest(shape)
