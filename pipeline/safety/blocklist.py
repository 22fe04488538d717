"""The blocklist: voices that must not be cloned, as speaker embeddings in a signed, versioned, expiring document."""

import base64
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.signing import Refusal, SignatureError, SigningKey, believe, parse
from pipeline.store import from_json
from pipeline.voices.consent import moment
from pipeline.voices.encoder import Vector, centre, unity

KIND = "blocklist"
Scores = NDArray[np.floating]
Spread = tuple[Scores, Scores]

LEAST = 10  # speakers of a calibration
ENROLLED = 5  # clips of a person that a calibration enrols at most
MOST = 10**18  # of any number in a calibration
MICRO = 10**6  # thresholds are whole millionths, as signed documents hold whole numbers only
TOGETHER = 0.01  # share of clips of one speaker that may look like two
_KEYS = {"version", "issued", "expires", "calibration", "people", "vectors"}
_DRAFT = {"calibration", "people", "vectors"}


class BlocklistError(Refusal):
    """A list that must not be relied on, or a voice that is on it.

    `reason` is one of missing, malformed, kind, untrusted, altered, expired, older, encoder, blocked, speakers.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Thresholds of one encoder, measured on recordings of many speakers, and the cohort that scores are normed by."""

    encoder: str  # the id of the encoder: its network and weights
    rate: float  # false matches that the threshold lets happen, for each voice and person compared
    threshold: float  # of the normed score: from here on a voice counts as the person's
    together: float  # a cosine: below it, two parts of a clip count as two speakers
    missed: float  # share of clips of an enrolled person that the threshold missed
    speakers: int
    clips: int
    pairs: int  # of a person and another's clip, from which the threshold was taken
    cohort: Vector = field(repr=False)  # unit vectors (speakers, size); (0, 1) where only `together` is of use

    def body(self) -> dict[str, Any]:
        """For a document of whole numbers."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "cohort"}
        whole = {k: round(v * MICRO) if isinstance(v, float) else v for k, v in found.items()}
        return {**whole, "cohort": _text(self.cohort)}

    @classmethod
    def parse(cls, body: Any) -> Self:
        """Raises BlocklistError for anything but what `body` gives."""
        fields = cls.__dataclass_fields__
        if not isinstance(body, dict) or set(body) != set(fields):
            raise BlocklistError("malformed", f"calibration: found {body!r}, expected {', '.join(fields)}")
        for name, value in body.items():
            if type(value) is not (str if name in ("encoder", "cohort") else int):
                raise BlocklistError("malformed", f"calibration.{name}: found {value!r}, expected another type")
            if isinstance(value, int) and abs(value) >= MOST:
                told = f"a number of {len(str(abs(value)))} digits"
                raise BlocklistError("malformed", f"calibration.{name}: found {told}, expected one under {MOST:.0e}")
        values = {k: body[k] / MICRO if v.type is float else body[k] for k, v in fields.items()}
        found = body["speakers"] if body["cohort"] else 0
        return cls(**{**values, "cohort": _vectors("calibration.cohort", body["cohort"], found)})


def calibrate(encoder: str, voices: Mapping[str, Sequence[Vector]], rate: float) -> Calibration:
    """The thresholds of an encoder, from the pieces (n, size) of each clip of many speakers.

    Each speaker is enrolled with up to five clips and compared with all clips of the others: `rate` of these pairs lie
    at or above `threshold`. The speaker's further clips say how many it misses. Scores are normed by all speakers but
    the two that are compared. ValueError where there are too few.
    """
    clips = {name: np.stack([centre(pieces) for pieces in found]) for name, found in voices.items() if found}
    pairs = sum(len(found) for found in clips.values()) * (len(clips) - 1)
    if len(clips) < LEAST or pairs * rate < 1:
        raise ValueError(f"found {len(clips)} speakers and {pairs} pairs of a speaker and another's clip, expected at "
                         f"least {LEAST} speakers and {1 / rate:.0f} pairs for a rate of {rate:g}")  # fmt: skip
    names, cohort = list(clips), np.stack([centre(found) for found in clips.values()])
    others: list[float] = []
    own: list[float] = []
    for n, name in enumerate(names):
        enrolled = centre(clips[name][:ENROLLED])
        for m, other in enumerate(names):
            rest = np.delete(cohort, [n, m], axis=0)
            heard = clips[other] if m != n else clips[name][ENROLLED:]
            scores = normed(heard @ enrolled, _spread(heard, rest), _spread(enrolled[None], rest))
            (own if m == n else others).extend(scores.tolist())
    threshold = float(np.quantile(others, 1 - rate, method="higher"))
    united = [unity(pieces) for found in voices.values() for pieces in found]
    return Calibration(
        encoder=encoder, rate=rate, threshold=threshold, together=float(np.quantile(united, TOGETHER, method="lower")),
        missed=float(np.mean(np.array(own) < threshold)) if own else 0.0, speakers=len(clips),
        clips=sum(map(len, clips.values())), pairs=len(others), cohort=cohort,
    )  # fmt: skip


def _spread(vectors: Vector, cohort: Vector) -> Spread:
    """Mean and deviation of the cosines of unit vectors (n, size) with those of a cohort: two arrays (n,)."""
    scores = vectors @ cohort.T
    return scores.mean(axis=1), np.maximum(scores.std(axis=1), 1e-6)


def normed(cosines: Scores, one: Spread, other: Spread) -> Scores:
    """Cosines in deviations from what is usual for both sides: symmetric score normalisation (Kenny, Odyssey 2010)."""
    return ((cosines - one[0]) / one[1] + (cosines - other[0]) / other[1]) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocklist:
    """A list that was believed: unit vectors (people, size), searched exactly."""

    version: int
    issued: str
    expires: str
    calibration: Calibration
    people: tuple[str, ...]
    vectors: Vector = field(repr=False)
    spread: Spread = field(repr=False)  # of the vectors, in the cohort

    def nearest(self, voice: Vector) -> tuple[str, float]:
        """The person whose voice is nearest to a unit vector (size,), and the normed score; ("", -inf) of nobody."""
        if not self.people:
            return "", -math.inf
        scores = normed(self.vectors @ voice, _spread(voice[None], self.calibration.cohort), self.spread)
        best = int(scores.argmax())
        return self.people[best], float(scores[best])

    def refuse(self, what: str, pieces: Vector, *, united: bool = True) -> None:
        """Raises BlocklistError where the voice in the pieces (n, size) of a clip is on the list.

        With `united` also where the clip holds two voices, of which one could hide the other.
        """
        person, score = self.nearest(centre(pieces))
        if score >= self.calibration.threshold:
            told = f"a score of {score:.2f}, from {self.calibration.threshold:.2f} on it counts as the same"
            raise BlocklistError("blocked", f"{what}: found the voice of {person!r}, which is blocked ({told})")
        if united and (found := unity(pieces)) < self.calibration.together:
            raise BlocklistError(
                "speakers", f"{what}: found parts that are alike by {found:.2f}, expected one speaker throughout, "
                f"which is {self.calibration.together:.2f} or more",
            )  # fmt: skip


def draft(calibration: Calibration, people: Mapping[str, Sequence[Vector]]) -> dict[str, Any]:
    """An unsigned list: each person as the centre of the unit vectors of some clips.

    Raises BlocklistError for a calibration without its cohort, as the embedded one is.
    """
    if len(calibration.cohort) < LEAST:
        raise BlocklistError("malformed", "found a calibration without its cohort, expected what calibrate wrote")
    vectors = np.stack([centre(np.stack(list(clips))) for clips in people.values()])
    return {"calibration": calibration.body(), "people": list(people), "vectors": _text(vectors)}


def sign(body: dict[str, Any], key: SigningKey, *, version: int, issued: str, expires: str) -> bytes:
    """The list of a draft. Raises BlocklistError for what `read_blocklist` would not take."""
    whole = {**body, "version": version, "issued": issued, "expires": expires}
    _parsed(whole)
    return key.sign(KIND, whole)


def read_draft(data: bytes) -> dict[str, Any]:
    """A draft as `draft` made it. Raises BlocklistError."""
    try:
        body = parse(data)
    except SignatureError as error:
        raise BlocklistError("malformed", str(error)) from error
    if set(body) != _DRAFT:
        raise BlocklistError("malformed", f"found {', '.join(body) or 'nothing'}, expected {', '.join(sorted(_DRAFT))}")
    return body


def read_blocklist(data: bytes, trusted: Collection[str]) -> Blocklist:
    """A list that a trusted issuer signed. Raises BlocklistError. Whether it still holds is for `hold` to say."""
    try:
        return _parsed(believe(data, KIND, trusted))
    except SignatureError as error:
        raise BlocklistError(error.reason, str(error)) from error


def hold(found: Blocklist, now: float, newest: int = 0) -> Blocklist:
    """The list where it has not expired. Raises BlocklistError, also for one older than version `newest`.

    Whoever can put an old list in its place must gain nothing by it.
    """
    if now >= moment(found.expires):
        raise BlocklistError("expired", f"found a blocklist until {found.expires}, which is over, expected a newer one")
    if found.version < newest:
        raise BlocklistError("older", f"found a blocklist of version {found.version}, version {newest} was seen before")
    return found


def _parsed(body: Mapping[str, Any]) -> Blocklist:
    if set(body) != _KEYS:
        raise BlocklistError("malformed", f"found {', '.join(body) or 'nothing'}, expected {', '.join(sorted(_KEYS))}")
    people, version = body["people"], body["version"]
    if not isinstance(people, list) or not all(isinstance(name, str) and name for name in people):
        raise BlocklistError("malformed", "people: found other than names, expected a list of them")
    if type(version) is not int or version < 1:
        raise BlocklistError("malformed", f"version: found {version!r}, expected a whole number from 1 on")
    try:
        if moment(body["issued"]) >= moment(body["expires"]):
            raise ValueError(f"expires: found {body['expires']}, expected later than {body['issued']}")
    except (ValueError, TypeError) as error:  # a ConsentError among them
        raise BlocklistError("malformed", str(error)) from error
    calibration = Calibration.parse(body["calibration"])
    vectors = _vectors("vectors", body["vectors"], len(people))
    if len(calibration.cohort) < LEAST or (people and vectors.shape[1] != calibration.cohort.shape[1]):
        raise BlocklistError("malformed", f"calibration.cohort: found {len(calibration.cohort)} vectors, "
                             f"expected {LEAST} or more of the size of the others")  # fmt: skip
    spread = _spread(vectors, calibration.cohort) if people else (np.zeros(0, np.float32),) * 2
    return Blocklist(version=version, issued=body["issued"], expires=body["expires"], calibration=calibration,
                     people=tuple(people), vectors=vectors, spread=spread)  # fmt: skip


def _text(vectors: Vector) -> str:
    """Unit vectors (n, size) as 16-bit floats in base64."""
    return base64.b64encode(vectors.astype("<f2").tobytes()).decode()


def _vectors(place: str, text: Any, count: int) -> Vector:
    """The inverse of `_text`, for so many vectors. Raises BlocklistError."""
    try:
        raw = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
        vectors = raw.reshape(count, -1) if count else raw.reshape(0, 1)
    except (ValueError, TypeError) as error:
        raise BlocklistError("malformed", f"{place}: found {error}, expected {count} vectors in base64") from error
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if count and not (np.isfinite(length).all() and (abs(length - 1) < 0.01).all()):
        raise BlocklistError("malformed", f"{place}: found some that are not of unit length, expected all to be")
    return np.ascontiguousarray(vectors / np.maximum(length, 1e-12))


def built_in() -> Calibration:
    """The calibration of the embedded encoder, which is measured on LibriSpeech: docs/voices.md."""
    file = resources.files("pipeline.safety") / "resemblyzer.json"
    return read_calibration(file.read_bytes(), file.name)


def read_calibration(data: bytes, place: str) -> Calibration:
    """A file that `dub blocklist calibrate` wrote. Raises BlocklistError that names it."""
    try:
        return Calibration.parse(from_json(data))
    except ValueError as error:
        raise BlocklistError("malformed", f"{place}: {error}") from error
