"""Finds keys' marks in audio of any length, and says how likely chance alone would look like that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from pipeline.watermark import magnitude
from pipeline.watermark import payload as payloads
from pipeline.watermark.check import check_rate, check_samples
from pipeline.watermark.keys import Key
from pipeline.watermark.piece import LOOKS, Piece, View
from pipeline.watermark.queue import Queue
from pipeline.watermark.reference import PERIOD, PILOTS, Reference, reference
from pipeline.watermark.spectrum import BINS, HOP, RATE, resample

THRESHOLD = 1e-9  # p-value under which audio counts as marked
WINDOW, STRIDE = 10, 5  # seconds compared at once, and from one window to the next
SHORTEST = 0.25  # seconds
SIDE = 1e-4  # energy of the difference of two channels, against their mean's, from which it is looked at too
RATES = (4_000, 192_000)

# Lags that count as independent, measured on wrong keys: tests/watermark/test_null.py holds them to it.
LAGS = 146_000
BEATS = 1_740
# How many independent tests the tests of a window count as, measured on wrong keys like the two above: phase, joint,
# both again at the start of a file, where most copies begin as the original does, and loudness. Most see the same
# evidence, but the rarer a value, the less do they reach it together.
TESTS = 4.0
SEARCHED = 2.0  # in a forensic search, loudness at other paces and pitches takes half of the chances, the others share
SEARCHES = ("fast", "forensic")
START = RATE // 10  # samples from the first one on that count as the start: 0.1 s, within which codecs delay
EARLY = START // 8  # samples before it that count, too: hardly anything makes sound come early
CANDIDATES = 4  # peaks that are looked at
PASSING = 1.0  # peaks that chance alone lifts over the gate behind which loudness and payload are added to phase
WORTH = 0.05  # p-value of both above which the payload is not looked at
SIGNED = 2.0**-21  # chance that noise passes as a signed payload
SAME = 8.0  # standard deviations with which coded bits agree with a payload that is known already


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The best evidence of one key's mark. It is marked if `p` is under THRESHOLD."""

    key: str  # name of the key
    p: float  # chance that unmarked audio looks so, over every lag, speed, window and key tried
    layer: str  # what was found: "phase", "loudness", or "joint": both together, with the payload or without
    payload: payloads.Payload | None  # None where no payload with a valid MAC was read
    spans: tuple[tuple[float, float, float], ...]  # seconds from, to, and p-value of each window
    offset: float  # seconds into the mark's period of 16 s at which the audio begins
    polarity: int  # -1 where the waveform is upside down
    tempo: float = 1.0  # pace against the marked original
    pitch: float = 1.0  # frequency likewise

    @property
    def marked(self) -> bool:
        return self.p < THRESHOLD


@dataclass(slots=True)
class _Best:
    """The evidence of one window."""

    tests: float
    log_p: float = 50.0
    layer: str = "phase"
    lag: int = 0
    angle: float = 0.0
    tempo: float = 1.0
    pitch: float = 1.0
    payload: payloads.Payload | None = None
    strength: float = 0.0  # of the peak that `soft` was read at
    soft: np.ndarray | None = None  # evidence for coded bits

    def offer(self, log_p: float, layer: str, tests: float = 0, **facts: object) -> None:
        log_p += math.log(tests or self.tests)
        if log_p < self.log_p:
            self.log_p, self.layer = log_p, layer
            for name, value in facts.items():
                setattr(self, name, value)


@dataclass(slots=True)
class _Track:
    """What is known of one key so far."""

    windows: list[tuple[float, float, _Best]] = field(default_factory=list)
    soft: np.ndarray = field(default_factory=lambda: np.zeros(payloads.LENGTH))  # evidence for coded bits, added up
    payload: payloads.Payload | None = None

    def read(self, soft: np.ndarray, key: Key) -> payloads.Payload | None:
        """The payload of one window: that of the window before, if it agrees, which costs less than to decode."""
        if self.payload is not None:
            agreement = float(soft @ (1 - 2.0 * payloads.encode(self.payload, key)))
            if agreement > SAME * math.sqrt(float(soft @ soft) + 1e-12):
                return self.payload
        if found := payloads.decode(soft, key):
            self.payload = found
        return found


class Detector:
    """Looks for marks in a stream; memory does not grow with its length."""

    def __init__(self, rate: int, keys: Key | Sequence[Key], *, search: str = "fast"):
        """`rate` in Hz, 4,000 to 192,000; `search` "fast", or "forensic": other speeds and pitches too. ValueError."""
        rate = check_rate(rate, *RATES)
        if search not in SEARCHES:
            raise ValueError(f"found search {search!r}, expected one of {', '.join(SEARCHES)}")
        self._keys = [keys] if isinstance(keys, Key) else list(keys)
        if not self._keys:
            raise ValueError("found no key, expected at least one")
        if other := [key for key in self._keys if not isinstance(key, Key)]:
            raise ValueError(f"found a {type(other[0]).__name__} for a key, expected Key: Key.parse(text) makes one")
        self._rate, self._search = rate, search
        self._tracks = [_Track() for _ in self._keys]
        self._waiting = Queue(np.zeros((0, 1), np.float32))  # the mean of all channels, half the difference of two
        self._start = self._fresh = 0  # first sample that waits, and how many no window has held yet

    def add(self, samples: np.ndarray) -> None:
        """Floats (n,) or (n, channels). Raises ValueError, for stereo among other blocks too."""
        check_samples(samples)
        stereo = samples.ndim == 2 and samples.shape[1] == 2
        heard = np.zeros((len(samples), 1 + stereo), np.float32)
        heard[:, 0] = samples if samples.ndim == 1 else samples.mean(axis=1)
        if stereo:
            heard[:, 1] = (samples[:, 0] - samples[:, 1]) / 2
        if not len(self._waiting):
            self._waiting = Queue(heard[:0])
        if self._waiting.first(0).shape != heard[:0].shape:
            found, expected = ("stereo", "no stereo") if stereo else ("no stereo", "stereo")
            raise ValueError(f"found {found}, expected {expected} as in the block before")
        self._waiting.append(heard)
        self._fresh += len(heard)
        window, stride = WINDOW * self._rate, STRIDE * self._rate
        while len(self._waiting) > window:
            self._look(self._waiting.first(window))
            self._waiting.drop(stride)
            self._start += stride
            self._fresh = max(0, len(self._waiting) - (window - stride))

    def findings(self) -> list[Finding]:
        """One for each key, the best first. Raises ValueError for audio that is too short. The stream then ends."""
        if not any(track.windows for track in self._tracks) and len(self._waiting) < SHORTEST * self._rate:
            size = f"{len(self._waiting):,} samples at {self._rate} Hz"
            raise ValueError(f"found {size}, expected at least {SHORTEST} s")
        if self._fresh > 0:
            self._look(self._waiting.last(WINDOW * self._rate))
            self._fresh = 0
        found = [self._finding(key, track) for key, track in zip(self._keys, self._tracks, strict=True)]
        return sorted(found, key=lambda finding: finding.p)

    def _look(self, samples: np.ndarray) -> None:
        """Compares one window (n, 1 or 2) with every key, its mean and, where it has one, its difference."""
        mean, *difference = samples.T
        sides = [mean, *(side for side in difference if side @ side > SIDE * (mean @ mean))]
        pieces = [Piece(resample(np.ascontiguousarray(side), self._rate, RATE)) for side in sides]
        start = self._start / self._rate
        for key, track in zip(self._keys, self._tracks, strict=True):
            found = [_compare(piece, reference(key), track, self._search, self._start == 0) for piece in pieces]
            best = min(found, key=lambda one: one.log_p)
            best.log_p += math.log(len(found))
            if best.soft is not None:
                track.soft += best.soft
            track.windows.append((start, start + len(samples) / self._rate, best))

    def _finding(self, key: Key, track: _Track) -> Finding:
        start, _, best = min(track.windows, key=lambda window: window[2].log_p)
        payload = best.payload or track.payload
        if payload is None and len(track.windows) > 1:
            payload = payloads.decode(track.soft, key)
        tried = math.log(len(track.windows) * len(self._keys))
        return Finding(
            key=key.name,
            p=chance(best.log_p + tried),
            layer=best.layer,
            payload=payload,
            spans=tuple((a, b, chance(found.log_p)) for a, b, found in track.windows),
            offset=(-best.lag / RATE - start * best.tempo) % (PERIOD / RATE),
            polarity=-1 if math.cos(best.angle) < 0 else 1,
            tempo=best.tempo,
            pitch=best.pitch,
        )


def detect(samples: np.ndarray, rate: int, keys: Key | Sequence[Key], *, search: str = "fast") -> list[Finding]:
    """Findings in samples (n,) or (n, channels), one for each key, the best first. ValueError for bad input."""
    detector = Detector(rate, keys, search=search)
    detector.add(samples)
    return detector.findings()


def chance(log_p: float) -> float:
    """The chance of at least one in many, from the expected number of them."""
    return -math.expm1(-math.exp(min(log_p, 50.0))) if log_p > -30 else math.exp(max(log_p, -700.0))


def _compare(piece: Piece, keyed: Reference, track: _Track, search: str = "fast", first: bool = True) -> _Best:
    """The evidence in one window, the `first` of a file or not."""
    best = _Best(TESTS * (SEARCHED if search == "forensic" else 1))
    if piece.view(LOOKS[0]).energy <= 0:
        return best
    sway = magnitude.score(magnitude.features(piece.power), keyed)
    high = int(sway.argmax())
    log_p = math.log(BEATS) + float(magnitude.log_p(float(sway[high])))
    best.offer(log_p, "loudness", lag=high * HOP)
    sway = np.roll(np.repeat(-np.asarray(magnitude.log_p(sway)), HOP), -HOP // 2)  # of the nearest hop, at every lag
    for look in LOOKS:
        _look_for(piece.view(look), keyed, track, first, sway, best)
        if best.payload is not None:  # nothing is left to learn
            break
    if search == "forensic":
        _search(piece, keyed, best)
    return best


def _look_for(view: View, keyed: Reference, track: _Track, first: bool, sway: np.ndarray, best: _Best) -> None:
    """The phase layer, with bins weighted in one way; `sway` is -log p of the loudness layer at every lag."""
    found = view.correlation(keyed.pilot_spectrum, PILOTS / BINS)
    if first:
        near = np.r_[:START, PERIOD - EARLY : PERIOD]
        lags = LAGS * len(LOOKS) * len(near) / PERIOD
        _weigh(view, keyed, track, found, near, lags, sway, best)
    if best.payload is None:
        _weigh(view, keyed, track, found, slice(None), LAGS * len(LOOKS), sway, best)


def _weigh(
    view: View, keyed: Reference, track: _Track, found: np.ndarray, near: np.ndarray | slice, lags: float,
    sway: np.ndarray, best: _Best,
) -> None:  # fmt: skip
    """What the best peaks near there say, out of so many independent lags."""
    gate = math.log(lags / PASSING)
    for lag, strength in _peaks(found, near, gate, sway):
        angle = float(np.angle(found[lag]))
        best.offer(math.log(lags) - strength, "phase", lag=lag, angle=angle)
        if strength < gate:
            continue
        # The sum of two exponentials, of which the first is above the gate.
        both = strength + float(sway[lag])
        joint = math.log(lags) - both + math.log1p(both - gate)
        best.offer(joint, "joint", lag=lag, angle=angle)
        if min(joint, math.log(lags) - strength) > math.log(WORTH):
            continue
        bits, variance = view.soft(keyed, lag, angle)
        read = bits / np.sqrt(variance + 1e-12)
        payload = track.read(read, keyed.key)
        carried = special.chdtrc(int((variance > 0).sum()) or 1, float(read @ read))
        # Two ways of seeing that bits are carried: that they are strong, or that they are signed.
        both -= math.log(min(1.0, 2 * max(min(float(carried), SIGNED if payload else 1.0), 1e-300)))
        # The sum of three.
        over = both - gate
        joint = math.log(lags) - both + math.log1p(over + over**2 / 2)
        best.offer(joint, "joint", lag=lag, angle=angle)
        if strength > best.strength:
            best.strength, best.soft = strength, bits
        if payload:
            best.payload = payload
            return


def _peaks(found: np.ndarray, near: np.ndarray | slice, gate: float, sway: np.ndarray) -> list[tuple[int, float]]:
    """Lag and strength of the best peaks near there, none within a few samples of a better one."""
    strength = ((part := found[near]).real ** 2 + part.imag**2) / 2  # exponential under chance alone
    both = strength + (strength >= gate) * sway[near]
    top = np.argpartition(both, -40)[-40:]
    kept: list[int] = []
    for at in top[np.argsort(-both[top], kind="stable")].tolist():
        if all(min(abs(at - other), len(both) - abs(at - other)) > 6 for other in kept):
            kept.append(at)
        if len(kept) == CANDIDATES:
            break
    lags = np.arange(PERIOD)[near]
    return [(int(lags[at]), float(strength[at])) for at in kept]


def _search(piece: Piece, keyed: Reference, best: _Best) -> None:
    """Looks for the loudness layer at other paces and pitches."""
    changes = magnitude.changes()
    tried = math.log(BEATS * sum(len(tempi) for _, tempi in changes))
    for pitch, tempi in changes:
        found = magnitude.features(piece.power, pitch)
        for tempo in tempi:
            sway = magnitude.score(magnitude.paced(found, tempo), keyed)
            high = int(sway.argmax())
            log_p = tried + float(magnitude.log_p(float(sway[high])))
            best.offer(log_p, "loudness", SEARCHED, lag=high * HOP, tempo=tempo, pitch=pitch, angle=0.0)
