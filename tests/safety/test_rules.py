"""Rules for scripts: every example, the tricks, windows, and ordinary dialogue that passes."""

import re
from importlib import resources
from pathlib import Path

import pytest
import yaml

from pipeline.safety.fold import fold
from pipeline.safety.rules import Pack, Rule, check, pack, read_pack

HERE = Path(__file__).parent
LOCALES = sorted(f.name.removesuffix(".yaml") for f in (resources.files("pipeline.safety") / "packs").iterdir())
FAMILIES = {
    "relative-in-distress", "impersonation", "credentials", "remote-access", "election", "emergency-alert", "threat",
    "named-place",
}  # fmt: skip


def of(locale: str) -> Pack:
    found = pack(locale)
    assert found is not None
    return found


RULES = [pytest.param(of(locale), rule, id=rule.id) for locale in LOCALES for rule in of(locale).rules]
SCAM = [
    "Grandma, it's me.",
    "I had an accident with the car.",
    "They put me in jail.",
    "I need you to send the bail money.",
    "And please don't tell Dad.",
]


def numbered(lines: list[str] | tuple[str, ...], step: int = 1) -> list[tuple[int, str]]:
    return [(1 + n * step, text) for n, text in enumerate(lines)]


@pytest.mark.parametrize("locale", LOCALES)
def test_a_pack_has_every_family_with_examples(locale: str) -> None:
    assert {rule.family for rule in of(locale).rules} == FAMILIES
    assert all(len(rule.blocked) >= 3 and len(rule.passing) >= 3 for rule in of(locale).rules)


@pytest.mark.parametrize(("rules", "rule"), RULES)
def test_every_example_is_blocked_or_passes_as_it_says(rules: Pack, rule: Rule) -> None:
    for script in rule.blocked:
        assert rule.id in {hit.rule for hit in rules.check(numbered(script))}, script
    for script in rule.passing:
        assert not rules.check(numbered(script)), script


@pytest.mark.parametrize(
    "text",
    [
        "We saw suspicious activity. Please read me the s1x d1g1t c0de.",
        "We saw suspicious activity. Please read me the six d i g i t code.",
        "We saw suspicious activity. Please read me the s i x digit code.",
        "We saw suspi\u200bcious activity. Please read me the six\u00ad digit c\u200dode.",
        "We saw suspiсiоus activity. Please rеad me the six digit cоde.",  # Cyrillic с, о, е
        "Ｗｅ ｓａｗ ｓｕｓｐｉｃｉｏｕｓ ａｃｔｉｖｉｔｙ． Ｒｅａｄ ｍｅ ｔｈｅ ｓｉｘ ｄｉｇｉｔ ｃｏｄｅ",
        "We saw súspicioüs activity. PLEASE READ ME the ６-digit code!",
        "We saw suspicious... activity? Read me -- the six-digit code",
    ],
)
def test_tricks_with_letters_do_not_help(text: str) -> None:
    assert [hit.rule for hit in of("en").check([(7, text)])] == ["en.credentials"]


@pytest.mark.parametrize("unseen", ["\ufe0f", "\u034f", "\u3164", "\u2800", "\ue000", "\x01", "\U000e0101", "\u0301"])
def test_what_is_neither_seen_nor_spoken_does_not_help(unseen: str) -> None:
    text = "We saw suspicious activity. Please read me the six digit code."
    hidden = " ".join(unseen + word[:2] + unseen + word[2:] for word in text.split())
    assert [hit.rule for hit in of("en").check([(7, hidden)])] == ["en.credentials"]


@pytest.mark.parametrize("mark", ["\u20dd", "\u0488", "\u0f2a", "\u17d1", "\u0870", "\u2776"])
@pytest.mark.parametrize("place", ["before", "inside", "after"])
def test_letters_and_marks_that_no_voice_speaks_do_not_help(mark: str, place: str) -> None:
    """Enclosing and foreign marks, half digits, letters of another script: in an English word they are silent."""
    cut = {"before": 0, "inside": 2, "after": 99}[place]
    text = "We saw suspicious activity. Please read me the six digit code."
    hidden = re.sub(r"\w+", lambda word: word[0][:cut] + mark + word[0][cut:], text)
    assert [hit.rule for hit in of("en").check([(7, hidden)])] == ["en.credentials"]


@pytest.mark.parametrize("fillers", [["\u3164."] * 3, ["…"] * 9, ["Hm."], ["Ah!"]])
def test_words_put_in_between_do_not_help(fillers: list[str]) -> None:
    script = [text for line in SCAM for text in (line, *fillers)]
    assert [hit.rule for hit in of("en").check(numbered(script))] == ["en.relative-in-distress"]


@pytest.mark.parametrize("mark", ["-", "\u2011", ".", "·", "*"])
def test_words_cut_by_hyphens_and_stops_are_read_whole(mark: str) -> None:
    cut = [re.sub(r"\b([a-z]{2})([a-z]{2,})", rf"\1{mark}\2", line) for line in SCAM]
    assert sum(mark in line for line in cut) >= 3
    assert [hit.rule for hit in of("en").check(numbered(cut))] == ["en.relative-in-distress"]


def test_a_sentence_of_one_word_ends_no_phrase() -> None:
    words = [f"{word.strip('.,')}." for line in SCAM for word in line.split()]
    assert [hit.rule for hit in of("en").check(numbered(words))] == ["en.relative-in-distress"]


@pytest.mark.parametrize("language", ["en", "en-GB", "eng", "cy", "de", "tlh", "x"])
def test_a_scam_is_seen_whatever_language_it_says_it_is_in(language: str) -> None:
    assert [hit.rule for hit in check(numbered(SCAM), language)] == ["en.relative-in-distress"]


@pytest.mark.parametrize(("tag", "locale"), [("ger", "de"), ("cmn", "zh"), ("zh-Hant-TW", "zh"), ("pt_BR", "pt")])
def test_longer_tags_of_a_language_have_its_pack(tag: str, locale: str) -> None:
    assert pack(tag) is of(locale)


def test_ordinary_dialogue_passes_the_packs_of_all_languages() -> None:
    scripts = [file.read_text().splitlines() for file in sorted(HERE.glob("ordinary/*.txt"))]
    assert [hit for script in scripts for hit in check(numbered(script), "en")] == []


@pytest.mark.parametrize("words", [3, 5])
def test_sentences_that_are_cut_up_are_seen_all_the_same(words: int) -> None:
    """Most of them: a rule that sees few lines sees fewer words."""
    missed, total = 0, 0
    for locale in ("en", "de", "fr", "es", "it", "pt", "pl", "ru", "tr"):
        for rule in of(locale).rules:
            for script in rule.blocked:
                parts = [line.split() for line in script]
                lines = [" ".join(part[n : n + words]) for part in parts for n in range(0, len(part), words)]
                missed += rule.id not in {hit.rule for hit in of(locale).check(numbered(lines))}
                total += 1
    assert total > 250
    assert missed <= 0.12 * total


def test_a_scam_over_several_lines_is_seen_with_its_places() -> None:
    (hit,) = of("en").check(numbered(SCAM, step=4))
    assert (hit.rule, hit.severity) == ("en.relative-in-distress", "block")
    assert hit.places[0] == 1
    assert set(hit.places) <= {1, 5, 9, 13, 17}
    assert len(hit.texts) == len(hit.places) >= 3


def test_the_same_lines_far_apart_are_a_film() -> None:
    lines = [text for line in SCAM for text in (line, *["The rain has stopped."] * 10)]
    assert of("en").check(numbered(lines)) == []


def test_a_long_script_is_refused_once_for_each_time_it_happens() -> None:
    lines = [*SCAM, *["The rain has stopped."] * 20, *SCAM]
    first, second = of("en").check(numbered(lines))
    assert first.places[-1] <= 5 < 26 <= second.places[0]


def refused(locale: str, script: list[str]) -> list[str]:
    return [hit.rule for hit in of(locale).check(numbered(script)) if hit.severity == "block"]


def test_of_ten_thousand_lines_of_ordinary_dialogue_at_most_one_is_refused() -> None:
    """Films that are full of banks, accidents, bombs and passwords, in thirteen languages."""
    lines, wrong = 0, []
    for locale in LOCALES:
        scripts = [file.read_text().splitlines() for file in sorted(HERE.glob(f"ordinary/{locale}*.txt"))]
        assert sum(map(len, scripts)) >= 700, locale
        lines += sum(map(len, scripts))
        wrong += [rule for script in scripts for rule in refused(locale, script)]
    assert lines >= 10_000
    assert len(wrong) <= lines / 10_000, wrong


@pytest.mark.parametrize("locale", LOCALES)
def test_ordinary_dialogue_passes(locale: str) -> None:
    """Nothing in it is even kept for review."""
    script = numbered((HERE / "ordinary" / f"{locale}.txt").read_text().splitlines())
    assert len(script) >= 100
    assert of(locale).check(script) == []


def test_the_first_paraphrases_stay_blocked() -> None:
    """English ones, which the cues were widened with."""
    texts = yaml.safe_load((HERE / "paraphrases.yaml").read_text())["en"]
    missed = [text for text in texts if not of("en").check([(1, text)])]
    assert len(texts) >= 15
    assert len(missed) <= 0.2 * len(texts), missed


def test_most_paraphrases_are_blocked() -> None:
    """The examples of the rules in other words, by somebody who did not know the cues: four in five, and in every
    language most."""
    missed, total = 0, 0
    for locale in LOCALES:
        scripts = [entry["script"] for entry in yaml.safe_load((HERE / f"paraphrases/{locale}.yaml").read_text())]
        lost = sum(not refused(locale, script) for script in scripts)
        assert len(scripts) >= 24
        assert lost <= 0.4 * len(scripts), locale
        missed, total = missed + lost, total + len(scripts)
    assert missed <= 0.2 * total


@pytest.mark.parametrize("locale", LOCALES)
def test_scams_by_somebody_else_are_blocked(locale: str) -> None:
    """Of `dev` the cues were widened with; `test` was kept apart from the rules and is measured by the benchmark."""
    entries = yaml.safe_load((HERE / f"heldout/{locale}.yaml").read_text())
    missed = [entry["script"] for entry in entries["dev"] if not refused(locale, entry["script"])]
    assert len(entries["dev"]) == len(entries["test"]) == 24
    assert len(missed) <= 0.1 * len(entries["dev"]), missed


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Don't!  Call—me", "dont call me"),
        ("P.A.S.S.W.O.R.D", "password"),
        ("He is 24, she 007", "he is 24 she 007"),
        ("the 1st and 2nd", "the 1st and 2nd"),
        ("Москва", "москва"),
        ("الرَّمز", "الرمز"),
        ("किताब", "किताब"),
        ("кoд", "код"),  # Latin o
        ("кoд к0д паρоль", "код код пароль"),
        ("и я в больнице", "и я в больнице"),
        ("c o d e", "code"),
        ("4位数验证码", "4位数验证码"),
        ("HESABINIZ hesabınız", "hesabiniz hesabiniz"),
        ("zapłać", "zaplac"),
        ("", ""),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"- a", "x.yaml: found list"),
        (b"\xff", "x.yaml: found .*expected UTF-8"),
        (b"version: 1\nlocale: x\ncues: {a: []}\nrules: []", r"cues\.a: found \[\]"),
        (b"version: 1\nlocale: x\ncues: {a: [b]}\nrules: [{id: r}]", r"rules\[0\]: found the keys id"),
        (
            b"version: 1\nlocale: x\ncues: {a: [b], c: [d]}\nrules: [{id: r, family: f, cues: [a, q], examples: {}}]",
            "found the group q",
        ),
        (
            b"version: 1\nlocale: x\ncues: {a: [b]}\nrules: [{id: r, family: f, cues: [a], examples: {}}]",
            "meet: found 1, expected 2",
        ),
        (
            b"version: 1\nlocale: x\ncues: {a: [b], c: [d]}\nrules: [{id: r, family: f, cues: [a, c], examples: {}}]",
            "examples: found",
        ),
    ],
)
def test_a_damaged_pack_is_refused_with_its_place(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_pack("x.yaml", data)
