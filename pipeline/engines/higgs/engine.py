"""`engine: higgs`: Higgs Audio v3 or v2 on the worker's GPU, with cloned voices and directions."""

import hashlib
import importlib.util
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.audio.clip import trim
from pipeline.engines import options as read
from pipeline.engines.base import Spoken
from pipeline.engines.check import LONG, SPARE, fault
from pipeline.engines.higgs import hub, memory
from pipeline.engines.higgs.checkpoint import Checkpoint, Geometry, geometry, read_checkpoint
from pipeline.engines.higgs.languages import LANGUAGES
from pipeline.engines.higgs.voices import Clip, Voice, read_voices
from pipeline.model import Chunk
from pipeline.text.directions import Direction, parse
from pipeline.voices.reference import RATE

EXTRA = ("torch", "torchaudio", "transformers", "accelerate", "bitsandbytes")
FRAME_RATE = 25  # frames of codes in a second
AGAIN = 3  # times that a bad take is spoken again
BEGINNING = 1 << 20  # bytes of a codec file by which it is known
TOGETHER = 16  # takes that the codec decodes at once
PACES = ((1.0, ""), (1.2, "speed_fast"), (1.4, "speed_very_fast"))  # rate, tag
TAGS = {
    "slow": "prosody:speed_slow", "very slow": "prosody:speed_very_slow", "fast": "prosody:speed_fast",
    "very fast": "prosody:speed_very_fast", "low pitch": "prosody:pitch_low", "high pitch": "prosody:pitch_high",
    "expressive": "prosody:expressive_high", "flat": "prosody:expressive_low",
}  # fmt: skip
FAMILIES = {"emotion": "emotion", "style": "style", "sound": "sfx"}  # whose terms are tags by themselves
SAMPLING = {3: {"temperature": 0.8, "top_p": 0.8, "top_k": 30}, 2: {"temperature": 1.0, "top_p": 0.95, "top_k": 50}}
REPEATS = {3: {}, 2: {"window": 7, "repeats": 2}}  # repetition-aware sampling, which v2 was published with
SAME = 50  # frames in a row with equal codes: 2 s of one sound


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One attempt at a chunk: which one, at which pace, and the best good take before it."""

    chunk: Chunk
    number: int = 0
    pace: int = 0  # index of PACES
    before: Spoken | None = None


class Higgs:
    """A replica holds one quantised model. The options are those of docs/engines.md; ValueError names a wrong one."""

    sample_rate = RATE
    clones = True

    def __init__(
        self, *, model: str = "", revision: str = "", voices: Any = None, quantization: str = "none", rows: int = 32,
        length: int = 1280, languages: Any = None, temperature: float | None = None, top_p: float | None = None,
        top_k: int | None = None, seed: int = 0, memory: float | None = None, device: str = "cuda", codec: str = "",
        scene: str = "Audio is recorded from a quiet room.", timeout: float = 3600, accept_licence: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
        if missing:
            raise ValueError(f"engine: higgs needs {missing[0]}, expected the extra gpu: pip install 'dubline[gpu]'")
        self.model = read.text("model", model, "a checkpoint folder, or a model of the hub such as owner/name")
        self.revision = read.text("revision", revision, "a commit", empty=True)
        self.quantization = _one_of("quantization", quantization, tuple(_memory.BYTES))
        self.device = _one_of("device", device, ("cuda", "cpu"))
        self.rows = int(read.number("rows", rows, 1, 4096, whole=True))
        self.length = int(read.number("length", length, 64, 8192, whole=True))
        self.seed = int(read.number("seed", seed, 0, 2**31 - 1, whole=True))
        self.timeout = read.number("timeout", timeout, 1, 1e6)
        self.memory = None if memory is None else read.number("memory", memory, 0.1, 1000) * 1e9
        self.scene = read.text("scene", scene, "a sentence on the place of recording")
        if accept_licence not in (True, False):
            raise read.wrong("accept_licence", repr(accept_licence), "true or false")
        self.accepted = bool(accept_licence)
        self.tags = read.languages(languages) if languages else LANGUAGES
        self.voices = read_voices(voices or {}, storage=json.dumps(storage_options or {}, sort_keys=True))
        self.folder = hub.locate(self.model, self.revision)
        self.checkpoint = read_checkpoint(self.folder) if self.folder else None
        if self.folder is None and not self.accepted:
            hub.fetch(self.model, self.revision, accepted=False)  # says what the licence is
        self.generation = self.checkpoint.generation if self.checkpoint else 2 if "v2" in self.model else 3
        self.codec_folder = self._codec_folder(codec)
        self.sampling = self._sampling(temperature, top_p, top_k)
        self.max_rate = PACES[-1][0] if self.generation == 3 else 1.0
        self._check_memory()
        self._decoder: Any = None

    def _codec_folder(self, codec: str) -> Path | None:
        """v3 holds its codec; that of v2 is another model, of which a copy may lie in the folder."""
        if self.generation == 3:
            return None
        if not codec and self.folder and (self.folder / "codec").is_dir():
            return self.folder / "codec"
        if not codec or not Path(codec).is_dir():
            raise read.wrong("codec", repr(codec) if codec else "nothing", "the folder of the codec of Higgs v2")
        return Path(codec)

    def _sampling(self, temperature: float | None, top_p: float | None, top_k: int | None) -> dict[str, Any]:
        given = {
            "temperature": None if temperature is None else read.number("temperature", temperature, 0, 2),
            "top_p": None if top_p is None else read.number("top_p", top_p, 0.01, 1),
            "top_k": None if top_k is None else int(read.number("top_k", top_k, 0, 1026, whole=True)),
        }  # fmt: skip
        chosen = {name: value for name, value in given.items() if value is not None}
        return {**SAMPLING[self.generation], **REPEATS[self.generation], **chosen}

    @property
    def geometry(self) -> Geometry:
        if self.checkpoint:
            return geometry(self.checkpoint.config)
        return _memory.V3_4B if self.generation == 3 else _memory.V2_3B

    def _check_memory(self) -> None:
        need = _memory.need(self.geometry, quantization=self.quantization, rows=self.rows, length=self.length)
        if self.memory is not None and need.total > self.memory:
            fits = _memory.most_rows(
                self.geometry, quantization=self.quantization, length=self.length, memory=self.memory
            )
            hint = f"rows: {fits}" if fits else "another quantization or a larger card"
            raise read.wrong("memory", f"{self.memory / 1e9:g} GB for a replica that needs {need}", f"{hint}, or more")

    def notes(self) -> Sequence[str]:
        """What to know before a job: the licence, and what a replica needs."""
        need = _memory.need(self.geometry, quantization=self.quantization, rows=self.rows, length=self.length)
        what = f"{self.rows} rows of {self.length} positions, quantization {self.quantization}"
        return [f"{hub.LICENCE}.", f"A replica of {self.model} with {what} needs {need}."]

    def identity(self) -> dict[str, Any]:
        source = self.checkpoint.digest if self.checkpoint and not self.revision else self.revision
        scene = {"scene": self.scene, "codec": _digest(self.codec_folder)} if self.codec_folder else {}
        return {
            "engine": "higgs", "version": f"v{self.generation} {source[:12]}", "weights": source,
            "quantization": self.quantization, "sampling": self.sampling, "seed": self.seed, **scene,
        }  # fmt: skip

    def languages(self) -> Mapping[str, str]:
        return self.tags

    def voice(self, voice: str) -> str:
        name, _, digest = voice.partition("@")
        found = self.voices.get(name)
        if found is None:
            raise ValueError(f"found voice {voice!r}, expected one of engine.options.voices: {', '.join(self.voices)}")
        if digest and voice != found.spelling:
            raise ValueError(f"found voice {voice!r}, but its clips are those of {found.spelling} now; plan again")
        return found.spelling

    def own_voices(self) -> Sequence[str]:
        return ()  # nobody's voice is taken without being asked for

    def direct(self, text: str) -> Direction:
        return parse(text)

    def load(self) -> None:
        """Read the weights. RuntimeError or ValueError with one sentence that says what to do."""
        import torch

        from pipeline.engines.higgs import load
        from pipeline.engines.higgs.decode import Decoder
        from pipeline.engines.higgs.sampling import Sampling

        if self.device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(
                "found no GPU on this worker, expected one: set speak.gpus to 1 on a machine that has one, or try it "
                "slowly with engine.options.device: cpu"
            )
        if self.device == "cuda" and self.memory is not None:
            whole = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, self.memory / whole))
        checkpoint, device = self._fetched(), torch.device(self.device)
        model = load.language_model(checkpoint, self.quantization, device)
        self._encode = load.tokenizer(checkpoint)
        self._write = load.template(checkpoint) if self.generation == 2 else None
        self._codec = load.codec(checkpoint, self.codec_folder, device)
        self._special = model.special
        sampling = Sampling(**self.sampling)
        self._decoder = Decoder(model, rows=self.rows, length=self.length, sampling=sampling)

    def _fetched(self) -> Checkpoint:
        if self.checkpoint is None:
            self.checkpoint = read_checkpoint(hub.fetch(self.model, self.revision, self.accepted))
        return self.checkpoint

    def speak(self, chunks: Sequence[Chunk]) -> Iterator[Spoken]:
        """Speak a batch; what `timeout` seconds do not suffice for says so. A bad take is spoken again."""
        decoder, deadline = self._decoder, time.monotonic() + self.timeout
        decoder.waiting.clear()
        decoder.waiting.extend(self._row(_Try(chunk=chunk)) for chunk in chunks)
        heard: list[Any] = []
        while decoder.waiting:
            for said in decoder.run(deadline):
                heard += said
                if len(heard) >= TOGETHER:
                    yield from self._judge(heard)
                    heard = []
            yield from self._judge(heard)
            heard = []

    def _row(self, attempt: _Try) -> Any:
        from pipeline.engines.higgs.decode import Row

        chunk = attempt.chunk
        salt = f"{chunk.key}/{self.seed}/{attempt.number}/{attempt.pace}".encode()
        seconds = LONG * chunk.predicted + SPARE if chunk.predicted > 0 else 60.0
        return Row(
            name=attempt, prompt=self._prompt(attempt), seed=int.from_bytes(hashlib.sha256(salt).digest()[:8], "big"),
            limit=math.ceil(seconds * FRAME_RATE),
        )  # fmt: skip

    def _prompt(self, attempt: _Try) -> Any:
        from pipeline.engines.higgs import prompt

        chunk = attempt.chunk
        voice, direction = self.voices[chunk.voice.partition("@")[0]], parse(chunk.direction)
        clip, carried = _reference(voice, direction)
        codes = self._codec.encode(clip.samples)
        if self._write is None:
            tags = _tags(direction, carried, attempt.pace)
            return prompt.v3(self._encode, self._special, chunk.text, codes, clip.text, tags)
        scene = f"{self.scene} The speaker is {direction}." if direction.terms else self.scene
        chat = prompt.conversation(chunk.text, clip.text, cloned=True, scene=scene)
        return prompt.v2(self._encode, self._special, self._write(chat), codes)

    def _judge(self, heard: Sequence[Any]) -> Iterator[Spoken]:
        """Decode what was said; give out good takes, and put bad or long ones back to be spoken once more."""
        sounds = iter(self._codec.decode([_clean(said.codes, self._codec.codes) for said in heard if not said.error]))
        for said in heard:
            attempt: _Try = said.row.name
            if said.error:
                yield attempt.before or Spoken(chunk=attempt.chunk, error=said.error)
                continue
            samples = next(sounds)
            wrong = _fault(said) or fault(samples, RATE, attempt.chunk)
            spoken = self._again(attempt, wrong) if wrong else self._fitted(attempt, samples)
            if spoken is not None:
                yield spoken

    def _again(self, attempt: _Try, wrong: str) -> Spoken | None:
        if attempt.before is not None:
            return attempt.before
        if attempt.number == AGAIN:
            return Spoken(chunk=attempt.chunk, error=f"{wrong}; spoken {AGAIN + 1} times")
        self._decoder.waiting.append(self._row(replace(attempt, number=attempt.number + 1)))
        return None

    def _fitted(self, attempt: _Try, samples: Any) -> Spoken | None:
        """The take, or None where it is too long for its time and a faster pace is still to be tried."""
        chunk, rate = attempt.chunk, PACES[attempt.pace][0]
        spoken = Spoken(chunk=chunk, samples=samples, rate=rate)
        before = attempt.before
        if before is not None and before.samples is not None and len(before.samples) <= len(samples):
            spoken = before
        seconds = len(trim(samples, RATE)[0]) / RATE
        own = parse(chunk.direction).of("speed")
        if self.generation == 2 or own or chunk.target is None or seconds <= chunk.target:
            return spoken
        wanted = rate * seconds / chunk.target
        faster = [n for n, (pace, _) in enumerate(PACES) if n > attempt.pace and pace <= chunk.max_rate]
        if not faster:
            return spoken
        pace = next((n for n in faster if PACES[n][0] >= wanted), faster[-1])
        self._decoder.waiting.append(self._row(replace(attempt, pace=pace, before=spoken)))
        return None


_memory = memory  # the option of that name hides the module


def _digest(codec: Path) -> str:
    """SHA-256 of a codec's configuration and weights."""
    hashed = hashlib.sha256()
    for path in sorted(codec.glob("*.json")) + sorted(codec.glob("*.safetensors")):
        hashed.update(path.name.encode() + str(path.stat().st_size).encode() + path.read_bytes()[:BEGINNING])
    return hashed.hexdigest()[:16]


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise read.wrong(name, repr(value), f"one of {', '.join(allowed)}")
    return str(value)


def _reference(voice: Voice, direction: Direction) -> tuple[Clip, str]:
    """The clip to clone, and the term that it carries itself: that of its emotion where the voice has one."""
    for family in ("emotion", "style"):
        if (term := direction.of(family)) in voice.emotions:
            return voice.emotions[term], term
    return voice.clip, ""


def _tags(direction: Direction, carried: str, pace: int) -> str:
    """The control tags of v3 before a text: delivery must lead it."""
    tags = [
        TAGS.get(term) or f"{FAMILIES[direction.family(term)]}:{term}" for term in direction.terms if term != carried
    ]
    if pace:
        tags.append(f"prosody:{PACES[pace][1]}")
    return "".join(f"<|{tag}|>" for tag in tags)


def _clean(codes: Any, count: int) -> Any:
    """BOS and EOS among the codes, which a line that ended early can hold, sound as code 0."""
    return codes.where(codes < count, 0)


def _fault(said: Any) -> str:
    """What is wrong with codes, which samples do not tell."""
    codes = said.codes
    if not said.ended:
        return f"no end: found {len(codes) / FRAME_RATE:.1f} s without one, expected the line to end before"
    run = longest = 0
    for same in (codes[1:] == codes[:-1]).all(dim=1).tolist():
        run = run + 1 if same else 0
        longest = max(longest, run)
    return f"stuck: found {longest} equal frames in a row, expected at most {SAME}" if longest > SAME else ""
