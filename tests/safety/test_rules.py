"""Rules for scripts: every example, the tricks, windows, and ordinary dialogue that passes."""

from importlib import resources
from pathlib import Path

import pytest
import yaml

from pipeline.safety.fold import fold
from pipeline.safety.rules import Pack, Rule, pack, read_pack

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


@pytest.mark.parametrize("locale", LOCALES)
def test_ordinary_dialogue_passes(locale: str) -> None:
    lines = (Path(__file__).parent / "ordinary" / f"{locale}.txt").read_text()
    script = numbered(lines.splitlines())
    assert len(script) >= 100
    assert of(locale).check(script) == []


@pytest.mark.parametrize("locale", LOCALES)
def test_most_paraphrases_are_blocked(locale: str) -> None:
    texts = yaml.safe_load((Path(__file__).parent / "paraphrases.yaml").read_text())[locale]
    missed = [text for text in texts if not of(locale).check([(1, text)])]
    assert len(texts) >= 15
    assert len(missed) <= 0.2 * len(texts), missed


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
        ("", ""),
    ],
)
def test_folding(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"- a", "x.yaml: found list"),
        (b"\xff", "x.yaml: found .*expected YAML"),
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
