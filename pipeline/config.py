"""The job file and the catalogue's titles: unknown keys refused, errors that name the key."""

import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from pipeline.engines import clones
from pipeline.parse import ConfigError, check, parse_yaml
from pipeline.provenance import Certificate
from pipeline.signing import public_key
from pipeline.store import is_url, read_file, resolve
from pipeline.watermark.keys import VARIABLE, Key, read_keys

_NAME = re.compile(r"[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")


def segment(value: str) -> str:
    """A name that is safe as one part of a path, in NFC. Raises ValueError; never rewrites."""
    value = unicodedata.normalize("NFC", value)
    if not _NAME.fullmatch(value) or len(value.encode()) > 200 or set(value) <= {"."} or value != value.strip():
        raise ValueError(
            f"found {value!r}, expected a name of 1 to 200 bytes without separators, control characters "
            "or spaces at its ends"
        )
    if value.startswith(".") or value in ("takes", "jobs"):
        raise ValueError(f"found {value!r}, which is a name that the output folder keeps for itself")
    return value


def _text(value: Any) -> Any:
    """YAML reads 1 and no as a number and a truth value; ids and languages are text."""
    if isinstance(value, bool):
        raise ValueError(f'found the truth value {str(value).lower()}, expected text; YAML reads a bare no, yes, on '
                         'and off so: write it in quotes, "no"')  # fmt: skip
    return str(value) if isinstance(value, (int, float)) else value


Segment = Annotated[str, BeforeValidator(_text), AfterValidator(segment)]
Text = Annotated[str, BeforeValidator(_text)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Delivery(_Strict):
    """What is written: format, rate in Hz, bits per sample (FLAC, WAV), kb/s (lossy), LUFS, dBTP."""

    format: Literal["flac", "wav", "opus", "mp3", "m4a"] = "flac"
    rate: int = Field(48000, ge=8000, le=192000)
    bits: Literal[16, 24] = 24
    bitrate: int = Field(96, ge=6, le=512)
    loudness: float = Field(-23.0, ge=-40, le=-5)
    true_peak: float = Field(-1.0, ge=-20, le=0)


class Fit(_Strict):
    """How an utterance is brought into its window. Seconds, and factors over the normal rate."""

    guard: float = Field(0.05, ge=0, le=2)
    max_rate: float = Field(1.3, ge=1, le=2)
    max_stretch: float = Field(1.3, ge=1, le=1.3)


class EngineSettings(_Strict):
    """Which engine speaks, with its own options."""

    name: str = "espeak"
    options: dict[str, Any] = {}


class Speak(_Strict):
    """How synthesis is spread: replicas (None: one fewer than the CPUs), what each holds, seconds in a batch."""

    replicas: int | None = Field(None, ge=1)
    cpus: float = Field(1, ge=0)
    gpus: float = Field(0, ge=0)
    batch: float = Field(120, gt=0)
    tries: int = Field(3, ge=1, le=10)
    no_progress: int = Field(1800, ge=10)


def _public(text: str) -> str:
    try:
        return public_key(text)
    except ValueError as error:
        raise ValueError(f"found {text!r}: {error}") from None


class Watermark(_Strict):
    """How tracks are marked: a file of keys (None: the environment), and how strongly."""

    keys: str | None = None
    strength: float = Field(1.0, ge=0.5, le=2)


PublicKey = Annotated[str, AfterValidator(_public)]


class Consent(_Strict):
    """Who may vouch for cloned voices: public keys of issuers, what the voices are used for, what was revoked."""

    issuers: list[PublicKey] = []
    purpose: str = Field("dubbing", min_length=1)
    revoked: str | None = None


class Blocklist(_Strict):
    """Voices that must not be cloned: the signed list, who may sign it, the encoder, takes of a voice to be heard."""

    url: str | None = None
    issuers: list[PublicKey] = []
    encoder: str = Field("resemblyzer", min_length=1)
    sample: int = Field(3, ge=1, le=50)


class Rules(_Strict):
    """Who may override the rules for scripts: public keys of reviewers, and what they signed, as paths or URLs."""

    reviewers: list[PublicKey] = []
    overrides: list[str] = []


class Disclosure(_Strict):
    """How a track says that its voice is synthetic: who signs for it (None: a development certificate), a notice."""

    certificate: str | None = None
    key: str | None = None
    notice: bool | dict[Segment, str] = False


class Voice(_Strict):
    """A voice to clone, as the voices file names it."""

    clip: str = Field(min_length=1)
    text: str = ""
    language: str = ""
    consent: str | None = None
    emotions: dict[str, str] = {}
    accept: list[str] = []  # faults of the clip that are taken as they are


def _off(value: Any) -> Any:
    """YAML reads a bare off as a truth value."""
    if value is False or value == "off":
        return None
    if not isinstance(value, dict | _Strict):
        raise ValueError(f"found {value!r}, expected off, or a mapping")
    return value


def _switch(value: Any) -> Any:
    """A bare on or off as well: YAML reads them as truth values."""
    return {} if value is True or value == "on" else _off(value)


class Job(_Strict):
    """A job file."""

    name: Segment
    catalogue: str = Field(min_length=1)
    output: str = Field(min_length=1)
    languages: list[Segment] | None = None
    engine: EngineSettings = EngineSettings()
    default_voice: Text | None = "auto"
    descriptions: bool = False
    strict: bool = False
    delivery: Delivery = Delivery()
    fit: Fit = Fit()
    speak: Speak = Speak()
    watermark: Annotated[Watermark | None, BeforeValidator(_off)] = Watermark()
    voices: str | None = None
    consent: Annotated[Consent | None, BeforeValidator(_off)] = Consent()
    blocklist: Annotated[Blocklist | None, BeforeValidator(_off)] = Blocklist()
    rules: Annotated[Rules | None, BeforeValidator(_switch)] = Rules()
    disclosure: Annotated[Disclosure | None, BeforeValidator(_off)] = Disclosure()
    storage_options: dict[str, Any] = {}
    _key: Key | None = PrivateAttr(None)  # goes to the workers with the job; never shown
    _certificate: Certificate | None = PrivateAttr(None)  # likewise
    _uncloned: frozenset[str] = PrivateAttr(frozenset())  # voices to clone, where the engine cannot

    @property
    def key(self) -> Key | None:
        """The key that marks tracks; None where the watermark is off."""
        return self._key

    @property
    def certificate(self) -> Certificate | None:
        """What signs the manifest of a track; None where disclosure is off."""
        return self._certificate

    @property
    def uncloned(self) -> frozenset[str]:
        """Voices of the voices file, where the engine cannot clone them."""
        return self._uncloned


class ScriptSource(_Strict):
    """One script, where its encoding must be said."""

    url: str
    encoding: str | None = None


class Title(_Strict):
    """One row of the catalogue. A cast maps a speaker to a voice of the engine."""

    id: Segment
    scripts: dict[Segment, ScriptSource]
    media: str | None = None
    cast: dict[Text, Text] = {}
    languages: list[Segment] | None = None


def load_job(url: str, options: dict[str, Any] | None = None) -> Job:
    """The job file at a path or URL, with its paths made absolute. Raises ConfigError, StoreError."""
    try:
        data = read_file(url, options)
    except FileNotFoundError:
        raise ConfigError(f"{url}: found no such file, expected a job file") from None
    raw = parse_yaml(url, data)
    if not isinstance(raw, dict):
        raise ConfigError(f"{url}: found {type(raw).__name__}, expected a mapping with name, catalogue and output")
    if isinstance(raw.get("engine"), str):
        raw["engine"] = {"name": raw["engine"]}
    job: Job = check(Job, raw, url)
    job = job.model_copy(update={"catalogue": resolve(job.catalogue, url), "output": resolve(job.output, url)})
    job = _resolved(job, "consent", "revoked", url)
    job = _resolved(job, "blocklist", "url", url)
    if job.rules:
        paths = [resolve(path, url) for path in job.rules.overrides]
        job = job.model_copy(update={"rules": job.rules.model_copy(update={"overrides": paths})})
    _check_voices(job, url)
    _resolve_voices(job.engine.options.get("voices"), url)
    _add_voices(job, url, options)
    _check_storage(job, url)
    job._key = _marking_key(job.watermark, url) if job.watermark else None
    job._certificate = _certificate(job.disclosure, url) if job.disclosure else None
    return job


def _resolved(job: Job, section: str, key: str, url: str) -> Job:
    """The job with a path that a section holds made absolute."""
    found = getattr(job, section)
    path = getattr(found, key, None)
    return job.model_copy(update={section: found.model_copy(update={key: resolve(path, url)})}) if path else job


def _check_voices(job: Job, url: str) -> None:
    """The voices of the job file itself, as strict as a voices file: what is not recognised would not be checked."""
    voices = job.engine.options.get("voices")
    if isinstance(voices, dict) and voices and _able(job, url):
        job.engine.options["voices"] = _voices(voices, f"{url}: engine.options.voices")


def _able(job: Job, url: str) -> bool:
    try:
        return clones(job.engine.name)
    except ValueError as error:
        raise ConfigError(f"{url}: {error}") from error


def _check_storage(job: Job, url: str) -> None:
    try:
        json.dumps(job.storage_options, sort_keys=True)
    except (TypeError, ValueError) as error:  # a list within itself
        raise ConfigError(f"{url}: storage_options: found what JSON cannot hold ({error}), expected text as keys and "
                          "text, numbers, lists") from error  # fmt: skip


def _add_voices(job: Job, url: str, options: dict[str, Any] | None) -> None:
    """The voices of the voices file, given to the engine that clones them."""
    if job.voices is None:
        return
    voices = load_voices(resolve(job.voices, url), options)
    if not _able(job, url):
        job._uncloned = frozenset(voices)
        return
    own = job.engine.options.setdefault("voices", {})
    if isinstance(own, dict):
        own.update({name: entry for name, entry in voices.items() if name not in own})


def load_voices(url: str, options: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """The voices of a voices file at a path or URL, their paths absolute. Raises ConfigError, StoreError."""
    try:
        raw = parse_yaml(url, read_file(url, options))
    except FileNotFoundError:
        raise ConfigError(f"{url}: found no such file, expected a voices file; dub voices add makes one") from None
    if not isinstance(raw, dict) or set(raw) != {"voices"} or not isinstance(raw["voices"], dict):
        raise ConfigError(f"{url}: found {type(raw).__name__}, expected the key voices with a mapping of names")
    found = _voices(raw["voices"], f"{url}: voices")
    _resolve_voices(found, url)
    return found


def _voices(entries: dict[Any, Any], place: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key, entry in entries.items():
        try:
            name = _text(key)
        except ValueError as error:
            raise ConfigError(f"{place}: {error}") from None
        if not isinstance(name, str) or not name.strip() or "@" in name or name in found:
            raise ConfigError(f"{place}: found the name {key!r}, expected names without @, each once")
        voice: Voice = check(Voice, entry, f"{place}.{name}")
        found[name] = voice.model_dump(exclude_defaults=True)
    return found


def _resolve_voices(voices: Any, url: str) -> None:
    """Clips and consents of cloned voices count from the folder of the job file."""
    for entry in voices.values() if isinstance(voices, dict) else ():
        if not isinstance(entry, dict):
            continue  # the engine says what it expects
        for paths, key in [(entry, "clip"), (entry, "consent")]:
            if isinstance(paths.get(key), str):
                paths[key] = resolve(paths[key], url)
        if isinstance(emotions := entry.get("emotions"), dict):
            emotions.update({term: resolve(path, url) for term, path in emotions.items() if isinstance(path, str)})


def _marking_key(watermark: Watermark, url: str) -> Key:
    """The first key of the job's file of keys, or of the environment. Raises ConfigError."""
    source = resolve(watermark.keys, url) if watermark.keys else None
    if source and is_url(source):
        raise ConfigError(f"{url}: watermark.keys: found the URL {source}, expected a file on this machine")
    try:
        keys = read_keys(source)
    except (FileNotFoundError, IsADirectoryError):
        raise ConfigError(f"{url}: watermark.keys: found no file {source}, expected one; make it: "
                          f"dub keys new {source}") from None  # fmt: skip
    except (ValueError, OSError) as error:
        raise ConfigError(f"{url}: watermark.keys: {error}") from None
    if not keys:
        raise ConfigError(
            f"{url}: watermark: found no key, expected watermark.keys with a file (dub keys new FILE makes one), "
            f"a key in the environment variable {VARIABLE}, or watermark: off"
        )
    return keys[0]


def _certificate(disclosure: Disclosure, url: str) -> Certificate:
    """The certificate that a job names, with its key, or the one for development. Raises ConfigError."""
    if disclosure.certificate is None and disclosure.key is None:
        return Certificate.development()
    if disclosure.certificate is None or disclosure.key is None:
        lacking = "certificate" if disclosure.certificate is None else "key"
        raise ConfigError(f"{url}: disclosure.{lacking}: found nothing, expected both of certificate and key")
    chain, key = resolve(disclosure.certificate, url), resolve(disclosure.key, url)
    if is_url(key):
        raise ConfigError(f"{url}: disclosure.key: found the URL {key}, expected a file on this machine")
    try:
        return Certificate.read(read_file(chain), Path(key).read_bytes(), f"{url}: disclosure.certificate")
    except OSError as error:  # a StoreError among them
        raise ConfigError(f"{url}: disclosure: found {error}, expected PEM files that can be read") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def environment(job: Job) -> dict[str, str]:
    """The environment variables that carry secrets and endpoints of object stores and servers to the workers."""
    key = job.engine.options.get("key_variable", "OPENAI_API_KEY")
    return {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "FSSPEC_")) or k == key}
