"""A TCP proxy that spoils some of the HTTP requests through it, by seeded chance."""

import random
import re
import select
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from socket import socket as Socket
from typing import Self

FAULTS = ("delay", "reset", "truncate", "error500", "error503")
ERRORS = {
    "error500": ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    "error503": ("503 Service Unavailable", "SlowDown", "Please reduce your request rate."),
}
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
WAIT = 30.0  # seconds of silence after which a connection is given up


class FaultProxy:
    """``with FaultProxy(host, port, seed, reset=0.1) as proxy:`` listens at ``proxy.endpoint``.

    Every connection carries one request and is closed with its answer, so that chances are per request:

    delay      waits up to ``max_delay`` seconds first; goes together with any of the others
    reset      resets the connection: with a part of the request sent on, or with the work done and unanswered
    truncate   ends the answer somewhere before its end
    error500, error503   answer in place of the server
    """

    max_delay = 0.1

    def __init__(self, target_host: str, target_port: int, seed: int = 0, **chances: float):
        self.target = (target_host, target_port)
        self.chances = dict.fromkeys(FAULTS, 0.0)
        self.counts: Counter[str] = Counter()  # "requests", and each fault by its name
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.set(**chances)
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def set(self, **chances: float) -> None:
        """Changes the chances named and leaves the others."""
        with self._lock:
            changed = self.chances | chances
            if unknown := changed.keys() - set(FAULTS):
                raise ValueError(f"no such faults: {sorted(unknown)}")
            if sum(changed.values()) - changed["delay"] > 1:
                raise ValueError("the chances of all faults but delay add up to more than 1")
            self.chances = changed

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _draw(self) -> tuple[str, float, float]:
        """The fault for a request, where in it or its answer it strikes (0 to 1), and the delay before."""
        with self._lock:
            where, wait = self._random.random(), 0.0
            if self._random.random() < self.chances["delay"]:
                wait = self._random.uniform(0, self.max_delay)
            names = [*FAULTS[1:], ""]
            chances = [self.chances[name] for name in FAULTS[1:]]
            fault = self._random.choices(names, [*chances, max(0.0, 1 - sum(chances))])[0]
            self.counts.update(name for name in ("requests", "delay" if wait else "", fault) if name)
        return fault, where, wait

    def _serve(self, client: Socket) -> None:
        client.settimeout(WAIT)
        try:
            head, body = _head(client)
            fault, where, wait = self._draw()
            time.sleep(wait)
            if fault in ERRORS:
                _refuse(client, head, body, fault)
            else:
                with socket.create_connection(self.target, WAIT) as server:
                    _forward(client, server, head, body, fault, where)
        except OSError:  # either end went away: to the other that is a broken connection
            _reset(client)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def _head(end: Socket, data: bytes = b"") -> tuple[bytes, bytes]:
    """Reads to the empty line of a request or an answer; what came with it of the body is the second part."""
    while b"\r\n\r\n" not in data:
        if not (more := end.recv(65536)):
            raise ConnectionError("closed before the end of the headers")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def _length(head: bytes) -> int:
    found = LENGTH.search(head)
    return int(found[1]) if found else 0


def _refuse(client: Socket, head: bytes, body: bytes, fault: str) -> None:
    status, code, message = ERRORS[fault]
    # A body left unread would make the kernel send a reset on close, and the client miss the answer.
    left = 0 if b"100-continue" in head.lower() else _length(head) - len(body)
    while left > 0 and (more := client.recv(65536)):
        left -= len(more)
    answer = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    answer = f'<?xml version="1.0" encoding="UTF-8"?>\n{answer}'
    length = f"Content-Length: {len(answer)}\r\n"
    client.sendall(f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n{length}".encode())
    client.sendall(b"Connection: close\r\n\r\n" + (b"" if head.startswith(b"HEAD ") else answer.encode()))


def _forward(client: Socket, server: Socket, head: bytes, body: bytes, fault: str, where: float) -> None:
    """One request to the server and its answer back, up to the byte where the fault strikes."""
    early = fault == "reset" and where < 0.5  # else the server does the work, and its answer is lost
    upload = int((len(head) + _length(head)) * where * 2) if early else None
    answer, rest = b"", b""
    data = CONNECTION.sub(b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body
    while not answer:
        if upload is not None and len(data) >= upload:
            server.sendall(data[:upload])
            _reset(client)
            return
        if upload is not None:
            upload -= len(data)
        server.sendall(data)
        data = b""
        ready = [server] if rest else select.select([client, server], [], [], WAIT)[0]
        if server in ready:
            answer, rest = _head(server, rest)
            if answer.split(b" ", 2)[1] == b"100":
                client.sendall(answer)
                answer = b""
        elif not ready or not (data := client.recv(1 << 18)):
            raise ConnectionError("the client left or fell silent")
    if fault == "reset":
        _reset(client)
        return
    size = len(answer) + (0 if head.startswith(b"HEAD ") else max(_length(answer), len(rest)))
    _answer(client, server, answer + rest, int(size * where) if fault == "truncate" else None)


def _answer(client: Socket, server: Socket, data: bytes, limit: int | None) -> None:
    while data and (limit is None or len(data) < limit):
        client.sendall(data)
        limit = None if limit is None else limit - len(data)
        data = server.recv(1 << 18)
    client.sendall(data[:limit])


def _reset(end: Socket) -> None:
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
