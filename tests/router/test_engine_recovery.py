"""``serve --engine`` with recovery: a real engine that hangs is restarted, and serves again."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from firsttoken.core.child import Child

SETTINGS: dict[str, Any] = {
    "llm_routing": {"local_model": {"timeout": 5}},
    "local_optimization": {"model_loading": {"num_ctx": 512, "preload": False}},
    "health_check": {"local_model": {"interval": 1, "timeout": 1, "retries": 2}},
    "engine": {"slots": 2, "threads": 1},
    "recovery": {"adapter": "embedded", "cool_down": 1, "ready": 60},
}
LONGEST_S = 60.0


def _engine(router: Child) -> psutil.Process:
    found = [
        child
        for child in psutil.Process(router.pid).children(recursive=True)
        if "firsttoken.engines.llamacpp" in " ".join(child.cmdline())
    ]
    assert len(found) == 1
    return found[0]


def _backend_of(http: httpx.Client, text: str) -> tuple[int, str]:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "max_tokens": 2,
    }
    reply = http.post("/v1/chat/completions", json=body)
    return reply.status_code, reply.headers.get("x-firsttoken-backend", "")


def _restarts(http: httpx.Client) -> float:
    lines = http.get("/metrics").text.splitlines()
    wanted = 'llm_alert_actions_total{action="restart_service",result="succeeded"}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


def test_an_engine_that_hangs_is_restarted_and_serves_again(tmp_path: Path) -> None:
    settings = tmp_path / "router.json"
    settings.write_text(json.dumps(SETTINGS))
    argv = [sys.executable, "-m", "router", "--engine", "--config", str(settings)]
    argv += ["--port", "0", "--ready-json"]
    with (
        Child.start(argv, log=tmp_path / "router.log", ready_timeout_s=60) as router,
        httpx.Client(base_url=router.url, timeout=30, verify=False) as http,  # noqa: S501 - http
    ):
        assert _backend_of(http, "hello") == (200, "local")
        engine = _engine(router)
        engine.send_signal(signal.SIGSTOP)
        until_s = time.monotonic() + LONGEST_S
        while _restarts(http) == 0:
            # Metrics are asked for as fast as they come: no pause is guessed.
            assert time.monotonic() < until_s, (tmp_path / "router.log").read_text()
        assert not engine.is_running()
        assert _backend_of(http, "hello again") == (200, "local")
        log = (tmp_path / "router.log").read_text()
    assert "restart" in log
    assert not psutil.pid_exists(engine.pid)
