"""The router as a process: start, ready line, stop, and how it refuses to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from firsttoken.core.child import Child

ROUTER = [sys.executable, "-m", "router"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hybrid.yaml"
    path.write_text(
        "llm_routing:\n  local_model:\n    endpoint: http://127.0.0.1:9\n    dialect: openai\n"
    )
    return path


def test_ready_line_health_and_stop(config: Path) -> None:
    argv = [*ROUTER, "--config", str(config), "--port", "0", "--ready-json"]
    with Child.start(argv, ready_timeout_s=30) as child:
        assert child.ready == {"url": child.url, "pid": child.pid}
        assert httpx.get(f"{child.url}/healthz").json() == {"status": "ok"}
        metrics = httpx.get(f"{child.url}/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'llm_backend_up{backend="local"} 1.0' in metrics.text
        began = time.monotonic()
        assert child.stop() == 0
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_does_not_hold_up_the_stop(
    config: Path, number: signal.Signals
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config.write_text(config.read_text().replace("http://127.0.0.1:9", endpoint))
        argv = [*ROUTER, "--config", str(config), "--port", "0", "--ready-json"]
        with Child.start(argv, ready_timeout_s=30) as child:
            host, port = child.url.removeprefix("http://").split(":")
            body = b'{"model":"auto","messages":[{"role":"user","content":"hi"}],"stream":true}'
            with socket.create_connection((host, int(port))) as client:
                client.sendall(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
                    b"content-length: %d\r\n\r\n%b" % (len(body), body)
                )
                upstream, _ = silent.accept()
                with upstream:
                    os.kill(child.pid, number)
                    assert child.wait(timeout_s=10.0) == 0
                    assert client.recv(65536).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("change", "arguments", "told"),
    [
        ("llm_routing: [", [], "hybrid.yaml"),
        ("llm_rooting: {}", [], "llm_rooting"),
        (None, ["--host", "0.0.0.0"], "no API key is set"),  # noqa: S104
        (None, ["--host", "203.0.113.1"], "no API key is set"),
    ],
)
def test_it_refuses_in_one_line(
    config: Path, change: str | None, arguments: list[str], told: str
) -> None:
    if change is not None:
        config.write_text(change)
    assert told in _refusal(config, *arguments, "--port", "0")


def test_a_port_that_is_taken(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = _refusal(config, "--port", str(port))
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in told


def _refusal(config: Path, *arguments: str) -> str:
    """Start a router that must not start; return its one line."""
    done = subprocess.run(
        [*ROUTER, "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if "warning" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("firsttoken: ")
    return lines[0]
