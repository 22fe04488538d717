"""What every command does with errors."""

import logging
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from pipeline.parse import ConfigError
from pipeline.store import StoreError


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Errors that teach, and exit codes: 0 all delivered, 1 unexpected, 2 wrong input, 3 delivered in part."""

    @wraps(command)
    def inner(*args: Any, **kwargs: Any) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            code = command(*args, **kwargs)
        except (ConfigError, StoreError) as error:
            print(f"dub: {error}", file=sys.stderr)
            code = 2
        except FileNotFoundError as error:  # a link into nothing, or a file deleted after it was listed
            print(f"dub: {error}", file=sys.stderr)
            code = 2
        except UnicodeEncodeError as error:
            print(f"dub: found {error.object!r}, expected text that can be written as UTF-8", file=sys.stderr)
            code = 2
        except KeyboardInterrupt:
            hint = "; what is finished is kept, run the same command to go on" if command.__name__ == "run" else ""
            print(f"dub: stopped{hint}", file=sys.stderr)
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of transfers that were cut off, at exit
            code = 130
        raise typer.Exit(code)

    return inner
