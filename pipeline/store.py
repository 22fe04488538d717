"""The only door to files: one folder at any fsspec URL, with atomic writes and readable errors."""

import contextlib
import hashlib
import io
import json
import os
import posixpath
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs
from fsspec.exceptions import FSTimeoutError

T = TypeVar("T")
TEMPORARY = ".tmp"  # local folders only: object stores need no temporary names
ATTEMPTS = 3  # over those of the client library
PIECE = 1 << 16  # bytes of an open file that are asked of the client library at once


class StoreError(OSError):
    """A read or write that failed for good: which URL, what was tried, why."""

    def __init__(self, action: str, url: str, reason: str):
        super().__init__(f"cannot {action} {url}: {reason}")
        self.action, self.url, self.reason = action, url, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.action, self.url, self.reason))


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8. Equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON of a value, as hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def pretty(value: Any) -> bytes:
    """JSON for files that people read: deterministic, indented."""
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def from_json(text: str | bytes) -> Any:
    """What JSON says. ValueError for anything else, and for what is too deep within itself to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists and objects too deep within each other") from None


def is_url(path: str) -> bool:
    return "://" in path or path.startswith("memory:")


def resolve(path: str, base: str) -> str:
    """A path or URL as written in the file at `base`, made absolute."""
    if is_url(path) or os.path.isabs(path):
        return path
    if is_url(base):
        scheme, _, rest = base.partition("://")
        return f"{scheme}://{posixpath.normpath(posixpath.join(posixpath.dirname(rest), path))}"
    return os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(base)), path))


def read_file(url: str, options: dict[str, Any] | None = None) -> bytes:
    """The bytes at a URL. Raises StoreError."""
    parent, name = posixpath.split(url)
    return Store(parent or ".", options).read(name)


class _Remote(io.RawIOBase):
    """A server's file, each of its reads made by `attempt`."""

    def __init__(self, file: Any, attempt: Callable[[Callable[[], bytes]], bytes]):
        self._file, self._attempt = file, attempt

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def readinto(self, buffer: Any) -> int:
        data = self._attempt(lambda: self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class Store:
    """A folder at a local path or fsspec URL. Names are relative, with forward slashes.

    A file appears under its name whole or not at all: a rename on local disks, one PUT (or a completed
    multipart upload) on object stores. Transient faults are tried again; the rest raise StoreError.
    """

    def __init__(self, url: str, options: dict[str, Any] | None = None):
        self.url, self.options = url.rstrip("/") or "/", options or {}
        protocol = url.partition("://")[0] if is_url(url) else "file"
        settings = dict(self.options)
        if protocol in ("s3", "s3a"):
            # Another writer's object must be seen at once, so no listing is ever cached.
            settings = {"use_listings_cache": False, "config_kwargs": _s3_config(), **settings}
        self._http = protocol in ("http", "https")
        if self._http:
            settings = {"client_kwargs": {"timeout": _http_timeout()}, **settings}
        try:
            self.fs, root = url_to_fs(url, **settings)
        except Exception as error:  # some file systems connect at once
            raise StoreError("open", url, _reason(error)) from error
        self.local = protocol in ("file", "local")
        self.root = str(root).rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.url, self.options))

    def path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def show(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def read(self, name: str) -> bytes:
        return self._try("read", name, lambda: self.fs.cat_file(self.path(name)))

    def read_json(self, name: str) -> Any:
        """The parsed JSON of a file, or None where it is missing or not JSON."""
        try:
            return from_json(self.read(name))
        except (FileNotFoundError, ValueError):
            return None

    def open(self, name: str) -> Any:
        """A seekable binary file object for reading; what goes wrong with a server meanwhile is a StoreError too."""
        return self._try("open", name, lambda: self._open(name))

    def _open(self, name: str) -> Any:
        file = self.fs.open(self.path(name), "rb")
        if self.local:
            return file
        if self._http:
            try:
                file.seek(-1, os.SEEK_END)
                file.read(1)
                file.seek(0)
            except ValueError:  # the server sends files from their beginning only
                file.close()
                file = tempfile.TemporaryFile()
                self.fs.get_file(self.path(name), file)
                file.seek(0)
        return io.BufferedReader(_Remote(file, lambda read: self._try("read", name, read)), PIECE)

    def write(self, name: str, data: bytes, *, sync: bool = False) -> None:
        """Put bytes under a name, atomically. `sync` asks local disks to have them on the platter."""
        self._try("write", name, lambda: self._write(name, data, sync))

    def _write(self, name: str, data: bytes, sync: bool) -> None:
        if not self.local:
            self.fs.pipe_file(self.path(name), data)
            return
        with self._temporary() as temporary:
            with open(temporary, "wb") as file:
                file.write(data)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            self._rename(temporary, name)

    def put(self, source: Path, name: str) -> None:
        """Move a finished file from the workplace under a name, atomically. The source is gone afterwards."""
        self._try("write", name, lambda: self._put(source, name))

    def _put(self, source: Path, name: str) -> None:
        if not self.local:
            self.fs.put_file(str(source), self.path(name))
            source.unlink()
            return
        with open(source, "rb+") as file:
            os.fsync(file.fileno())
        self._rename(str(source), name)

    def workplace(self) -> str | None:
        """A local folder for files that `put` will move: on the store's own disk where that is local."""
        if not self.local:
            return None
        os.makedirs(self.path(TEMPORARY), exist_ok=True)
        return self.path(TEMPORARY)

    def delete(self, name: str) -> None:
        """Remove a file; one that is not there is no error."""

        def remove() -> None:
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(self.path(name))

        self._try("delete", name, remove)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Every file below a folder -> its size in bytes. A folder that is not there is empty."""

        def find() -> dict[str, int]:
            try:
                found = self.fs.find(self.path(prefix), detail=True)
            except FileNotFoundError:
                return {}
            return {p[len(self.root) + 1 :]: int(entry["size"]) for p, entry in found.items()}

        return self._try("list", prefix, find)

    def sweep(self, age: float = 3600.0) -> None:
        """Remove what processes left behind that were killed more than `age` seconds ago; others may be at work."""
        if not self.local or not os.path.isdir(self.path(TEMPORARY)):
            return
        for entry in os.scandir(self.path(TEMPORARY)):
            if time.time() - entry.stat().st_mtime > age:
                shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[str]:
        temporary = f"{self.workplace()}/{uuid.uuid4().hex}"
        try:
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def _rename(self, temporary: str, name: str) -> None:
        target = self.path(name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.replace(temporary, target)

    def _try(self, action: str, name: str, call: Callable[[], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except Exception as raised:
                error = _behind(raised)
                if isinstance(error, FileNotFoundError) and action in ("read", "open"):
                    raise FileNotFoundError(f"{self.show(name)} does not exist") from None
                if isinstance(error, FileNotFoundError):
                    raise StoreError(action, self.show(name), "the bucket or folder does not exist") from None
                if not _transient(error) or attempt == ATTEMPTS - 1:
                    raise StoreError(action, self.show(name), _reason(error)) from error
                time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")


def _s3_config() -> dict[str, Any]:
    return {
        "retries": {"max_attempts": 5, "mode": "standard"},
        "connect_timeout": 10,
        "read_timeout": 30,
        # Servers other than AWS often lack the newer checksum trailers.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }


def _http_timeout() -> Any:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)  # a film takes longer than any total


def _behind(error: Exception) -> Exception:
    """The fault itself: for fsspec, whatever an HTTP server or the way to it does means that a file is not found."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or not isinstance(cause, Exception):
        return error
    told = isinstance(cause, TimeoutError) or type(cause).__module__.startswith("aiohttp")
    return cause if told and _status(cause) not in (404, 410) else error


def _status(error: Exception) -> int:
    """What an HTTP server answered, 0 where it did not."""
    status = getattr(error, "status", 0)
    return status if isinstance(status, int) else 0


def _transient(error: Exception) -> bool:
    """Worth another try: the network's faults and the server's, never a refusal."""
    if status := _status(error):
        return status == 429 or status >= 500
    if isinstance(error, (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)):
        return False
    if type(error).__name__ == "EndpointConnectionError":  # the client has tried for ten seconds itself
        return False
    if isinstance(error, (ConnectionError, TimeoutError, FSTimeoutError)):
        return True
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    cause = error.__cause__
    names = {type(e).__module__.partition(".")[0] for e in (error, cause) if e is not None}
    if code:
        return code in {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"} or code[:1] == "5"
    if isinstance(error, OSError) and error.errno in (5, 16, None) and names & {"aiobotocore", "botocore"}:
        return True
    return bool(names & {"aiohttp", "botocore", "aiobotocore", "http"}) and "Credential" not in type(error).__name__


def _reason(error: Exception) -> str:
    if status := _status(error):
        return f"the server answers {status} {getattr(error, 'message', '')}".rstrip()
    text = str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        return f"refused ({text}); check the access key, the secret and the bucket's policy"
    if "Credential" in type(error).__name__:
        return f"{text}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return text
