"""A server that says exactly what a test wrote down, byte by byte, and remembers what it heard."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class Reply:
    """What to write after one request: pieces, each after all before it were sent; a number is a
    pause in seconds. The connection is closed after it, or kept for the next request."""

    pieces: Sequence[bytes | float]
    close: bool = False
    reset: bool = False
    """Close with a reset instead of an end."""


@dataclass
class Scripted:
    """Serves ``replies`` in turn, whatever the connection they are asked for on."""

    replies: Iterable[Reply]
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._left = list(self.replies)
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        host = "127.0.0.1" if self.tls is None else "localhost"
        return f"{scheme}://{host}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        threads = []
        with suppress(OSError):
            while not self._stop.is_set():
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                thread.start()
                threads.append(thread)
        for thread in threads:
            thread.join(5)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self._converse(connection)
        connection.close()

    def _converse(self, connection: socket.socket) -> None:
        while self._left and (request := read_request(connection)):
            self.requests.append(request)
            reply = self._left.pop(0)
            for piece in reply.pieces:
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                else:
                    self._stop.wait(piece)
            if reply.reset:
                linger = (1).to_bytes(4, "little") + bytes(4)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if reply.close or reply.reset:
                return


def read_request(connection: socket.socket) -> bytes:
    """Return one whole request, empty where the client left."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def sse(*payloads: str) -> list[bytes]:
    """Return one server-sent event for each payload."""
    return [f"data: {payload}\n\n".encode() for payload in payloads]


def delta(text: str) -> str:
    """Return the payload of one OpenAI content chunk."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return json.dumps({"choices": [choice]}, ensure_ascii=False)


ROLE = '{"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}'
STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
USAGE = (
    '{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16,'
    '"prompt_tokens_details":{"cached_tokens":5}}}'
)
DONE = "[DONE]"


def chunked(events: Sequence[bytes], *, end: bool = True) -> list[bytes]:
    """Return the events as one HTTP chunk each, with the last chunk unless it is cut."""
    pieces = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [*pieces, b"0\r\n\r\n"] if end else pieces


CHUNKED_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"x-firsttoken-tier: local\r\nx-firsttoken-backend: local\r\n"
    b"x-firsttoken-reason: rule_simple\r\nx-firsttoken-attempts: 1\r\n\r\n"
)
CLOSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n"
)


def length_head(length: int, content_type: str = "text/event-stream") -> bytes:
    """Return a head that announces ``length`` bytes."""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def error_reply(status: int, body: str, extra: str = "") -> Reply:
    """Return an HTTP error with a JSON body."""
    return Reply(
        [
            f"HTTP/1.1 {status} Nope\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()
        ]
    )
