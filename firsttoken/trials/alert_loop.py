"""The alert loop, end to end: an engine fails, Prometheus sees it, Alertmanager says so, the
router acts, and the engine serves again. Measured from the fault on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx

from dashboards.rules.model import Pace
from firsttoken.core.catalogue import Action
from firsttoken.core.errors import UserError
from firsttoken.trials import alert_loop_stage
from firsttoken.trials.alert_loop_stage import NO_CERTIFICATES, Stage, entries, talkers

WARM_S = 12.0
"""Of load before the fault: longer than the shortest window of a rule."""
LOOK_EVERY_S = 0.005


class Fault(StrEnum):
    """What is done to the engine."""

    HANG = "hang"
    """SIGSTOP: it keeps its connections and answers nothing."""
    KILL = "kill"
    """SIGKILL; its supervisor starts another one, so what is left is a burst of errors."""


@dataclass(frozen=True, slots=True)
class Case:
    """What has to happen after a fault."""

    alert: str
    action: Action
    retries: int
    """Failures in a row that open the circuit. Where the alert is to restart the engine, so many
    that the router's own recovery, which counts failed probes, would come later."""


CASES = {
    Fault.HANG: Case("LLMLocalBackendDown", Action.RESTART_SERVICE, 8),
    Fault.KILL: Case("LLMHighLocalErrorRate", Action.SWITCH_TO_REMOTE, 3),
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
    case = CASES[fault]
    folder.mkdir(parents=True, exist_ok=True)
    limit_s = longest_s(pace)
    with ExitStack() as stack:
        stage = alert_loop_stage.start(stack, folder, pace, case.retries)
        talking = stack.enter_context(talkers(stage.router.url))
        http = stack.enter_context(
            httpx.Client(base_url=stage.router.url, timeout=10, verify=NO_CERTIFICATES)
        )
        scraped_s = 60 + 4 * pace.scrape
        _until(lambda: _scraped(stage), scraped_s, "Prometheus has not read the router twice")
        warm_s = time.time() + WARM_S
        _until(lambda: time.time() >= warm_s, 2 * WARM_S, "the clock stands still")
        engine = stage.engine()
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


def _scraped(stage: Stage) -> bool:
    """Say whether Prometheus has read the router twice."""
    query = {"query": 'count_over_time(up{job="firsttoken-router"}[1h]) >= 2'}
    told = httpx.get(
        f"{stage.prometheus}/api/v1/query", params=query, timeout=5, verify=NO_CERTIFICATES
    )
    # Before its database is open it answers with an error.
    return told.status_code == httpx.codes.OK and bool(told.json()["data"]["result"])


def _until(true: Callable[[], Any], seconds: float, otherwise: str, every_s: float = 0.05) -> Any:
    """Ask until something comes back; return it."""
    until_s = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > until_s:
            raise UserError(f"alert-loop: {otherwise} within {seconds:g} s")
        threading.Event().wait(every_s)
    return found


def _entry(folder: Path, kind: str, case: Case) -> dict[str, Any] | None:
    wanted = (kind, case.alert)
    found = (each for each in entries(folder) if (each["kind"], each.get("alertname")) == wanted)
    return next((each for each in found if kind == "end" or each["result"] == "started"), None)
