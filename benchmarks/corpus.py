"""Made-up catalogues, the same for the same seed: scripts that look and last like films', in 14 languages."""

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

NAMES = ("MARTA", "JONAS", "MRS KEANE", "THE GUARD", "ELIAS", "NOOR", "DOCTOR WEISS", "YUKI")
PACE = 14.0  # characters a second that a viewer reads, and a speaker about says
WIDTH = 42  # characters on a line of a subtitle
MARKS = {"comma": ", ", "stop": ".", "question": "?", "space": " ", "pace": PACE}
HEADS = "Yes|No|Well|Look|Wait|Listen|Right|Sure|Please|Hey|Okay|Now|Stop|Sorry|Thanks|Good|Fine|Oh|Ah|Sir"

Cue = tuple[float, float, str, str]  # start, end, speaker, text


@cache
def parts(language: str) -> dict[str, Any]:
    raw = yaml.safe_load(Path(__file__).with_name("sentences.yaml").read_text("utf-8"))[language]
    lists = {k: [part.strip() for part in v.split(" | ")] for k, v in raw.items() if k != "marks"}
    lists = {k: [" ".join(part.split()) for part in v] for k, v in lists.items()}
    rest = lists.get("first") or lists["tails"]
    numbered = [part for part in rest if "{}" in part]
    return {**lists, "rest": rest, "numbered": numbered, "marks": MARKS | raw.get("marks", {})}


def clause(words: dict[str, Any], draw: random.Random) -> str:
    space = words["marks"]["space"]
    text: str = draw.choice(words["who"]) + space + draw.choice(words["does"])
    if draw.random() < 0.2:
        text = draw.choice(words["clauses"])
    if draw.random() < 0.8:
        # Real dialogue hardly repeats itself, and takes are kept by their text: numbers make most lines new.
        rest = draw.choice(words["numbered"] if draw.random() < 0.6 else words["rest"])
        text = rest + space + text if "first" in words else text + space + rest
    return text.format(draw.randint(2, 999), year=draw.randint(1900, 2019))


def sentence(words: dict[str, Any], draw: random.Random) -> tuple[str, ...]:
    """What one says at once: one cue, or, one time in four, a sentence that runs over two."""
    marks, kind = words["marks"], draw.random()
    if kind < 0.1:
        return (_capital(draw.choice(words["questions"])) + marks["question"],)
    if kind < 0.15:
        return (_capital(draw.choice(words["openers"])) + marks["stop"],)
    text = clause(words, draw)
    if len(text) < WIDTH and draw.random() < 0.4:
        text = draw.choice(words["openers"]) + marks["comma"] + text
    if kind < 0.4:
        more = draw.choice(words["joins"]) + marks["space"] + clause(words, draw)
        return _capital(text) + marks["comma"].rstrip(), more + marks["stop"]
    return (_capital(text) + draw.choices((marks["stop"], "!"), (9, 1))[0],)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def cues(language: str, lines: int, seconds: float, draw: random.Random) -> list[Cue]:
    """Cues whose spans fit their texts most of the time, with gaps between that fill the running time."""
    words = parts(language)
    cast = draw.sample(NAMES, draw.choice((2, 3)))
    said: list[tuple[str, str, float, float]] = []  # speaker, text, span, weight of the gap before
    while len(said) < lines:
        speaker = draw.choice(cast)
        for n, text in enumerate(sentence(words, draw)):
            span = max(0.9, len(text) / words["marks"]["pace"] * draw.uniform(0.82, 1.4))
            said.append((speaker, text, span, 0.02 if n else draw.expovariate(1.0)))
    del said[lines:]
    # Where the lines would not leave a tenth of the time for gaps, everybody has to speak faster.
    squeeze = min(1.0, 0.9 * seconds / sum(span for _, _, span, _ in said))
    room = seconds - squeeze * sum(span for _, _, span, _ in said)
    scale = room / sum(weight for *_, weight in said)
    at, found = 0.0, []
    for speaker, text, span, weight in said:
        start = at + weight * scale
        at = start + span * squeeze
        found.append((start, at, speaker, text))
    return found


def clock(seconds: float, point: str) -> str:
    whole = round(seconds * 1000)
    minutes, rest = divmod(whole, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def folded(text: str) -> str:
    """On two lines where it is long, broken at the space nearest to the middle."""
    if len(text) <= WIDTH:
        return text
    middle = len(text) // 2
    spaces = [n for n, letter in enumerate(text) if letter == " "]
    best = min(spaces, key=lambda n: abs(n - middle), default=None)
    return text if best is None else text[:best] + "\n" + text[best + 1 :]


def write_srt(path: Path, script: Iterable[Cue]) -> None:
    blocks = (
        f"{n}\n{clock(start, ',')} --> {clock(end, ',')}\n{folded(text)}\n"
        for n, (start, end, _, text) in enumerate(script, 1)
    )
    path.write_text("\n".join(blocks), "utf-8")


def write_vtt(path: Path, script: Iterable[Cue]) -> None:
    blocks = (
        f"{clock(start, '.')} --> {clock(end, '.')}\n<v {speaker}>{folded(text)}\n"
        for start, end, speaker, text in script
    )
    path.write_text("WEBVTT\n\n" + "\n".join(blocks), "utf-8")


def write_titles(folder: Path, entries: Iterable[tuple[str, dict[str, str]]]) -> Path:
    path = folder / "catalogue.yaml"
    with path.open("w", encoding="utf-8") as file:
        file.write("titles:\n")
        for id, scripts in entries:  # JSON is YAML, written many times faster
            file.write(f"- {json.dumps({'id': id, 'scripts': scripts})}\n")
    return path


def write_catalogue(
    folder: str | Path, titles: int, minutes: float, lines_per_title: int, languages: Iterable[str], seed: int
) -> Path:
    """Titles of ``minutes`` in every language; every other one is WebVTT with speakers, the rest SRT."""
    folder, languages = Path(folder), tuple(languages)
    folder.mkdir(parents=True, exist_ok=True)

    def entries() -> Iterator[tuple[str, dict[str, str]]]:
        for n in range(1, titles + 1):
            id = f"t{n:04}"
            suffix, write = ("srt", write_srt) if n % 2 else ("vtt", write_vtt)
            scripts = {language: f"{id}.{language}.{suffix}" for language in languages}
            for language, name in scripts.items():
                draw = random.Random(f"{seed}/{id}/{language}")
                write(folder / name, cues(language, lines_per_title, minutes * 60, draw))
            yield id, scripts

    return write_titles(folder, entries())


def write_dense(folder: str | Path, titles: int, lines: int, seed: int) -> Path:
    """English titles of nothing but one-word lines, 20 different ones, one every 0.8 seconds."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    said = [f"{head}." for head in HEADS.split("|")]
    times = [(n * 0.8, n * 0.8 + 0.7) for n in range(lines)]

    def entries() -> Iterator[tuple[str, dict[str, str]]]:
        for n in range(1, titles + 1):
            draw = random.Random(f"{seed}/{n}")
            name = f"t{n:04}.en.srt"
            write_srt(folder / name, ((*span, "", draw.choice(said)) for span in times))
            yield f"t{n:04}", {"en": name}

    return write_titles(folder, entries())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--titles", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--lines", type=int, default=700, help="for each title")
    parser.add_argument("--languages", nargs="+", default=["en"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dense", action="store_true", help="one-word English lines, one every 0.8 seconds")
    args = parser.parse_args()
    if args.dense:
        print(write_dense(args.folder, args.titles, args.lines, args.seed))
    else:
        print(write_catalogue(args.folder, args.titles, args.minutes, args.lines, args.languages, args.seed))


if __name__ == "__main__":
    main()
