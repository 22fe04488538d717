"""Which of an engine's languages a language tag means."""

import functools
from collections.abc import Iterable

import langcodes
from langcodes.tag_parser import LanguageTagError

# Where an engine names a language otherwise than BCP 47 tags in use do, or only by country.
_ALIASES = {
    "zh": "cmn", "zh-hk": "yue", "zh-mo": "yue", "zh-yue": "yue", "no": "nb", "en": "en-us", "fr": "fr-fr",
    "en-au": "en-gb", "en-nz": "en-gb", "en-ie": "en-gb", "en-in": "en-gb", "en-za": "en-gb", "es-mx": "es-419",
    "es-ar": "es-419", "es-co": "es-419", "es-us": "es-419",
}  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _match(tag: str, offered: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in offered}
    if tag.lower() in by_lower:  # an engine's own tags need not be BCP 47
        return by_lower[tag.lower()]
    try:
        language = langcodes.Language.get(tag)
    except (ValueError, LanguageTagError):
        return None
    code, region = (language.language or "und").lower(), (language.territory or "").lower()
    for candidate in (tag.lower(), f"{code}-{region}", code):
        for name in (candidate, _ALIASES.get(candidate)):
            if name in by_lower:
                return by_lower[name]
    return next((by_lower[name] for name in sorted(by_lower) if name.startswith(f"{code}-")), None)


def match(tag: str, offered: Iterable[str]) -> str | None:
    """The engine's language for a BCP 47 tag, or None where it has none.

    >>> match("pt-BR", ["pt", "pt-br"]), match("zh", ["cmn"]), match("xx", ["en"])
    ('pt-br', 'cmn', None)
    """
    return _match(tag, tuple(offered))
