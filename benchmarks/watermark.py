"""The figures of docs/watermark.md: how marked sound differs, what the mark survives, how rarely it is seen in vain.

python benchmarks/watermark.py [quality] [robust] [payload] [alarms] [short] [speed] --speech DIR

Needs the extra ``bench``. Real speech comes from the 16 kHz FLACs of DIR, named SPEAKER-CHAPTER-UTTERANCE; eSpeak
speaks in ten languages besides. Whatever misses its bar is said to.
"""

import argparse
import json
import math
import os
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")  # before NumPy

import attacks
import numpy as np
from codec_attacks import lossy
from watermark_clips import KEY, OTHER, RATES, SECONDS, Clip, below, clips, mapped, percent, table, wrong

from pipeline.audio.blocks import Samples
from pipeline.watermark import THRESHOLD, Detector, Embedder, Key, Payload, code, detect, embed, payload
from pipeline.watermark.detect import _compare, _Track, chance
from pipeline.watermark.piece import LOOKS, Piece, View
from pipeline.watermark.reference import PILOTS, Reference, reference
from pipeline.watermark.spectrum import BINS, RATE, resample

MEASURES = ("PESQ-WB", "STOI", "ViSQOL", "ViSQOL lattice", "SNR dB")
QUALITY_BARS = {"PESQ-WB mean": 4.5, "PESQ-WB min": 4.3, "STOI mean": 0.995, "STOI min": 0.995, "ViSQOL mean": 4.6}
ROBUST_BARS = {"every": 1.0, "most": 0.95}
FORENSIC = ("tempo", "speed", "pitch", "griffin-lim", "mel griffin-lim", "1 % samples deleted")
PAYLOAD_ROWS = (
    *("mp3 32k", "aac 32k", "opus 16k", "white noise 20 dB"),
    *("resample 16k", "resample 8k", "resample 44.1k", "crop to 5 s"),
)
PAYLOAD_BAR = 0.98
EB_N0 = (-4, -3, -2, -1, 0, 1)  # dB; half of the payloads are read at about -2
SNRS = (20, 15, 10, 5, 0)  # dB, of white noise; half of those of real speech are read at about 15
CHUNK = 500  # trials of one task
VARIANTS = ("unmarked", "marked", "unmarked, mp3 32k")
LEVELS = (1e-1, 1e-2, 1e-3)
ALARM_BAR = 1.5  # times the nominal rate at most, and the nominal rate over it at least
KEYS = 10  # of one task
SHORT, SHORT_ROWS, SHORT_P, SHORT_BAR = 1.5, ("mp3 64k", "opus 24k"), 1e-4, 0.95
SPEED_BARS = {"embed": 150, "fast": 100, "forensic": 5}  # times as fast as real time
SPEED_SECONDS, REPEATS = 60, 3
STREAMS = (180, 3 * 3600)  # seconds


@dataclass
class Setup:
    speech: Path
    count: int
    processes: int
    trials: int
    pairs: int
    forensic_pairs: int
    rows: str
    tried: list[list[dict[str, Any]]] = field(default_factory=list)  # by robust(), of which payload() takes its share

    @property
    def clips(self) -> list[Clip]:
        return clips(self.speech, self.count)

    def mapped(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return mapped(work, tasks, self.processes)


def quality(setup: Setup) -> dict[str, Any]:
    """Marked against unmarked clips, by dubline and by Perth."""
    found = setup.mapped(_quality, setup.clips)
    columns = [f"{name} {kind}" for name in MEASURES for kind in ("mean", "min")]
    rows, summary = [], {}
    for mark in ("dubline", "Perth"):
        for kind in ("real", "espeak", "all"):
            chosen = [one[mark] for clip, one in zip(setup.clips, found, strict=True) if kind in (clip.kind, "all")]
            cells = np.stack([np.mean(chosen, axis=0), np.min(chosen, axis=0)], axis=1).reshape(-1).tolist()
            figures = dict(zip(columns, cells, strict=True))
            misses = [f"{name} {bar}" for name, bar in QUALITY_BARS.items() if figures[name] < bar]
            rows.append([f"{mark}, {kind}", len(chosen), *cells, ", ".join(misses)])
            summary[f"{mark}, {kind}"] = figures
    print(table(["", "clips", *columns, "misses"], rows))
    equal = float(np.mean([one["equal"] for one in found]))
    print(f"\nEqual clips score {equal:.3f} by the mean of ViSQOL lattice, 5 by ViSQOL.")
    worst = setup.clips[int(np.argmin([one["dubline"][0] for one in found]))]
    print(f"The lowest PESQ is that of {worst.name}.")
    return summary | {"equal_lattice": equal, "dubline": [one["dubline"] for one in found]}


def _quality(clip: Clip) -> dict[str, Any]:
    # Torch takes seconds and hundreds of megabytes, which only these two parts need.
    import perth_mark
    import quality as measures

    found: dict[str, Any] = {"equal": measures.visqol(clip.samples, clip.samples, clip.rate)[1]}
    for name, marked in (("dubline", clip.marked()), ("Perth", perth_mark.mark(clip.samples, clip.rate))):
        pair = clip.samples, marked
        found[name] = [
            measures.pesq_wb(*pair, clip.rate),
            measures.stoi(*pair, clip.rate),
            *measures.visqol(*pair, clip.rate),
            measures.snr_db(*pair),
        ]
    return found


def robust(setup: Setup) -> dict[str, Any]:
    """Marked clips after each attack: found by dubline with p < 1e-9, found by Perth, payload read exactly."""
    setup.tried = _attacked(setup, tuple(row for row in attacks.ATTACKS if re.search(setup.rows, row)), peer=True)
    rows, summary = [], {}
    for tried in zip(*setup.tried, strict=True):
        ours, theirs, read = (float(np.mean([one[of] for one in tried])) for of in ("marked", "perth", "exact"))
        strengths = [-math.log10(one["p"]) for one in tried]
        row, search = tried[0]["row"], tried[0]["search"]
        notes = [below(ours, ROBUST_BARS[attacks.GROUPS[row]]), "Perth ahead" if theirs > ours else ""]
        note = ", ".join(filter(None, notes))
        missed = [clip.name for clip, one in zip(setup.clips, tried, strict=True) if not one["marked"]]
        facts = [percent(ours), f"{np.median(strengths):.1f}", f"{min(strengths):.1f}", percent(read)]
        rows.append([row, attacks.GROUPS[row], search, *facts, percent(theirs), note])
        figures = {"found": ours, "exact": read, "perth": theirs, "median": np.median(strengths), "min": min(strengths)}
        summary[row] = figures | {"search": search, "note": note, "missed": missed}
    head = ["attack", "bar", "search", "found %", "median -lg p", "worst -lg p", "payload %", "Perth %", ""]
    print(table(head, rows))
    for row, figures in summary.items():
        if figures["missed"]:
            print(f"Not found after {row}: {', '.join(figures['missed'])}")
    false = np.sum(setup.mapped(_false, setup.clips), axis=0).tolist()
    print(f"\nUnmarked clips, {len(setup.clips)} of them, taken for marked: dubline {false[0]}, Perth {false[1]}")
    return summary | {"false": false}


def _attacked(setup: Setup, rows: tuple[str, ...], peer: bool) -> list[list[dict[str, Any]]]:
    tasks = []
    for n, clip in enumerate(setup.clips):
        others = [other for other in setup.clips[n + 1 :] + setup.clips[: n + 1] if other.rate == clip.rate]
        tasks.append((clip, others[0].samples, rows, peer))
    return setup.mapped(_clip_attacked, tasks)


def _clip_attacked(task: tuple[Clip, Samples, tuple[str, ...], bool]) -> list[dict[str, Any]]:
    clip, attacks.INTERFERER, rows, peer = task
    marked, theirs = clip.marked(), None
    if peer:
        import perth_mark

        theirs = perth_mark.mark(clip.samples, clip.rate)
    found = []
    for row in rows:
        attack = attacks.ATTACKS[row] or _second_mark
        search = "forensic" if row.startswith(FORENSIC) else "fast"
        finding = detect(*attack(marked, clip.rate), KEY, search=search)[0]
        one = {"row": row, "search": search, "p": finding.p, "marked": finding.marked}
        one["exact"] = finding.payload == clip.payload
        if theirs is not None:
            one["perth"] = perth_mark.found(*attack(theirs, clip.rate)) > perth_mark.THRESHOLD
        found.append(one)
    return found


def _second_mark(samples: Samples, rate: int) -> attacks.Sound:
    return embed(samples, rate, OTHER, Payload.of(OTHER, "0123456789ab")), rate


def _false(clip: Clip) -> tuple[bool, bool]:
    import perth_mark

    theirs = perth_mark.found(clip.samples, clip.rate) > perth_mark.THRESHOLD
    return detect(clip.samples, clip.rate, KEY)[0].marked, theirs


def payloads(setup: Setup) -> dict[str, Any]:
    """Payloads read exactly after attacks; and wrong ones taken for signed, of which there should be none."""
    tried = setup.tried or _attacked(setup, PAYLOAD_ROWS, peer=False)
    rows, summary = [], dict[str, Any]()
    for each in zip(*tried, strict=True):
        if (row := each[0]["row"]) in PAYLOAD_ROWS:
            summary[row] = float(np.mean([one["exact"] for one in each]))
            rows.append([row, percent(summary[row]), below(summary[row], PAYLOAD_BAR)])
    print(table(["attack", "payload %", ""], rows) + "\n")
    third = -(-setup.trials // 3)
    made = setup.mapped(_made_trials, range(-(-2 * third // CHUNK)))
    draws = -(-third // (2 * len(setup.clips)))
    real = setup.mapped(_real_trials, [(clip, draws) for clip in setup.clips])
    counts: Counter[tuple[str, str]] = sum([*made, *real], Counter())
    kinds = {kind: [counts[kind, how] for how in ("right", "none", "wrong")] for kind, _ in counts}
    totals = np.sum(list(kinds.values()), axis=0).tolist()
    print(table(["soft values", "right", "none", "wrong"], [[k, *v] for k, v in (kinds | {"all": totals}).items()]))
    print(f"\n{sum(totals):,} trials, {totals[2]} wrong payloads{' (misses 0)' if totals[2] else ''}")
    return summary | {"trials": sum(totals), "wrong": totals[2], "counts": kinds}


def _outcome(soft: np.ndarray, key: Key, truth: Payload | None) -> str:
    read = payload.decode(soft, key)
    return "none" if read is None else "right" if read == truth else "wrong"


def _made_trials(seed: int) -> Counter[tuple[str, str]]:
    """Half of them noise, half noisy code words of random payloads."""
    draw = np.random.default_rng(seed)
    found: Counter[tuple[str, str]] = Counter()
    for n in range(CHUNK // 2):
        found["noise alone", _outcome(draw.standard_normal(payload.LENGTH), KEY, None)] += 1
        db = EB_N0[n % len(EB_N0)]
        sent = Payload(KEY.id, int(draw.integers(1 << 48)))
        signal = (1.0 - 2 * payload.encode(sent, KEY)) * math.sqrt(2 * 10 ** (db / 10) / len(code.POLYNOMIALS))
        soft = signal + draw.standard_normal(payload.LENGTH)
        found[f"code words at {db:2} dB", _outcome(soft, KEY, sent)] += 1
    return found


def _real_trials(task: tuple[Clip, int]) -> Counter[tuple[str, str]]:
    """A clip in ever other noise, read with the right key and with a wrong one."""
    clip, count = task
    marked, found = clip.marked(), Counter[tuple[str, str]]()
    for n in range(count):
        db = SNRS[n % len(SNRS)]
        noisy, rate = attacks.noisy(marked, clip.rate, db + n / count)  # the fraction changes the noise
        view = Piece(resample(noisy, rate, RATE)).view(LOOKS[n // len(SNRS) % len(LOOKS)])
        for kind, key, truth in (("right", KEY, clip.payload), ("wrong", wrong(n % 8), None)):
            found[f"clips in noise at {db:2} dB, {kind} key", _outcome(_soft(view, reference(key)), key, truth)] += 1
    return found


def _soft(view: View, keyed: Reference) -> np.ndarray:
    """What the detector decodes at the highest peak, whether it would or not."""
    found = view.correlation(keyed.pilot_spectrum, PILOTS / BINS)
    lag = int(np.abs(found).argmax())
    bits, variance = view.soft(keyed, lag, float(np.angle(found[lag])))
    return bits / np.sqrt(variance + 1e-12)


def alarms(setup: Setup) -> dict[str, Any]:
    """Unmarked, marked and coded clips compared with wrong keys: how often p is how small."""
    summary = {}
    for search, pairs in (("fast", setup.pairs), ("forensic", setup.forensic_pairs)):
        keys = range(-(-pairs // (len(VARIANTS) * len(setup.clips))))
        tasks = [(setup.speech, setup.count, search, keys[n : n + KEYS]) for n in keys[::KEYS]]
        found = np.concatenate(setup.mapped(_wrong_keys, tasks))  # (keys, clips, VARIANTS)
        rows = []
        for kind, p in {**dict(zip(VARIANTS, np.moveaxis(found, 2, 0), strict=True)), "all": found}.items():
            rates = [float(np.mean(p < level)) / level for level in LEVELS]
            raised = int(np.sum(p < THRESHOLD))
            off = any(not 1 / ALARM_BAR <= rate <= ALARM_BAR for rate in rates[1:])  # of 1e-1 nothing is asked
            barred = (search, kind) == ("fast", "all")  # the others are too few for 1e-3
            rows.append(
                [kind, p.size, raised, *rates, f"{p.min():.1e}", "misses" if raised or (off and barred) else ""]
            )
            summary[f"{search}, {kind}"] = {"pairs": p.size, "alarms": raised, "rates": rates, "least": float(p.min())}
        head = [search, "pairs", f"p < {THRESHOLD:.0e}", *(f"p < {level:.0e}, over nominal" for level in LEVELS)]
        print(table([*head, "least p", ""], rows) + "\n")
    return summary


@cache
def _pieces(speech: Path, count: int) -> list[Piece]:
    """Of every clip its VARIANTS."""
    found = []
    for clip in clips(speech, count):
        coded = lossy(clip.samples, clip.rate, codec="mp3", kbit=32)
        for samples, rate in ((clip.samples, clip.rate), (clip.marked(), clip.rate), coded):
            found.append(Piece(resample(samples[: SECONDS * rate], rate, RATE)))
    return found


def _wrong_keys(task: tuple[Path, int, str, Sequence[int]]) -> np.ndarray:
    speech, count, search, keys = task
    found = []
    for n in keys:
        keyed = Reference(wrong(n))
        found += [chance(_compare(piece, keyed, _Track(), search).log_p) for piece in _pieces(speech, count)]
    return np.reshape(found, (len(keys), -1, len(VARIANTS)))


def short(setup: Setup) -> dict[str, Any]:
    """Lines of 1.5 s, marked on their own and coded: p < 1e-4."""
    found = np.array(setup.mapped(_short, setup.clips))  # (clips, lines, SHORT_ROWS)
    kinds = np.array([clip.kind for clip in setup.clips])
    rows, summary = [], {}
    for row, of_row in zip(SHORT_ROWS, np.moveaxis(found, 2, 0), strict=True):
        for kind, ps in (("real", of_row[kinds == "real"]), ("espeak", of_row[kinds == "espeak"]), ("all", of_row)):
            share, strengths = float(np.mean(ps < SHORT_P)), -np.log10(ps)
            facts = percent(share), f"{np.median(strengths):.1f}", f"{strengths.min():.1f}", below(share, SHORT_BAR)
            rows.append([f"{row}, {kind}", ps.size, *facts])
            summary[f"{row}, {kind}"] = {"share": share, "median": np.median(strengths), "min": strengths.min()}
    print(table(["attack", "lines", f"p < {SHORT_P:.0e} %", "median -lg p", "worst -lg p", ""], rows))
    return summary


def _short(clip: Clip) -> list[list[float]]:
    """The loudest line of the clip and the loudest one beside it."""
    size, found = round(SHORT * clip.rate), []
    power = np.cumsum(np.square(clip.samples, dtype=np.float64))
    level = power[size:] - power[:-size]
    for _ in range(2):
        start = int(level.argmax())
        level[max(0, start - size) : start + size] = -1
        line = embed(clip.samples[start : start + size], clip.rate, KEY, clip.payload)
        found.append([detect(*attacks.ATTACKS[row](line, clip.rate), KEY)[0].p for row in SHORT_ROWS])
    return found


def speed(setup: Setup) -> dict[str, Any]:
    """Times as fast as real time on one core, by CPU time; and the memory that a stream takes."""
    rows, summary = [], {}
    for rate in RATES:
        [found] = mapped(_speeds, [(setup.speech, setup.count, rate)], 1)
        misses = ", ".join(name for name, bar in SPEED_BARS.items() if found[name] < bar)
        rows.append([f"{rate:,} Hz", *(f"{found[name]:.0f}" for name in SPEED_BARS), misses])
        summary[str(rate)] = found
    print(table(["", *(f"{name} (bar {bar})" for name, bar in SPEED_BARS.items()), "misses"], rows) + "\n")
    streams = [mapped(_streamed, [(setup.speech, setup.count, seconds)], 1)[0] for seconds in STREAMS]
    print(table(["stream", "peak MB", "CPU s", "p"], streams))
    return summary | {"streams": streams}


def _speeds(task: tuple[Path, int, int]) -> dict[str, float]:
    speech, count, rate = task
    sound = np.concatenate([clip.samples for clip in clips(speech, count) if clip.rate == rate])
    sound = np.resize(sound, SPEED_SECONDS * rate)
    sent = Payload.of(KEY, "0123456789ab")
    marked = embed(sound, rate, KEY, sent)
    works = {
        "embed": lambda: embed(sound, rate, KEY, sent),
        "fast": lambda: detect(marked, rate, KEY),
        "forensic": lambda: detect(marked, rate, KEY, search="forensic"),
    }
    found = {}
    for name, work in works.items():
        times = []
        for _ in range(REPEATS):
            began = time.process_time()
            work()
            times.append(time.process_time() - began)
        found[name] = SPEED_SECONDS / float(np.median(times))
    return found


def _streamed(task: tuple[Path, int, int]) -> tuple[str, str, str, str]:
    """Marks and detects clips one after the other until ``seconds`` are over."""
    speech, count, seconds = task
    rate, began = RATES[0], time.process_time()
    sounds = [clip.samples for clip in clips(speech, count) if clip.rate == rate]
    embedder, detector = Embedder(rate, KEY, Payload.of(KEY, "0123456789ab")), Detector(rate, KEY)
    for n in range(seconds // SECONDS):
        detector.add(embedder.process(sounds[n % len(sounds)]))
    detector.add(embedder.flush())
    p = detector.findings()[0].p
    # The kernel's own peak of this process; that of getrusage begins with its parent's.
    [peak] = re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    cpu = f"{time.process_time() - began:.0f}"
    return f"{seconds / 60:.0f} min", f"{int(peak) / 1024:.0f}", cpu, f"{p:.0e}"


PARTS: dict[str, Callable[[Setup], dict[str, Any]]] = {
    "quality": quality,
    "robust": robust,
    "payload": payloads,
    "alarms": alarms,
    "short": short,
    "speed": speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them without any")
    parser.add_argument("--speech", type=Path, required=True, help="folder of FLACs")
    parser.add_argument("--clips", type=int, default=48, help="of real speech, at most")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--trials", type=int, default=100_000, help="of reading payloads where none or another is")
    parser.add_argument("--pairs", type=int, default=100_000, help="of clips and wrong keys")
    parser.add_argument("--forensic-pairs", type=int, default=2_000)
    parser.add_argument("--rows", default="", help="of robust: those whose names this regular expression finds")
    parser.add_argument("--json", type=Path, help="file to append a line of JSON to for each part")
    args = parser.parse_args()
    setup = Setup(args.speech, args.clips, args.processes, args.trials, args.pairs, args.forensic_pairs, args.rows)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for part in args.parts or PARTS:
        print(f"\n{part}: {PARTS[part].__doc__}\n", flush=True)
        began = time.monotonic()
        summary = PARTS[part](setup)
        print(f"\n{part} took {time.monotonic() - began:.0f} s", flush=True)
        if args.json:
            with args.json.open("a") as file:
                file.write(json.dumps({"part": part, **summary}, default=float) + "\n")


if __name__ == "__main__":
    main()
