"""The figures of the safeguards: speaker encoder, blocklist, rules for scripts.

    python benchmarks/safety.py --speech FOLDER [encoder] [takes] [search] [rules]

FOLDER holds FLAC files named SPEAKER-CHAPTER-NUMBER, as in LibriSpeech.
"""

import argparse
import platform
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import yaml

from pipeline.audio.codec import decode
from pipeline.engines.espeak import VARIANTS, Espeak
from pipeline.model import Chunk
from pipeline.safety.blocklist import Blocklist, Calibration, calibrate, draft, read_blocklist, sign
from pipeline.safety.rules import Pack, check, pack
from pipeline.signing import SigningKey
from pipeline.voices.encoder import EMBEDDED, Vector, centre, open_encoder

CORPUS = Path(__file__).parents[1] / "tests" / "safety"
LANGUAGES = ["en", "es", "fr", "de", "pt", "it", "pl", "ru", "tr", "ar", "hi", "zh", "ja"]
ENROLLED, DRAWS, RATE = 5, 40, 0.001
SENTENCES = (
    "The lamp is out again, and nobody comes here in March to light it.",
    "We have waited seven years for a letter, and it was never written.",
    "Give me the rope, the boat is drifting out to sea this very minute.",
    "Somebody went up the stairs with a lantern in his hand, I heard it.",
    "There is bread on the table and the kettle is still warm, sit down.",
    "The road over the pass has been closed since the snow came down.",
    "He counted the coins twice and put them back under the floor.",
    "My sister says that the mill stood here before the river moved.",
    "Do not open the window, the wind will take all of the papers.",
    "In the evening the whole village came down to see the whale.",
)


def voices(folder: Path) -> dict[str, list[Vector]]:
    """Speaker -> the pieces (n, size) of each recording."""
    encoder, found = open_encoder(EMBEDDED), defaultdict(list)
    for file in sorted(folder.glob("*.flac")):
        found[file.name.split("-")[0]].append(encoder.pieces(*decode(file)))
    return dict(found)


def error_rate(same: np.ndarray, other: np.ndarray) -> float:
    """Where as many of the same are missed as others are taken for the same."""
    levels = np.sort(np.concatenate([same, other]))
    missed = np.searchsorted(np.sort(same), levels, "left") / len(same)
    wrong = 1 - np.searchsorted(np.sort(other), levels, "left") / len(other)
    at = int(np.argmin(np.abs(missed - wrong)))
    return float((missed[at] + wrong[at]) / 2)


def listed(calibration: Calibration, people: dict[str, list[Vector]]) -> Blocklist:
    key = SigningKey(bytes(32))
    body = draft(calibration, {name: [centre(pieces) for pieces in clips] for name, clips in people.items()})
    data = sign(body, key, version=1, issued="2026-01-01T00:00:00Z", expires="2126-01-01T00:00:00Z")
    return read_blocklist(data, [key.public])


class Count:
    """How many clips a list takes for somebody on it."""

    def __init__(self) -> None:
        self.found, self.tried = 0, 0

    def add(self, one: Blocklist, clips: list[Vector]) -> None:
        self.found += sum(one.nearest(centre(pieces))[1] >= one.calibration.threshold for pieces in clips)
        self.tried += len(clips)

    def __str__(self) -> str:
        return f"{self.found / self.tried:.3%} of {self.tried}"


def encoder(speech: Path) -> None:
    """Equal error rate over all pairs of clips; listed speakers caught, with five clips enrolled, at 0.1 %."""
    spoken = voices(speech)
    rows = [(name, centre(pieces)) for name, clips in spoken.items() for pieces in clips]
    vectors, names = np.stack([row[1] for row in rows]), np.array([row[0] for row in rows])
    pairs = np.triu_indices(len(rows), 1)
    scores, equal = (vectors @ vectors.T)[pairs], (names[:, None] == names)[pairs]
    print(f"{len(spoken)} speakers, {len(rows)} clips: equal error rate "
          f"{error_rate(scores[equal], scores[~equal]):.2%} ({equal.sum()} and {(~equal).sum()} pairs)")  # fmt: skip
    random, hits, false = np.random.default_rng(0), Count(), Count()
    for name in [name for name, clips in spoken.items() if len(clips) > ENROLLED]:
        others = {other: clips for other, clips in spoken.items() if other != name}
        calibration = calibrate("benchmark", others, RATE)  # without the one who is listed
        for _ in range(DRAWS):
            order = random.permutation(len(spoken[name]))
            one = listed(calibration, {name: [spoken[name][n] for n in order[:ENROLLED]]})
            hits.add(one, [spoken[name][n] for n in order[ENROLLED:]])
            false.add(one, [pieces for clips in others.values() for pieces in clips])
    print(f"listed with {ENROLLED} clips, {DRAWS} draws of each of the speakers with more: caught {hits}; "
          f"strangers taken for them {false}")  # fmt: skip


def takes(speech: Path) -> None:
    """Takes of a synthetic voice that is listed, and real speakers taken for it."""
    spoken, speaker, heard = voices(speech), Espeak(), open_encoder(EMBEDDED)
    calibration = calibrate(heard.id, spoken, RATE)
    hits, false = Count(), Count()
    for variant in VARIANTS:
        chunks = [Chunk(key="", text=text, language="en-us", voice=variant) for text in SENTENCES]
        clips = [heard.pieces(found.samples, speaker.sample_rate) for found in speaker.speak(chunks)]
        one = listed(calibration, {variant: clips[:ENROLLED]})
        hits.add(one, clips[ENROLLED:])
        false.add(one, [pieces for found in spoken.values() for pieces in found])
    print(f"{len(VARIANTS)} voices of eSpeak NG, each listed with {ENROLLED} takes: caught {hits}; "
          f"real speech taken for them {false}")  # fmt: skip


def search(speech: Path) -> None:
    """Milliseconds to hold one voice against 100,000 people, exactly; seconds and megabytes to read such a list."""
    calibration = calibrate("benchmark", voices(speech), RATE)
    random = np.random.default_rng(0)
    vectors = np.abs(random.standard_normal((100_000, calibration.cohort.shape[1])).astype(np.float32))
    people = {str(n): [row[None] / np.linalg.norm(row)] for n, row in enumerate(vectors)}
    key = SigningKey(bytes(32))
    body = draft(calibration, {name: [centre(pieces) for pieces in clips] for name, clips in people.items()})
    data = sign(body, key, version=1, issued="2026-01-01T00:00:00Z", expires="2126-01-01T00:00:00Z")
    began = time.process_time()
    found = read_blocklist(data, [key.public])
    reading, times = time.process_time() - began, []
    for n in range(50):
        began = time.perf_counter()
        assert found.nearest(found.vectors[n * 1999])[0] == str(n * 1999)
        times.append(time.perf_counter() - began)
    print(f"100,000 people: {1000 * np.median(times):.1f} ms a search (the slowest of 50 {1000 * max(times):.1f} ms); "
          f"the list is {len(data) / 1e6:.0f} MB and read in {reading:.1f} CPU-seconds")  # fmt: skip


def rules(speech: Path) -> None:
    """Scripts blocked: examples in short lines or disguised, paraphrases, scams by others; ordinary lines refused.

    Ordinary lines are held against the packs of all languages, as a job does; the others against their own.
    """
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    print(
        "| language | in short lines | disguised | paraphrases | other scams, seen | unseen | ordinary lines refused |"
    )
    print("|---|---|---|---|---|---|---|")
    for language in LANGUAGES:
        found = pack(language)
        assert found is not None
        sets = {
            "cut": [{"script": _cut(script, language)} for rule in found.rules for script in rule.blocked],
            "disguised": [{"script": d} for rule in found.rules for script in rule.blocked for d in _disguised(script)],
            "paraphrases": yaml.safe_load((CORPUS / f"paraphrases/{language}.yaml").read_text()),
            **yaml.safe_load((CORPUS / f"heldout/{language}.yaml").read_text()),
        }
        cells = []
        for name in SETS:
            blocked = sum(bool(_blocked(found, entry["script"])) for entry in sets[name])
            totals[name][0] += blocked
            totals[name][1] += len(sets[name])
            cells.append(f"{blocked} of {len(sets[name])}")
        files = sorted(CORPUS.glob(f"ordinary/{language}*.txt"))
        lines = [line for file in files for line in file.read_text().splitlines()]
        wrong = sum(hit.severity == "block" for hit in check(list(enumerate(lines, 1)), language))
        totals["ordinary"][0] += wrong
        totals["ordinary"][1] += len(lines)
        print(f"| {language} | {' | '.join(cells)} | {wrong} of {len(lines)} |", flush=True)
    shares = [f"{part / whole:.1%} of {whole}" for part, whole in (totals[name] for name in SETS)]
    wrong, whole = totals["ordinary"]
    print(f"| all | {' | '.join(shares)} | {wrong} of {whole} |")


def _cut(script: Sequence[str], language: str) -> list[str]:
    """Its sentences in lines of three words, or of eight characters."""
    if language in ("zh", "ja"):
        return [line[n : n + 8] for line in script for n in range(0, len(line), 8)]
    words = [line.split() for line in script]
    return [" ".join(line[n : n + 3]) for line in words for n in range(0, len(line), 3)]


def _disguised(script: Sequence[str]) -> list[list[str]]:
    """With hyphens in its words, with an enclosing mark after each, with "Hm." and three empty cues after each line."""
    return [
        [re.sub(r"\w{4,}", lambda word: f"{word[0][:2]}-{word[0][2:]}", line) for line in script],
        [re.sub(r"\w{3,}", lambda word: f"{word[0]}\u20dd", line) for line in script],
        [text for line in script for text in (line, "Hm.")],
        [text for line in script for text in (line, *["\u3164."] * 3)],
    ]


def _blocked(found: Pack, script: list[str]) -> list[str]:
    return [hit.rule for hit in found.check(list(enumerate(script, 1))) if hit.severity == "block"]


SETS = ("cut", "disguised", "paraphrases", "dev", "test")
PARTS: dict[str, Callable[[Path], None]] = {"encoder": encoder, "takes": takes, "search": search, "rules": rules}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="all of them without any")
    parser.add_argument("--speech", type=Path, required=True, help="folder of FLACs")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for part in args.parts or PARTS:
        print(f"\n{part}: {PARTS[part].__doc__}\n", flush=True)
        PARTS[part](args.speech)


if __name__ == "__main__":
    main()
