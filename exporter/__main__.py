"""The standalone exporter's process: its web server, signals, the ready line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporter.instruments import CONTENT_TYPE
from exporter.slow_heads import BoundedProtocol
from exporter.watching import Target, Watching
from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.core.settings.endpoint import resolve
from firsttoken.core.words import ExitCode

PORT = 9464
DIALECTS = ("openai", "ollama")

_CONNECTIONS = 64
"""Served at once; more are turned away with 503."""


def create_app(watching: Watching) -> Starlette:
    """Return the application: ``/metrics`` and ``/healthz``."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        watching.start()
        try:
            yield
        finally:
            await watching.aclose()

    async def metrics(request: Request) -> Response:  # noqa: ARG001
        # In a thread: a probe's first token may come meanwhile.
        text = await asyncio.to_thread(watching.measures.render)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    async def healthz(request: Request) -> Response:  # noqa: ARG001
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[Route("/metrics", metrics), Route("/healthz", healthz)], lifespan=lifespan
    )


class _Server(uvicorn.Server):
    """A server that ends with exit code 0 after SIGTERM, and says when it is ready."""

    ready_line: str | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.ready_line is not None:
            print(self.ready_line, flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


def run(target: Target, host: str, port: int, *, ready_json: bool = False) -> None:
    """Watch an engine and serve its metrics until SIGTERM or SIGINT.

    Args:
        target: the engine.
        host: address to listen on.
        port: port to listen on; 0 asks the system for a free one.
        ready_json: print ``{"url": ..., "pid": ...}`` on stdout when requests are accepted.

    Raises:
        UserError: the address cannot be listened on.
    """
    die_with_parent()
    logging.basicConfig(format="firsttoken: %(message)s", level=logging.WARNING)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen on {host} port {port}: {error}; expected a free port of this machine"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    server = _Server(
        uvicorn.Config(
            create_app(Watching(target)),
            http=BoundedProtocol,  # h11 bounds the size of a request's head
            ws="none",
            loop="asyncio",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
    )
    if ready_json:
        server.ready_line = json.dumps({"url": url, "pid": os.getpid()})
    else:
        print(f"firsttoken: metrics of {target.base_url} on {url}/metrics", file=sys.stderr)
    with listener:
        asyncio.run(server.serve(sockets=[listener]))


def target_of(
    url: str,
    dialect: str | None = None,
    model: str | None = None,
    *,
    probe_seconds: float = 15.0,
    pid: int | None = None,
    api_key: str | None = None,
) -> Target:
    """Return the engine that options name.

    Raises:
        UserError: one of them is none.
    """
    if dialect is not None and dialect not in DIALECTS:
        raise UserError(f"--dialect {dialect}: expected {' or '.join(DIALECTS)}")
    if not 0 <= probe_seconds < float("inf"):
        raise UserError(f"--probe-seconds {probe_seconds:g}: expected 0 or more")
    try:
        base_url, known = resolve(url, dialect)
    except ValueError as error:
        raise UserError(f"--target: {error}") from error
    return Target(
        base_url, dialect or known, model, api_key=api_key, probe_s=probe_seconds, pid=pid
    )


def main() -> int:
    """Serve; return the exit code."""
    parser = argparse.ArgumentParser(prog="exporter", description="The firsttoken exporter.")
    parser.add_argument("--target", required=True, help="URL of the engine")
    parser.add_argument("--dialect", help="openai or ollama; left out: the engine is asked")
    parser.add_argument("--model", help="model to probe; left out: the first the engine names")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=PORT, help="0: any free one")
    parser.add_argument("--probe-seconds", type=float, default=15.0, help="0: no probes")
    parser.add_argument("--ready-json", action="store_true", help="print a line when ready")
    told = parser.parse_args()
    try:
        target = target_of(told.target, told.dialect, told.model, probe_seconds=told.probe_seconds)
        run(target, told.host, told.port, ready_json=told.ready_json)
    except UserError as error:
        print(f"firsttoken: {error}", file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.PASS


if __name__ == "__main__":
    sys.exit(main())
