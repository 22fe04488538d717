"""What turns chunks into takes. `open_engine` finds an engine by its name in the job file."""

import importlib
from typing import Any

from pipeline.engines.base import Engine, EngineError, Spoken

__all__ = ["Engine", "EngineError", "Spoken", "clones", "open_engine"]

BUILT_IN = {
    "espeak": "pipeline.engines.espeak:Espeak",
    "higgs": "pipeline.engines.higgs.engine:Higgs",
    "openai": "pipeline.engines.openai:OpenAI",
}


def open_engine(name: str, options: dict[str, Any]) -> Engine:
    """The engine called `name`: a built-in one, or `package.module:Class` for your own.

    Raises ValueError where there is no such engine or it does not take these options.
    """
    kind = _class(name)
    try:
        found: Engine = kind(**options)
    except TypeError as error:
        raise ValueError(f"engine: {name!r} does not take these options: {error}") from error
    return found


def clones(name: str) -> bool:
    """Whether the engine called `name` clones voices. ValueError where there is no such engine."""
    return bool(getattr(_class(name), "clones", False))


def _class(name: str) -> Any:
    target = BUILT_IN.get(name, name)
    module, _, attribute = target.partition(":")
    if not attribute:
        raise ValueError(f"engine: found {name!r}, expected one of {', '.join(BUILT_IN)} or package.module:Class")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"engine: {name!r} cannot be loaded: {error}") from error
    if not isinstance(found, type):  # what a function opens does not say beforehand whether it clones
        raise ValueError(f"engine: {name!r} is a {type(found).__name__}, expected a class")
    return found
