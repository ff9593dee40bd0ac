"""A server that answers as Ollama does, as far as health checks and the exporter ask."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "qwen2:1.5b-instruct-q4_0"
_LISTED = {"name": MODEL, "model": MODEL, "size": 935_000_000}


class StandIn:
    """Its state, and what it was asked.

    ``manner``: ``good``, ``hangs`` (never answers a question), ``empty`` (answers without a token).
    """

    def __init__(self, *, pulled: bool = True, manner: str = "good") -> None:
        self.pulled = pulled
        self.manner = manner
        self.asked: list[dict[str, Any]] = []
        self.port = 0
        self._let_go = threading.Event()

    @property
    def at(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self.port}"

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and content for one request."""
        if path == "/api/version":
            return 200, {"version": "0.31.1"}
        if path in {"/api/tags", "/api/ps"}:
            return 200, {"models": [_LISTED] if self.pulled else []}
        if path != "/api/generate":
            return 404, {"error": "not found"}
        self.asked.append(body)
        if self.manner == "hangs":
            self._let_go.wait(60)
        if not self.pulled or body["model"] != MODEL:
            return 404, {"error": f"model '{body['model']}' not found"}
        if self.manner == "empty":
            return 200, {"model": MODEL, "response": "", "done": True, "done_reason": "load"}
        ended = {"done": True, "done_reason": "length", "eval_count": 1}
        return 200, {"model": MODEL, "response": " there", **ended}

    @contextmanager
    def serving(self) -> Iterator[StandIn]:
        """Serve on a free port."""
        state = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply({})

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _reply(self, body: dict[str, Any]) -> None:
                status, content = state.answer(self.path, body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    state.asked.append({"hung_up": True})

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._let_go.set()
            server.shutdown()
            thread.join()
            server.server_close()
