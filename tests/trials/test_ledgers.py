"""The router's attempts are collected once each, however many they are and whatever it does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from firsttoken.trials.ledgers import LedgerCollector, LedgerUnreadableError

PAGE = 3


class StandIn(ThreadingHTTPServer):
    """Answers as a router that has made ``attempts``; one is added with each answer."""

    daemon_threads = True
    attempts = 0
    status = 200

    def page(self, after: int) -> dict[str, Any]:
        numbers = range(after if after <= self.attempts else 0, self.attempts)[:PAGE]
        following = numbers[-1] + 1 if numbers else min(after, self.attempts)
        self.attempts += 1
        rows = [
            {
                "request_id": str(number),
                "backend": "local",
                "model": "m",
                "started_ns": number,
                "ended_ns": number,
                "outcome": "success",
                "hedged": False,
                "committed": True,
            }
            for number in numbers
        ]
        return {"next": following, "more": len(rows) == PAGE, "attempts": rows}


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        (after,) = parse_qs(urlsplit(self.path).query)["after"]
        body = json.dumps(self.server.page(int(after))).encode()
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def router() -> Iterator[StandIn]:
    with StandIn(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def collector_of(router: StandIn, run_dir: Path) -> LedgerCollector:
    return LedgerCollector(run_dir, f"http://127.0.0.1:{router.server_port}", "attempts")


def written(run_dir: Path) -> list[str]:
    """Return the request ids that were written."""
    (part,) = (run_dir / "parts").iterdir()
    found: list[str] = pa.ipc.open_stream(part).read_all().column("request_id").to_pylist()
    return found


def test_attempts_are_collected_over_pages_while_more_are_made(
    router: StandIn, tmp_path: Path
) -> None:
    router.attempts = 2 * PAGE
    with collector_of(router, tmp_path) as collector:
        # Two full pages and what was made while they were read are passed over.
        began = 2 * PAGE + 2
        router.attempts = began + 2 * PAGE
        # Two full pages again; there is an end, although each answer makes one more.
        assert collector.collect() == 2 * PAGE + 2
        assert collector.collect() == 1
    assert written(tmp_path) == [str(number) for number in range(began, began + 2 * PAGE + 3)]


def test_a_router_that_was_started_anew_is_read_from_its_beginning(
    router: StandIn, tmp_path: Path
) -> None:
    router.attempts = 10
    with collector_of(router, tmp_path) as collector:
        router.attempts = 2
        assert collector.collect() == 2
    assert written(tmp_path) == ["0", "1"]


def test_a_router_that_does_not_tell_is_one_error(router: StandIn, tmp_path: Path) -> None:
    with collector_of(router, tmp_path) as collector:
        router.status = 500
        with pytest.raises(LedgerUnreadableError, match="could not be read"):
            collector.collect()
        router.status = 200
        assert collector.collect() == 2
