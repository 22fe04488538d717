"""A web server for tests: the files of a folder, whole or by ranges, and any refusal."""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOW = threading.Event()


class _Handler(SimpleHTTPRequestHandler):
    """``/status/403`` answers with that; ``/ranges/NAME`` sends what is asked for of a file, ``/NAME`` all of it.
    ``/slow`` takes minutes, and sets SLOW when all of it is on its way."""

    def do_HEAD(self) -> None:
        if self.path.startswith("/status/"):
            self.send_error(int(self.path.split("/")[2]))
        elif self.path == "/slow":
            self._promise()
        else:
            super().do_HEAD()

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if self.path.startswith("/status/"):
            self.do_HEAD()
        elif asked and self.path.startswith("/ranges/"):
            data = Path(self.translate_path(self.path)).read_bytes()
            start, end = int(asked[1]), min(int(asked[2]), len(data) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
            self.send_header("Content-Length", str(end - start + 1))
            self.end_headers()
            self.wfile.write(data[start : end + 1])
        elif self.path == "/slow":
            self._trickle()
        else:
            super().do_GET()

    def _promise(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "60000000")
        self.end_headers()

    def _trickle(self) -> None:
        self._promise()
        with contextlib.suppress(ConnectionError):
            while True:
                self.wfile.write(bytes(4096))
                if "Range" not in self.headers:
                    SLOW.set()
                time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[ThreadingHTTPServer]:
    """Listens at ``server_port`` of this machine."""

    def handler(*arguments: object) -> _Handler:
        return _Handler(*arguments, directory=str(folder))  # type: ignore[arg-type]

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
