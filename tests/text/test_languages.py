"""Which of an engine's languages a tag means."""

import pytest

from pipeline.engines.espeak import Espeak
from pipeline.text.languages import match


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("fr", "fr-fr"), ("fr-FR", "fr-fr"), ("fr-CA", "fr-fr"), ("fr-BE", "fr-be"), ("en", "en-us"),
        ("en-GB", "en-gb"),
        ("en-AU", "en-gb"), ("pt-BR", "pt-br"), ("pt-PT", "pt"), ("es-MX", "es-419"), ("es-ES", "es"), ("zh", "cmn"),
        ("zh-CN", "cmn"), ("zh-Hans", "cmn"), ("zh-TW", "cmn"), ("zh-HK", "yue"), ("no", "nb"), ("nb", "nb"),
        ("de-AT", "de"),
        ("DE", "de"), ("de_DE", "de"), ("sr-Latn", "sr"), ("iw", "he"), ("fil", None), ("xx", None), ("", None),
        ("not a tag", None), ("klingon-klingon-klingon", None),
    ],
)  # fmt: skip
def test_tags_find_a_language_of_espeak(tag: str, found: str | None) -> None:
    assert match(tag, Espeak().languages()) == found


def test_every_language_finds_itself() -> None:
    offered = Espeak().languages()
    assert {tag: match(tag, offered) for tag in offered} == {tag: tag for tag in offered}


def test_a_language_without_its_plain_form_is_found_by_a_regional_one() -> None:
    assert match("pt", ["pt-br", "pt-ao"]) == "pt-ao"
    assert match("pt", []) is None
