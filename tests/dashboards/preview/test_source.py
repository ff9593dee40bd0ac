"""Asking a Prometheus: what is sent, what is read, what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from dashboards.preview.source import Prometheus, Series, Span, read
from firsttoken.core.errors import UserError


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """Serve one answer to everything; keep what was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["content-length"])).decode()
            asked.append((self.path, {name: each[0] for name, each in parse_qs(form).items()}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(kind: str, result: Any) -> bytes:
    data = {"resultType": kind, "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


def test_a_range() -> None:
    result = [{"metric": {"a": "b"}, "values": [[1, "0.5"], [2, "NaN"], [3, "+Inf"], [4, "1"]]}]
    with answering(told("matrix", result)) as (url, asked), Prometheus(url) as source:
        assert source.over("x", Span(1, 4, 1)) == [Series({"a": "b"}, (1.0, 4.0), (0.5, 1.0))]
    times = {"start": "1.000", "end": "4.000", "step": "1.000"}
    assert asked == [("/api/v1/query_range", {"query": "x", "timeout": "10s", **times})]


def test_an_instant() -> None:
    result = [{"metric": {}, "value": [7, "2"]}, {"metric": {}, "value": [7, "NaN"]}]
    with answering(told("vector", result)) as (url, asked), Prometheus(url) as source:
        assert source.instant("x", 7) == [Series({}, (7.0,), (2.0,))]
    assert asked == [("/api/v1/query", {"query": "x", "timeout": "10s", "time": "7.000"})]


def test_a_scalar() -> None:
    assert list(read({"resultType": "scalar", "result": [1, "2"]})) == [Series({}, (1.0,), (2.0,))]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"status": "error", "error": "parse error: x"}', "parse error: x; asked was"),
        (b'{"status": "success"}', "an answer that is none of Prometheus"),
        (b"[]", "an answer that is none of Prometheus"),
        (b"<html>", "no JSON"),
    ],
)
def test_what_is_no_answer(body: bytes, why: str) -> None:
    with (
        answering(body) as (url, _),
        Prometheus(url) as source,
        pytest.raises(UserError, match=why),
    ):
        source.instant("x", 0)


def test_an_answer_that_is_too_large() -> None:
    with (
        answering(b" " * 3_000_000) as (url, _),
        Prometheus(url, most_bytes=1 << 20) as source,
        pytest.raises(UserError, match="more than 1 MiB"),
    ):
        source.instant("x", 0)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[", "nonsense"])
def test_nobody_answers(url: str) -> None:
    with (
        Prometheus(url, timeout_s=2) as source,
        pytest.raises(UserError, match="expected a Prometheus that answers"),
    ):
        source.instant("x", 0)
