"""Rules for scripts: what a synthetic voice must not be made to say, seen over several lines of a title."""

import functools
import hashlib
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import langcodes

from pipeline.parse import parse_yaml
from pipeline.safety.fold import fold, rejoined
from pipeline.text.script import TERMINATED

WITHIN = 8  # lines over which the cues of a rule may lie, where it does not say
ACROSS = 6  # words before and after a line's end over which a phrase is looked for
FULL = 6  # words of a whole line
CURT = 2  # words of a line that a phrase runs on over, although it ends a sentence. Send. The. Bail.
KEY = 5  # letters of a cue's longest word that a line must hold somewhere before the cue is looked for
SEVERITIES = ("block", "review")
_ANY = r"\S*"  # not \w: the vowel signs of Indic scripts are no word characters
_KEYS = {"id", "family", "severity", "cues", "meet", "need", "within", "examples"}
_PACK = {"version", "locale", "cues", "rules"}
_UNSPACED = ("zh", "ja", "th", "lo", "km", "my")  # languages written without spaces: a cue may stand inside of a word
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff]")  # their letters


# Letters without which a script cannot meet a pack; of the others, Latin ones.
_LETTERS = {
    "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
    "ru": "[а-я]",
    "ja": "[\u3040-\u9fff]",
    "zh": "[\u4e00-\u9fff]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """At least `meet` of the groups of `cues`, with all that it has `need` of, `within` so many consecutive lines."""

    id: str
    family: str
    severity: str
    cues: tuple[str, ...]
    meet: int
    need: frozenset[str]
    within: int
    blocked: tuple[tuple[str, ...], ...]  # examples: a script each, of one or several lines
    passing: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A rule that a script meets. `places` are the 1-based lines of the file where its cues stand."""

    rule: str
    family: str
    severity: str
    places: tuple[int, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Pack:
    """The rules of one language. `digest` is of the file: it stands in manifests."""

    locale: str
    version: str
    digest: str
    groups: dict[str, list["_Cues"]]
    rules: tuple[Rule, ...]

    def check(self, lines: Sequence[tuple[int, str]]) -> list[Hit]:
        """The rules that a script meets: lines as their place in the file and their text, in order."""
        return _check((self,), [place for place, _ in lines], [text for _, text in lines], [fold(t) for _, t in lines])


def check(lines: Sequence[tuple[int, str]], language: str) -> list[Hit]:
    """The rules of any language that a script meets, its own first: it may be in another one than it says."""
    own, folded = pack(language), [fold(text) for _, text in lines]
    together = " ".join(folded)
    others = [locale for locale in _locales() if re.search(_LETTERS.get(locale, "[a-z]"), together)]
    found = (pack(locale) for locale in dict.fromkeys([*([own.locale] if own else []), *others]))
    packs = tuple(known for known in found if known)
    return _check(packs, [place for place, _ in lines], [text for _, text in lines], folded)


def _check(packs: tuple[Pack, ...], places: Sequence[int], texts: Sequence[str], folded: Sequence[str]) -> list[Hit]:
    met, at, found = list(_met_in(packs, texts, folded)), _places(texts, folded), []
    for number, known in enumerate(packs):
        names = [line[number] for line in met]
        some = [n for n, groups in enumerate(names) if groups]
        for rule in known.rules:
            start, concerned = 0, [n for n in some if not names[n].isdisjoint(rule.cues)]
            while (end := _window(rule, names, at, concerned, start)) is not None:
                first = max(start, _reach(rule, at, end))
                marked = [n for n in concerned if first <= n <= end]
                found.append(
                    Hit(rule=rule.id, family=rule.family, severity=rule.severity,
                        places=tuple(places[n] for n in marked), texts=tuple(texts[n] for n in marked))
                )  # fmt: skip
                start = end + 1
    return found


def _met_in(packs: tuple[Pack, ...], texts: Sequence[str], folded: Sequence[str]) -> Iterator[list[set[str]]]:
    """The groups that each line meets, of each pack; with those that are met only across the end of the line before,
    where that ends no sentence or holds a word or two."""
    before: list[str] = []
    for text, plain in zip(texts, folded, strict=True):
        met, words = _met(packs, plain), plain.split()
        if (whole := rejoined(text)) != text:
            met = [a | b for a, b in zip(met, _met(packs, fold(whole)), strict=True)]
        if before:
            seam, tail = _met(packs, " ".join([*before, *words[:ACROSS]])), None
            for n, groups in enumerate(seam):
                if groups - met[n]:
                    tail = tail or _met(packs, " ".join(before))
                    met[n] |= groups - tail[n]
        yield met
        before = [] if TERMINATED.search(text) and len(words) > CURT else [*before, *words][-ACROSS:]


def _met(packs: tuple[Pack, ...], folded: str) -> list[set[str]]:
    """The groups of each pack that some words meet."""
    text, index = folded.replace(" ", ""), _index(packs)
    held = {text[n : n + size] for size in range(1, KEY + 1) for n in range(len(text))} & index.keys()
    met: list[set[str]] = [set() for _ in packs]
    for key in held:
        for n, name, cues in index[key]:
            if name not in met[n] and cues.pattern.search(text if cues.unspaced else folded):
                met[n].add(name)
    return met


@functools.cache
def _index(packs: tuple[Pack, ...]) -> dict[str, list[tuple[int, str, "_Cues"]]]:
    """Letters that a line must hold -> cues that it may then meet, with the number of their pack and their group."""
    found: dict[str, list[tuple[int, str, _Cues]]] = defaultdict(list)
    for n, known in enumerate(packs):
        for name, group in known.groups.items():
            for cues in group:
                found[cues.key].append((n, name, cues))
    return dict(found)


def _window(
    rule: Rule, met: Sequence[set[str]], at: Sequence[float], concerned: Sequence[int], start: int
) -> int | None:
    """The first line at which the lines up to it, as many as the rule sees at once, hold enough of its groups.

    `concerned` are the lines that hold any, `at` is where each lies.
    """
    for n, end in enumerate(concerned):
        if end < start:
            continue
        first, together = max(start, _reach(rule, at, end)), set[str]()
        while n >= 0 and concerned[n] >= first:
            together |= met[concerned[n]]
            n -= 1
        if len(together.intersection(rule.cues)) >= rule.meet and rule.need <= together:
            return end
    return None


def _reach(rule: Rule, at: Sequence[float], end: int) -> int:
    """The first of the lines that the rule sees at once with the line `end`."""
    return bisect_right(at, at[end] - rule.within + 1e-6)


def _places(texts: Sequence[str], folded: Sequence[str]) -> list[float]:
    """How many lines lie before each. One that ends no sentence counts by its words, for it may have been cut up; and
    so does a short word alone, for it may have been put in between."""
    found, at = [], 0.0
    for text, plain in zip(texts, folded, strict=True):
        found.append(at)
        words = max(len(plain.split()), len(plain) / 6)
        at += 1.0 if TERMINATED.search(text) and not _lonely(plain) else min(1.0, words / FULL)
    return found


def _lonely(plain: str) -> bool:
    return " " not in plain and len(plain) <= (2 if _SPACELESS.search(plain) else 7)


@functools.cache
def pack(language: str) -> Pack | None:
    """The pack for a language tag, such as es for es-MX and spa; None where there is none."""
    try:
        tag = langcodes.standardize_tag(language, macro=True)
    except ValueError:  # an engine's own name
        tag = language
    return _pack(tag.replace("_", "-").split("-")[0].lower())


@functools.cache
def _pack(locale: str) -> Pack | None:
    if locale not in _locales():  # it may be anything, also a path
        return None
    file = _folder() / f"{locale}.yaml"
    return read_pack(file.name, file.read_bytes())


@functools.cache
def release() -> str:
    """16 hexadecimal digits of all packs together."""
    return hashlib.sha256(b"".join((_folder() / f"{locale}.yaml").read_bytes() for locale in _locales())).hexdigest()[
        :16
    ]


@functools.cache
def _locales() -> tuple[str, ...]:
    return tuple(sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir()))


def _folder() -> Traversable:
    return resources.files("pipeline.safety") / "packs"


def read_pack(name: str, data: bytes) -> Pack:
    """A pack of YAML. ValueError names file, rule and key, what was found and what is expected."""
    raw = parse_yaml(name, data)
    if not isinstance(raw, dict) or set(raw) != _PACK:
        raise ValueError(f"{name}: found {_keys(raw)}, expected {', '.join(sorted(_PACK))}")
    groups: dict[str, list[_Cues]] = {}
    for group, cues in raw["cues"].items():
        if not isinstance(cues, list) or not cues or not all(isinstance(cue, str) and cue.strip() for cue in cues):
            raise ValueError(f"{name}: cues.{group}: found {cues!r}, expected a list of phrases")
        groups[group] = _by_key(cues, raw["locale"] in _UNSPACED)
    rules = tuple(_rule(f"{name}: rules[{n}]", entry, groups) for n, entry in enumerate(raw["rules"]))
    if twice := {rule.id for rule in rules if sum(rule.id == other.id for other in rules) > 1}:
        raise ValueError(f"{name}: found the id {min(twice)} twice, expected an id of its own for each rule")
    digest = hashlib.sha256(data).hexdigest()[:16]
    return Pack(locale=str(raw["locale"]), version=str(raw["version"]), digest=digest, groups=groups,
                rules=rules)  # fmt: skip


class _Cues:
    """The cues of a group that are looked for where a line holds the same letters, `key`, with or without spaces."""

    def __init__(self, key: str, cues: Sequence[str], unspaced: bool):
        self.key, self.cues, self.unspaced = key, cues, unspaced

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """What any of them is found by; made when it is needed, which most never are."""
        if self.unspaced:
            return re.compile("|".join(map(_inside, self.cues)))
        inside = [cue for cue in self.cues if cue.startswith("*")]
        whole = [cue for cue in self.cues if not cue.startswith("*")]
        kinds = [(r"(?<!\S)", whole), ("", inside)]  # not \b: see _ANY
        return re.compile(
            "|".join(rf"{before}(?:{'|'.join(map(_pattern, cues))})(?!\S)" for before, cues in kinds if cues)
        )


def _by_key(cues: Sequence[str], unspaced: bool) -> list[_Cues]:
    found: dict[str, list[str]] = defaultdict(list)
    for cue in cues:
        words = [fold(word.strip("*")).replace(" ", "") for part in cue.split("...") for word in part.split()]
        found[max(words, key=len)[:KEY]].append(cue)
    return [_Cues(key, same, unspaced) for key, same in found.items()]


def _pattern(cue: str) -> str:
    """`*` at an end of a word is any beginning or ending; `...` between words up to four others."""
    parts = [" ?".join(_word(word) for word in part.split()) for part in cue.removeprefix("*").split("...")]
    return r"(?: \S+){0,4} ".join(parts)


def _word(word: str) -> str:
    before, after = (_ANY if word.startswith("*") else ""), (_ANY if word.endswith("*") else "")
    return before + re.escape(fold(word.strip("*"))) + after


def _inside(cue: str) -> str:
    """A cue of a language written without spaces; `...` is up to ten characters."""
    return ".{0,10}".join(re.escape(fold(part).replace(" ", "")) for part in cue.split("..."))


def _rule(place: str, entry: Any, groups: dict[str, Any]) -> Rule:
    if not isinstance(entry, dict) or not {"id", "family", "cues", "examples"} <= set(entry) <= _KEYS:
        raise ValueError(f"{place}: found {_keys(entry)}, expected {', '.join(sorted(_KEYS))}")
    place = f"{place} ({entry['id']})"
    cues, meet, need = tuple(entry["cues"]), entry.get("meet", len(entry["cues"])), frozenset(entry.get("need", ()))
    if unknown := (set(cues) | need) - set(groups):
        raise ValueError(f"{place}: found the group {min(unknown)}, expected one of {', '.join(groups)}")
    if not 2 <= meet <= len(cues):
        raise ValueError(f"{place}: meet: found {meet}, expected 2 to {len(cues)}: one cue alone refuses nothing")
    if (severity := entry.get("severity", "block")) not in SEVERITIES:
        raise ValueError(f"{place}: severity: found {severity!r}, expected {' or '.join(SEVERITIES)}")
    examples = entry["examples"]
    if not isinstance(examples, dict) or not examples.get("block") or not examples.get("pass"):
        raise ValueError(f"{place}: examples: found {examples!r}, expected some to block and some to pass")
    return Rule(id=str(entry["id"]), family=str(entry["family"]), severity=severity, cues=cues, meet=meet, need=need,
                within=entry.get("within", WITHIN), blocked=_scripts(examples["block"]),
                passing=_scripts(examples["pass"]))  # fmt: skip


def _scripts(examples: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    return tuple((example,) if isinstance(example, str) else tuple(example) for example in examples)


def _keys(raw: Any) -> str:
    return f"the keys {', '.join(map(str, raw))}" if isinstance(raw, dict) else type(raw).__name__
