"""What commands make of the files, keys and days in their options. All raise ConfigError that names the option."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pipeline.parse import ConfigError
from pipeline.signing import SigningKey, public_key
from pipeline.store import read_file


def day(option: str, text: str) -> str:
    """A day such as 2027-11-24 as the moment in UTC at which it begins."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").strftime("%Y-%m-%dT00:00:00Z")
    except ValueError:
        raise ConfigError(f"{option}: found {text!r}, expected a day such as 2027-11-24") from None


def file_bytes(option: str, url: str) -> bytes:
    """What is at a path or URL that an option names."""
    try:
        return read_file(url)
    except FileNotFoundError as error:
        raise ConfigError(f"{option}: found no file {url}, expected one") from error


def file_hash(option: str, url: str) -> str:
    """Its SHA-256 in hexadecimal."""
    return hashlib.sha256(file_bytes(option, url)).hexdigest()


def trusted_key(option: str, text: str) -> str:
    """A public key that an option gives."""
    try:
        return public_key(text)
    except ValueError as error:
        raise ConfigError(f"{option}: found {text!r}: {error}") from error


def signing_key(path: str) -> SigningKey:
    """The key in the file of `--key`."""
    try:
        return SigningKey.read(path)
    except OSError as error:
        raise ConfigError(
            f"--key: found {error.strerror} for {path}, expected a file that dub consent key made"
        ) from error
    except ValueError as error:
        raise ConfigError(f"--key: {error}") from error


def write_new(path: str, data: bytes) -> None:
    """A new file with these bytes; nothing is overwritten."""
    new_file(path, lambda: _write(path, data))


def _write(path: str, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)


def change_file(path: str, make: Callable[[bytes | None], bytes]) -> bytes:
    """Put what `make` makes of a file's bytes, or of None where there is no file, in its place; what it made.

    Commands that change one file at once do so one after the other. All stays as it is where `make` raises.
    """
    target = Path(os.path.realpath(path))
    with _next(target) as (new, file):
        file.truncate(0)  # of one that was killed
        made = make(target.read_bytes() if target.exists() else None)
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
        new.replace(target)
    return made


@contextlib.contextmanager
def _next(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The file that will take the place of `target`, for one process at a time: it is the lock as well."""
    new = target.with_name(f".{target.name}.new")
    while True:
        with open(new, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is(new, file.fileno()):
                continue  # while this process waited, another one put it in place
            try:
                yield new, file
            except BaseException:
                new.unlink(missing_ok=True)
                raise
            return


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def new_file(path: str, write: Callable[[], object]) -> None:
    """Let `write` make a new file. Raises ConfigError where there is one, or no folder for it."""
    try:
        write()
    except FileExistsError:
        raise ConfigError(f"{path}: found a file there, expected none: nothing is overwritten") from None
    except OSError as error:
        raise ConfigError(f"{path}: found {error.strerror}, expected a folder to write to") from error
