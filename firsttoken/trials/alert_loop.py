"""The loop for real: an engine fails under load, Prometheus sees it, Alertmanager says so, the
router acts, and the engine serves again. Measured from the fault on."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from dashboards.rules.emit import SHIPPED, write_rules
from dashboards.rules.model import QUICK, USUAL, Pace
from dashboards.rules.prometheus import Addresses
from dashboards.rules.receivers import Loop, Receivers
from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.catalogue import Action
from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.settings import environment
from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.progress import Progress
from firsttoken.trials.servers import CLOUD_MODEL, CLOUD_PREFIX, start_cloud

TALKERS = 3
PAUSE_S = 0.7
"""Between two requests of a talker."""
WARM_S = 12.0
"""Of load before the fault: longer than the shortest window of a rule."""
LOOK_EVERY_S = 0.005
HOLD_S = 2.0
"""For which a backend that was switched off is left alone, here."""
TOKEN = "of-this-trial-alone"  # noqa: S105 - it opens nothing that outlives the trial

_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the world's from the disk takes a while, and everything here is on this machine."""


class Fault(StrEnum):
    """What is done to the engine."""

    HANG = "hang"
    """SIGSTOP: it keeps its connections and answers nothing."""
    KILL = "kill"
    """SIGKILL; its supervisor starts another one, so what is left is a burst of errors."""


@dataclass(frozen=True, slots=True)
class _Case:
    """What has to happen after a fault."""

    alert: str
    action: Action
    retries: int
    """Failures in a row that open the circuit. Where the alert is to restart the engine, so many
    that the router's own recovery, which counts failed probes, would come later."""


_CASES = {
    Fault.HANG: _Case("LLMLocalBackendDown", Action.RESTART_SERVICE, 8),
    Fault.KILL: _Case("LLMHighLocalErrorRate", Action.SWITCH_TO_REMOTE, 3),
}


@dataclass(frozen=True, slots=True)
class Found:
    """When things happened, seconds after the fault."""

    fault: Fault
    action: Action
    scrape_s: int
    circuit_s: float
    """The router's own breaker had opened."""
    fired_s: float
    """Prometheus began to call the condition an alert."""
    asked_s: float
    """The router had decided about Alertmanager's delivery."""
    ended_s: float
    """The action had ended."""
    served_s: float
    """The first reply of the local engine that was asked for after that."""
    requests: int
    failed: int
    """Requests that the user got no answer to, from the fault on."""


@dataclass
class Talking:
    """Talkers that ask again and again."""

    url: str
    replies: list[tuple[float, float, str]] = field(default_factory=list)
    """Unix times of start and end, and the backend; empty where there was no answer."""
    stop: threading.Event = field(default_factory=threading.Event)

    def talk(self, number: int) -> None:
        """Ask until it is stopped."""
        with httpx.Client(base_url=self.url, timeout=30, verify=_NO_CERTIFICATES) as http:
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
def _load(url: str) -> Iterator[Talking]:
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


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


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


def start_monitoring(
    stack: ExitStack, folder: Path, settings_file: Path, url: str, pace: Pace
) -> str:
    """Start Prometheus and Alertmanager by our own rules for the router at ``url``; return the
    address of Prometheus."""
    ports = [free_port() for _ in range(3)]
    addresses = [f"127.0.0.1:{port}" for port in ports]
    settings = settings_room.load([settings_file], {})
    options = replace(
        SHIPPED,
        pace=pace,
        addresses=Addresses(url.removeprefix("http://"), addresses[2], addresses[1]),
        receivers=Receivers(Loop(f"{url}/-/alerts", str(folder / "token"))),
    )
    write_rules(folder / "rules", slo_room.load(None, settings), settings, options)
    for name, argv, address in (
        (
            "prometheus",
            (f"--storage.tsdb.path={folder / 'prometheus'}",),
            addresses[0],
        ),
        (
            "prometheus-alertmanager",
            (f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="),
            addresses[1],
        ),
    ):
        config = folder / "rules" / f"{name.removeprefix('prometheus-')}.yml"
        whole = [name, f"--config.file={config}", f"--web.listen-address={address}", *argv]
        stack.enter_context(Child.start(whole, log=folder / f"{name}.log", ready_timeout_s=None))
        _until(partial(_ready, f"http://{address}/-/ready"), 30, f"{name} is not ready")
    return f"http://{addresses[0]}"


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, verify=_NO_CERTIFICATES).status_code == 200
    except httpx.HTTPError:
        return False


def _until(true: Callable[[], Any], seconds: float, otherwise: str, every_s: float = 0.05) -> Any:
    """Ask until something comes back; return it."""
    until_s = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > until_s:
            raise UserError(f"alert-loop: {otherwise} within {seconds:g} s")
        threading.Event().wait(every_s)
    return found


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return the audit log, oldest first."""
    path = folder / "audit.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _entry(folder: Path, kind: str, case: _Case) -> dict[str, Any] | None:
    wanted = (kind, case.alert)
    found = (each for each in entries(folder) if (each["kind"], each.get("alertname")) == wanted)
    return next((each for each in found if kind == "end" or each["result"] == "started"), None)


def _engine(router: Child) -> psutil.Process:
    children = psutil.Process(router.pid).children(recursive=True)
    return next(each for each in children if "firsttoken.engines.llamacpp" in each.cmdline())


def longest_s(pace: Pace) -> float:
    """Return how long the way from a fault to an action may take at most, generously."""
    return 60 + 4 * (pace.scrape + pace.evaluation + pace.group_wait) + 2 * pace.hold(120)


def measure(
    fault: Fault, pace: Pace, folder: Path, after: Callable[[], None] | None = None
) -> Found:
    """Break the engine under load, and wait until it serves again; ``after`` is called then, with
    everything still running.

    Raises:
        UserError: something did not happen in time.
    """
    case = _CASES[fault]
    folder.mkdir(parents=True, exist_ok=True)
    limit_s = longest_s(pace)
    with ExitStack() as stack:
        cloud = start_cloud(stack, 1, folder / "cloud.log")
        path = _settings(folder, cloud, case.retries)
        argv = [sys.executable, "-m", "router", "--engine", "--config", str(path)]
        argv += ["--port", "0", "--ready-json"]
        env = environment.neutral(os.environ)
        router = stack.enter_context(
            Child.start(argv, log=folder / "router.log", ready_timeout_s=60, env=env)
        )
        prometheus = start_monitoring(stack, folder, path, router.url, pace)
        talking = stack.enter_context(_load(router.url))
        http = stack.enter_context(
            httpx.Client(base_url=router.url, timeout=10, verify=_NO_CERTIFICATES)
        )
        scrapes = {"query": 'count_over_time(up{job="firsttoken-router"}[1h]) >= 2'}

        def scraped() -> bool:
            told = httpx.get(
                f"{prometheus}/api/v1/query", params=scrapes, timeout=5, verify=_NO_CERTIFICATES
            )
            return bool(told.json()["data"]["result"])

        _until(scraped, 60 + 4 * pace.scrape, "Prometheus has not read the router twice")
        warm_s = time.time() + WARM_S
        _until(lambda: time.time() >= warm_s, 2 * WARM_S, "the clock stands still")
        engine = _engine(router)
        fault_s = time.time()
        engine.send_signal(signal.SIGSTOP if fault is Fault.HANG else signal.SIGKILL)

        def local_is_out() -> float | None:
            return time.time() if "local" in http.get("/readyz").json()["blocked"] else None

        circuit_s = _until(local_is_out, 60, "the circuit did not open", LOOK_EVERY_S)
        asked = _until(
            lambda: _entry(folder, "decision", case), limit_s, f"{case.alert} asked for nothing"
        )
        ended = _until(lambda: _entry(folder, "end", case), 90, f"{case.action} did not end")
        if ended["result"] != "succeeded":
            raise UserError(f"alert-loop: {case.action} {ended['result']}: {ended['why']}")

        def served() -> float | None:
            found = (each for each in talking.replies if each[2] == "local")
            return next((at for began, at, _ in found if began > ended["at"]), None)

        served_s = _until(served, 90, "the local engine does not serve again")
        if after is not None:
            after()
        replies = [backend for _, at, backend in talking.replies if at >= fault_s]
    return Found(
        fault,
        case.action,
        pace.scrape,
        circuit_s - fault_s,
        asked["starts"] - fault_s,
        asked["at"] - fault_s,
        ended["at"] - fault_s,
        served_s - fault_s,
        len(replies),
        replies.count(""),
    )


PACES = (QUICK, replace(USUAL, scrape=15, evaluation=15))
HEADER = (
    "fault",
    "scraped each",
    "own breaker open",
    "alert fires",
    "action begins",
    "action",
    "action ends",
    "local replies again",
    "requests since",
    "unanswered",
)


def row(found: Found) -> tuple[str, ...]:
    """Return one line of the table."""
    times = [f"{value:.1f} s" for value in (found.fired_s, found.asked_s)]
    ends = [f"{value:.1f} s" for value in (found.ended_s, found.served_s)]
    return (
        found.fault,
        f"{found.scrape_s} s",
        f"{found.circuit_s * 1000:.0f} ms",
        *times,
        found.action,
        *ends,
        str(found.requests),
        str(found.failed),
    )


EXPLAINED = (
    f"{TALKERS} talkers, {PAUSE_S:g} s between two requests; the embedded engine, an **emulated** "
    "cloud behind it, Prometheus and Alertmanager as Debian packages them, our generated rules. "
    "All times count from the fault.\n\n"
    f"- `hang` is SIGSTOP. The router's breaker opens after {_CASES[Fault.HANG].retries} attempts "
    "in a row were given up, 1 s each; `LLMLocalBackendDown` asks for a restart.\n"
    "- `kill` is SIGKILL. The supervisor starts another engine at once; the breaker opens after "
    f"{_CASES[Fault.KILL].retries} failed attempts in a row, so as soon as so many requests have "
    "come; what `LLMHighLocalErrorRate` then asks for keeps the local backend out for "
    f"{HOLD_S:g} s and three probes more.\n"
    "- Scraped each second, windows are 10 s and each `for` is a twentieth of the usual one; "
    "scraped each 15 s, everything else is as shipped (`for` is 2 min).\n"
    "- Unanswered are replies whose first token had been handed on when the engine failed: no "
    "other backend can go on with those. All others were answered by the cloud meanwhile.\n\n"
)


def alert_loop(progress: Progress) -> str:
    """Measure both faults at the quick pace and the hang at 15 s too; return the page's text."""
    plan = [(Fault.KILL, QUICK), *((Fault.HANG, pace) for pace in PACES)]
    rows = []
    for fault, pace in plan:
        with (
            progress.doing(f"alert-loop: {fault}, scraped each {pace.scrape} s"),
            tempfile.TemporaryDirectory(prefix="firsttoken-alert-loop-") as folder,
        ):
            rows.append(row(measure(fault, pace, Path(folder))))
        progress.say("  " + "   ".join(rows[-1]))
    return EXPLAINED + markdown_table(HEADER, rows)
