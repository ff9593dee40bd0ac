"""The server process: sockets, signals, limits below HTTP, the ready line."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from firsttoken.core.errors import UserError
from firsttoken.core.settings.endpoint import is_loopback
from router.actions.audit import AuditLog
from router.app import Router, create_app
from router.config import RouterConfig

HEAD_BYTES = 65_536
"""Bytes at most of a request's line and headers."""

HEAD_SECONDS = 20.0
"""For a request's line and headers to arrive."""

IDLE_SECONDS = 75
"""How long a client's idle connection is kept; people pause between two sentences."""

DRAIN_SECONDS = 1.5
"""For requests in flight to end after SIGTERM."""

_COLLECT_EVERY = (20_000, 20, 100)
"""Objects until the young ones are looked at for cycles, then rounds until older ones are."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on the size and the time of a request's head."""

    _head_bytes = 0
    _in_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request's head."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse a head that is too large."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Start the clock of the next request's head."""
        super().on_message_begin()
        self._in_head = True
        self._start_head_timer()

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Count the next bytes as a head again."""
        super().on_message_complete()
        self._in_head = True

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    """A server that ends with exit code 0 after SIGTERM, and says when it is ready."""

    ready_line: str | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What was made so far lives as long as the process; collections need not look at it.
        gc.collect()
        gc.freeze()
        # A request makes few cycles; at the usual rate, looking for them is 5 to 7 % of its CPU.
        gc.set_threshold(*_COLLECT_EVERY)
        if self.ready_line is not None:
            print(self.ready_line, flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def run(router: Router, host: str, port: int, *, ready_json: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        router: not started yet.
        host: address to listen on.
        port: port to listen on; 0 asks the system for a free one.
        ready_json: print ``{"url": ..., "pid": ...}`` on stdout when requests are accepted.

    Raises:
        UserError: the address cannot be listened on, or it is open to others and no key is set.
    """
    check_keys(router.config, host)
    check_audit(router.config)
    listener = _listen(host, port)
    url = _url(host, listener.getsockname()[1])
    settings: dict[str, Any] = {
        "http": LimitedProtocol,
        "loop": "none",
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "log_level": "warning",
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": IDLE_SECONDS,
        "timeout_graceful_shutdown": DRAIN_SECONDS,
        "backlog": 2048,
    }
    server = _Server(uvicorn.Config(create_app(router), **settings))
    if ready_json:
        server.ready_line = json.dumps({"url": url, "pid": os.getpid()})
    else:
        print(f"firsttoken: serving on {url}", file=sys.stderr, flush=True)
    with listener:
        uvloop.run(server.serve(sockets=[listener]))


def check_keys(config: RouterConfig, host: str) -> None:
    """Check that whoever may reach ``host`` has to present a key.

    Raises:
        UserError: other machines may, and no key is set.
    """
    if not config.api_keys and not is_loopback(host):
        raise UserError(
            f"--host {host} is open to other machines, and no API key is set; expected a loopback "
            "address, or server.api_keys_env or server.api_keys_file in the settings"
        )
    if config.alerts.enable and config.alerts.token is None and not is_loopback(host):
        raise UserError(
            f"--host {host} is open to other machines, and alerts may act without a token; "
            "expected alert_actions.token_env or alert_actions.token_file in the settings"
        )


def check_audit(config: RouterConfig) -> None:
    """Check that what alerts ask for can be entered in its log.

    Raises:
        UserError: alert actions are on and the file cannot be written.
    """
    if config.alerts.enable:
        AuditLog(config.alerts.audit_log).check()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(
            f"cannot listen on {host} port {port}: {told}; expected a free port of this machine"
        ) from error
    return listener


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
