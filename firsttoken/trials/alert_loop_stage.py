"""What the trial of the alert loop is played on: a router whose loop acts, and who talks to it."""

from __future__ import annotations

import json
import os
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from dashboards.rules.emit import Options
from dashboards.rules.model import Pace
from dashboards.rules.prometheus import Addresses
from dashboards.rules.receivers import Loop, Receivers
from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.child import Child
from firsttoken.core.settings import environment
from firsttoken.trials.monitoring import address, start_monitoring
from firsttoken.trials.servers import CLOUD_MODEL, CLOUD_PREFIX, start_cloud

TALKERS = 3
PAUSE_S = 0.7
"""Between two requests of a talker."""
HOLD_S = 2.0
"""For which a backend that was switched off is left alone, here."""
TOKEN = "of-this-trial-alone"  # noqa: S105 - it opens nothing that outlives the trial

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the world's from the disk takes a while, and everything here is on this machine."""

_NOBODY = "127.0.0.1:1"
"""Where nothing listens: there is no exporter here."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A router before an engine of its own and a cloud, watched by a Prometheus."""

    router: Child
    prometheus: str
    """Its address."""
    folder: Path

    def engine(self) -> psutil.Process:
        """Return the engine's process."""
        children = psutil.Process(self.router.pid).children(recursive=True)
        return next(each for each in children if "firsttoken.engines.llamacpp" in each.cmdline())


def start(stack: ExitStack, folder: Path, pace: Pace, retries: int) -> Stage:
    """Start all of it.

    Args:
        stack: stops it.
        folder: for settings and logs.
        pace: how fast Prometheus works.
        retries: failures in a row that open a circuit.

    Raises:
        UserError: something could not be started.
    """
    cloud = start_cloud(stack, 1, folder / "cloud.log")
    path = _settings(folder, cloud, retries)
    argv = [sys.executable, "-m", "router", "--engine", "--config", str(path)]
    argv += ["--port", "0", "--ready-json"]
    env = environment.neutral(os.environ)
    router = stack.enter_context(
        Child.start(argv, log=folder / "router.log", ready_timeout_s=60, env=env)
    )
    settings = settings_room.load([path], {})
    options = Options(
        pace=pace,
        addresses=Addresses(address(router.url), _NOBODY),
        receivers=Receivers(Loop(f"{router.url}/-/alerts", str(folder / "token"))),
    )
    slo = slo_room.load(None, settings)
    return Stage(router, start_monitoring(stack, folder, slo, settings, options), folder)


@dataclass
class Talking:
    """Talkers that ask again and again."""

    url: str
    replies: list[tuple[float, float, str]] = field(default_factory=list)
    """Unix times of start and end, and the backend; empty where there was no answer."""
    stop: threading.Event = field(default_factory=threading.Event)

    def talk(self, number: int) -> None:
        """Ask until it is stopped."""
        with httpx.Client(base_url=self.url, timeout=30, verify=NO_CERTIFICATES) as http:
            turn = 0
            while not self.stop.wait(PAUSE_S):
                turn += 1
                began_s = time.time()
                backend = _ask(http, f"talker {number} says {turn}")
                self.replies.append((began_s, time.time(), backend))


def _ask(http: httpx.Client, text: str) -> str:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "max_tokens": 4,
    }
    try:
        reply = http.post("/v1/chat/completions", json=body)
    except httpx.HTTPError:
        return ""
    whole = reply.status_code == 200 and b"[DONE]" in reply.content
    return str(reply.headers.get("x-firsttoken-backend", "")) if whole else ""


@contextmanager
def talkers(url: str) -> Iterator[Talking]:
    """Let talkers talk to the router at ``url``."""
    talking = Talking(url)
    threads = [threading.Thread(target=talking.talk, args=(n,)) for n in range(TALKERS)]
    for thread in threads:
        thread.start()
    try:
        yield talking
    finally:
        talking.stop.set()
        for thread in threads:
            thread.join()


def _settings(folder: Path, cloud: Child, retries: int) -> Path:
    limits = {"interval": 60, "timeout": 10, "retries": retries}
    remote = {
        "name": "emulated_cloud",
        "endpoint": f"{cloud.url}{CLOUD_PREFIX}",
        "model": CLOUD_MODEL,
        "dialect": "openai",
    }
    content: dict[str, Any] = {
        "llm_routing": {"local_model": {"timeout": 1}, "remote_models": [remote]},
        "local_optimization": {"model_loading": {"num_ctx": 512, "preload": True}},
        "health_check": {"local_model": limits},
        "hedging": {"enable": False},
        "confidence": {"tokens": 0},
        "engine": {"slots": 4, "threads": 1},
        "recovery": {"adapter": "embedded", "drain": 1, "ready": 60},
        "monitoring_metrics": {
            "alerts": [
                {
                    "metric": "local_model_error_rate",
                    "threshold": "> 5%",
                    "action": "switch_to_remote",
                }
            ]
        },
        "alert_actions": {
            "enable": True,
            "dry_run": False,
            "token_file": str(folder / "token"),
            "kill_switch": str(folder / "stop"),
            "audit_log": str(folder / "audit.jsonl"),
            "snapshots": str(folder / "snapshots"),
            "hold": HOLD_S,
        },
    }
    (folder / "token").write_text(TOKEN, encoding="utf-8")
    path = folder / "router.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return the audit log, oldest first."""
    path = folder / "audit.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]
