"""The servers that are compared, and how each is started in front of another one."""

from __future__ import annotations

import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError

SLOWEST_START_S = 60.0
_POLL_S = 0.02

_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    upstream model {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""

_LITELLM = """\
model_list:
  - model_name: truth
    litellm_params: {{model: openai/truth, api_base: "http://{upstream}/v1", api_key: none}}
general_settings:
  forward_client_headers_to_llm_api: true
  dangerously_permit_weak_or_unset_master_key: true  # it listens on loopback, without keys
litellm_settings: {{request_timeout: 60, num_retries: 0}}
"""


@dataclass(frozen=True)
class Server:
    """A server that runs; stopped with its child."""

    name: str
    url: str
    child: Child
    ready_s: float
    """From the start of its process to its first readiness."""

    def cpu_s(self) -> float:
        """Return the CPU time of its processes so far, user and system."""
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(each.user + each.system for each in times))

    def resident_mb(self) -> float:
        """Return the resident memory of its processes; pages they share count for each."""
        return float(sum(process.memory_info().rss for process in self._processes())) / 1e6

    def _processes(self) -> list[psutil.Process]:
        process = psutil.Process(self.child.pid)
        return [process, *process.children(recursive=True)]


@dataclass(frozen=True)
class Peer:
    """Something that can stand between a client and a server."""

    name: str
    start: Callable[[str, Path], Server] | None
    """Given the server's base URL and an empty directory; None where it is not installed."""


def truth(first_token_ms: str, interval_ms: str) -> Server:
    """Start the server that knows its own first-token times."""
    module = ["-m", "firsttoken.upstreams.truth", "--port", "0"]
    pace = ["--first-token-ms", first_token_ms, "--token-interval-ms", interval_ms]
    return _told("direct", [*module, *pace])


def peers(nginx: str | None = None, litellm: str | None = None) -> list[Peer]:
    """Return all peers, this router first; a path given replaces the search for a program."""
    nginx = nginx or shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    litellm = litellm or shutil.which("litellm")
    return [
        Peer("router", start_router),
        Peer("splice", start_splice),
        Peer("nginx", _start_nginx(nginx) if nginx else None),
        Peer("litellm", _start_litellm(litellm) if litellm else None),
    ]


def start_router(upstream: str, directory: Path) -> Server:
    """Start this router with one backend and every other setting left out."""
    settings = directory / "router.yaml"
    settings.write_text(
        "llm_routing:\n  local_model:\n"
        f"    endpoint: {upstream}\n    model: truth\n    dialect: openai\n",
        encoding="utf-8",
    )
    options = ["--config", str(settings), "--port", "0", "--ready-json"]
    return _told("router", ["-m", "router", *options])


def start_splice(upstream: str, directory: Path) -> Server:  # noqa: ARG001 - as peers are started
    """Start the bare byte splice."""
    return _told("splice", ["-m", "benchmarks.router.splice", "--upstream", upstream])


def _start_nginx(program: str) -> Callable[[str, Path], Server]:
    def start(upstream: str, directory: Path) -> Server:
        port = _free_port()
        settings = directory / "nginx.conf"
        text = _NGINX.format(directory=directory, port=port, upstream=_address(upstream))
        settings.write_text(text, encoding="utf-8")
        command = [program, "-p", str(directory), "-e", "stderr", "-c", str(settings)]
        return _polled("nginx", command, port, "/health")

    return start


def _start_litellm(program: str) -> Callable[[str, Path], Server]:
    def start(upstream: str, directory: Path) -> Server:
        port = _free_port()
        settings = directory / "litellm.yaml"
        settings.write_text(_LITELLM.format(upstream=_address(upstream)), encoding="utf-8")
        place = ["--host", "127.0.0.1", "--port", str(port)]
        command = [program, "--config", str(settings), *place, "--telemetry", "False"]
        return _polled("litellm", command, port, "/health/readiness")

    return start


def _told(name: str, arguments: list[str]) -> Server:
    """Start a Python program of ours, which says itself when it is ready."""
    started_s = time.monotonic()
    child = Child.start([sys.executable, *arguments])
    return Server(name, child.ready["url"], child, time.monotonic() - started_s)


def _polled(name: str, command: list[str], port: int, path: str) -> Server:
    """Start a program and ask it until it answers."""
    started_s = time.monotonic()
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    # The virtual environment we run in must not become the program's.
    child = Child.start(
        ["/usr/bin/env", "-u", "PYTHONPATH", *command], ready_timeout_s=None, env=quiet
    )
    url = f"http://127.0.0.1:{port}"
    while not _answers(f"{url}{path}"):
        if child.poll() is not None or time.monotonic() - started_s > SLOWEST_START_S:
            trouble = child.last_error_line()
            child.stop()
            raise UserError(f"{name} did not start: {trouble}")
        time.sleep(_POLL_S)
    return Server(name, url, child, time.monotonic() - started_s)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - loopback
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _address(url: str) -> str:
    return url.removeprefix("http://")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
