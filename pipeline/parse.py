"""What people write into files: YAML and models of it, with errors that name place and key."""

from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError


class ConfigError(ValueError):
    """The job file, the catalogue or an option is wrong. Nothing was started."""


DEEPEST = 600  # mappings and lists within each other; tens of thousands overflow libyaml's stack
_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # of what makes values of YAML's texts


class _Strict:
    """YAML that refuses a key which stands twice in one mapping, instead of dropping the first, and names the place of
    a text that is not what its tag says."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            made = super().construct_object(node, deep)  # type: ignore[misc]
            if isinstance(made, int):
                str(made)  # ValueError for one of thousands of digits, which no message could show
        except _FAULTS:
            found = repr(node.value[:40]) if isinstance(node, yaml.ScalarNode) else f"a {node.id}"  # type: ignore[attr-defined]
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{found}, which is no {kind}", node.start_mark
            ) from None
        return made

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} for the second time", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)  # type: ignore[misc]


class _Loader(_Strict, yaml.SafeLoader):
    """Its errors say what was found."""


class _FastLoader(_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml, which takes a tenth of the time, and whose errors say less."""


def parse_yaml(url: str, data: bytes) -> Any:
    try:
        text = data.decode("utf-8-sig")
        try:
            _check_depth(url, text)
            return yaml.load(text, _FastLoader)
        except yaml.YAMLError:
            return yaml.load(text, _Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{url}: found a byte that is not UTF-8 at {error.start}, expected UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{url}:{mark.line + 1}" if mark else url
        problem = " ".join(str(getattr(error, "problem", error)).split())
        raise ConfigError(f"{place}: found {problem}, expected YAML") from error
    except RecursionError:
        raise ConfigError(f"{url}: found mappings and lists too deep within each other, expected fewer") from None


def _check_depth(url: str, text: str) -> None:
    """Raises ConfigError with the line where mappings and lists go too deep."""
    if text.count("[") + text.count("{") + 2 * max(map(len, text.split("\n"))) < DEEPEST:
        return  # as almost always: brackets open what is within a line, and its indentation the rest
    depth = 0
    for event in yaml.parse(text, _FastLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            line = event.start_mark.line + 1  # type: ignore[union-attr]
            raise ConfigError(f"{url}:{line}: found more than {DEEPEST} mappings and lists within "
                              "each other, expected fewer")  # fmt: skip


def check(model: type[BaseModel], raw: Any, place: str) -> Any:
    """A model of raw data, or a ConfigError that names every wrong key, what was found and what is expected."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{place}: {_explain(e, model)}" for e in error.errors())) from error


def _explain(error: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "the entry"
    if error["type"] == "extra_forbidden":
        return f"{key}: found an unknown key, expected one of {', '.join(sorted(_keys(model, error['loc'])))}"
    if error["type"] == "missing":
        return f"{key}: found nothing, expected this key"
    message = str(error["msg"]).removeprefix("Value error, ")
    if message.startswith("found"):
        return f"{key}: {message}"
    return f"{key}: found {error['input']!r}, expected {message.removeprefix('Input should be ')}"


def _keys(model: Any, path: tuple[Any, ...]) -> list[str]:
    for part in path[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        values = get_args(model)[-1:]  # of dict[str, Model]
        model = field.annotation if field is not None else values[0] if values else model
        model = next((kind for kind in get_args(model) if hasattr(kind, "model_fields")), model)  # of Model | None
    return list(getattr(model, "model_fields", {}))
