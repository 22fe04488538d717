"""Options of an engine that talks to a server: each checked, each error naming it."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import langcodes

NO_RECORDING = "no recording to clone: such voices need a consent, and an engine that clones, as higgs does"
FIXED = ("input", "model", "voice", "response_format", "speed")  # fields that parameters may not set
# Fields by which speech servers take a recording, or what was heard in one, to clone the voice of.
_CLIP = re.compile(
    r"(?i)(^|_)refer|(^|_)ref(_|$)|(^|_)(wav|audio|xvector)(_|$)|(speaker|spk|voice|prompt|speech)_(file|clip|sample|path)"
    r"|(^|_)emb(edding)?s?(_|$)|clon(e|ing)|^samples?$"
)
# Text that is a recording's address, its file's name, or itself in letters.
_RECORDING = re.compile(
    r"(?i)://|^data:|\.(wav|mp3|m4a|aac|flac|ogg|opus|webm|pt|pth|npy|npz|safetensors)\b|[a-z0-9+/=_-]{128}"
)
VALUES, LETTERS = 64, 4000  # at most, of all parameters together: an embedding is a voice as well


def wrong(name: str, found: str, expected: str) -> ValueError:
    return ValueError(f"engine.options.{name}: found {found}, expected {expected}")


def text(name: str, value: Any, expected: str, empty: bool = False) -> str:
    if not isinstance(value, str) or not (value.strip() or empty):
        raise wrong(name, repr(value) if value else "nothing", expected)
    return value


def number(name: str, value: Any, low: float, high: float, whole: bool = False) -> float:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise wrong(name, repr(value), f"a {'whole ' * whole}number from {low:g} to {high:g}")
    return value


def address(url: Any) -> str:
    expected = "the server's address, such as http://host:8000"
    url = text("url", url, expected).strip()
    if set("@?#") & set(url):  # not shown: it may be a password
        raise wrong("url", "a user, password, query or fragment in it", f"{expected}; a key belongs into a variable")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise wrong("url", repr(url), expected)
    return url.rstrip("/").removesuffix("/v1")


def voices(voices: Any) -> list[str]:
    expected = "a list of the names of the server's voices"
    if not isinstance(voices, (list, tuple)) or not voices:
        raise wrong("voices", repr(voices) if voices else "nothing", expected)
    names = list(dict.fromkeys(text("voices", voice, expected) for voice in voices))
    for name in names:
        if _RECORDING.search(name):
            raise wrong("voices", repr(name)[:60], f"{expected}: {NO_RECORDING}")
    return names


def languages(languages: Any) -> dict[str, str]:
    """Tag -> name. Names come from the job: langcodes knows none without a further package."""
    expected = "a list of BCP 47 tags such as fr or pt-BR, or a mapping of tags to names"
    if not isinstance(languages, (list, tuple, dict)) or not languages:
        raise wrong("languages", repr(languages) if languages else "nothing", expected)
    names = languages if isinstance(languages, dict) else {text("languages", tag, expected): tag for tag in languages}
    for tag, name in names.items():
        try:
            known = isinstance(tag, str) and "_" not in tag and langcodes.tag_is_valid(tag)
        except ValueError:
            known = False
        if not known:
            raise wrong("languages", repr(tag), expected)
        text(f"languages.{tag}", name, "its name in English")
    return dict(names)


def field(name: str, value: Any) -> str:
    field = text(name, value, 'the name of a field, or ""', empty=True)
    if field in (*FIXED, "seed"):
        raise wrong(name, repr(field), f"a field that is none of {', '.join(FIXED)}, seed")
    if _CLIP.search(field):
        raise wrong(name, repr(field), NO_RECORDING)
    return field


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and texts in a value of JSON, each with the name that it stands under."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, name)
    else:
        yield name, value


def parameters(parameters: Any, taken: Sequence[str]) -> dict[str, Any]:
    expected = "further fields of the request, such as {temperature: 0.8}"
    if not isinstance(parameters, (dict, type(None))):
        raise wrong("parameters", repr(parameters), expected)
    fields = dict(parameters or {})
    for name in fields:
        if not isinstance(name, str) or name in taken:
            raise wrong("parameters", repr(name), f"no field that is set for each request: {', '.join(taken)}")
    try:
        fields = json.loads(json.dumps(fields, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise wrong("parameters", str(error), "what JSON can hold") from None
    leaves = list(_leaves(fields))
    for name, value in leaves:
        if any(map(_CLIP.search, name.split("."))) or (isinstance(value, str) and _RECORDING.search(value)):
            raise wrong(f"parameters.{name}", repr(value)[:60], NO_RECORDING)
    if len(leaves) > VALUES or len(json.dumps(fields)) > LETTERS:
        raise wrong("parameters", f"{len(leaves)} values in {len(json.dumps(fields)):,} letters",
                    f"at most {VALUES} in {LETTERS:,}: {NO_RECORDING}")  # fmt: skip
    seed = fields.get("seed", 0)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31):
        raise wrong("parameters.seed", repr(seed), "a whole number from 0 to 2147483647, or null to send none")
    return fields
