"""One measurement: calibrate, run the load child over every arm and step, calibrate again."""

from __future__ import annotations

import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import loadtests
from firsttoken.core import host
from firsttoken.core.child import Child
from firsttoken.core.clock import WallAnchor
from firsttoken.core.errors import UserError
from firsttoken.core.records import ArmTarget, Manifest, consolidate
from firsttoken.core.slo import Slo
from firsttoken.trials.attempts import AttemptCollector, AttemptsUnreadableError
from firsttoken.trials.calibrate import calibrate
from firsttoken.trials.host_sampler import HostSampler, PidsOf
from firsttoken.trials.progress import Progress

CALIBRATION_SECONDS = 4.0
_VERSIONS_OF = ("firsttoken", "locust", "xllamacpp", "httptools", "pyarrow")
SCENARIOS = {"steps": "Steps"}
"""Scenario (a file of ``loadtests/``) -> its class."""


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm of a measurement."""

    target: ArmTarget
    api_key_env: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    is_router: bool = False
    """Whether the target is our router, whose attempts are then collected."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What to measure."""

    run_id: str
    arms: tuple[ArmPlan, ...]
    steps: tuple[int, ...]
    step_seconds: float
    final_step_seconds: float | None = None
    """Seconds of the largest step, where it needs more samples than the others."""
    warmup_seconds: float = 3.0
    scenario: str = "steps"
    seed: int = 1
    max_tokens: int = 32
    min_tokens: int = 8
    repeat_share: float = 0.0
    request_timeout_seconds: float = 30.0
    settings_hash: str | None = None
    calibrate: bool = True


def _git_sha() -> str | None:
    """Return the commit of the checkout this code runs from, or None outside one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - git from the user's own PATH
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def _manifest(measurement: Measurement) -> Manifest:
    return Manifest(
        run_id=measurement.run_id,
        scenario=measurement.scenario,
        anchor=WallAnchor.now(),
        arms=[arm.target for arm in measurement.arms],
        steps=list(measurement.steps),
        step_seconds=measurement.step_seconds,
        seed=measurement.seed,
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
        host=host.describe(),
        versions={name: importlib.metadata.version(name) for name in _VERSIONS_OF},
        git_sha=_git_sha(),
        settings_hash=measurement.settings_hash,
    )


def _write_plan(measurement: Measurement, run_dir: Path) -> Path:
    """Write the load child's plan; it holds the names of key variables, never a key."""
    path = run_dir / "plan.json"
    plan = {
        "run_id": measurement.run_id,
        "run_dir": str(run_dir.resolve()),
        "scenario": measurement.scenario,
        "seed": measurement.seed,
        "steps": measurement.steps,
        "step_seconds": measurement.step_seconds,
        "final_step_seconds": measurement.final_step_seconds,
        "warmup_seconds": measurement.warmup_seconds,
        "max_tokens": measurement.max_tokens,
        "min_tokens": measurement.min_tokens,
        "repeat_share": measurement.repeat_share,
        "request_timeout_seconds": measurement.request_timeout_seconds,
        "parent_pid": os.getpid(),
        "arms": [
            {
                "arm": arm.target.arm,
                "url": arm.target.url,
                "model": arm.target.model,
                "dialect": arm.target.dialect,
                "api_key_env": arm.api_key_env,
                "extra_body": dict(arm.extra_body),
            }
            for arm in measurement.arms
        ],
    }
    try:
        path.write_text(json.dumps(plan, ensure_ascii=False, indent=2), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _lines_or_ticks(child: Child, tick_s: float) -> Iterator[str | None]:
    """Yield the child's lines as they come, and None at least every ``tick_s`` seconds."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    ended = threading.Event()

    def read() -> None:
        for line in child.lines():
            lines.put(line)
        ended.set()
        lines.put(None)

    threading.Thread(target=read, name="load-lines", daemon=True).start()
    while not (ended.is_set() and lines.empty()):
        try:
            yield lines.get(timeout=tick_s)
        except queue.Empty:
            yield None


def _run_load(
    measurement: Measurement, run_dir: Path, pids: Mapping[str, PidsOf], progress: Progress
) -> list[str]:
    """Run the load child to its end; return notes for the manifest.

    Raises:
        UserError: the load child failed.
    """
    notes: set[str] = set()
    scenario_file = Path(loadtests.__file__).with_name(f"{measurement.scenario}.py")
    argv = [sys.executable, "-m", "locust", "-f", str(scenario_file)]
    argv += [SCENARIOS[measurement.scenario], "--headless"]
    argv += ["--run-plan", str(_write_plan(measurement, run_dir))]
    router_urls = dict.fromkeys(arm.target.url for arm in measurement.arms if arm.is_router)
    with ExitStack() as stack:
        collectors = [
            stack.enter_context(AttemptCollector(run_dir, url, number))
            for number, url in enumerate(router_urls)
        ]
        load = stack.enter_context(
            Child.start(argv, log=run_dir / "load.log", ready_timeout_s=None)
        )
        sampler = HostSampler(run_dir, {**pids, "generator": lambda: [load.pid]})
        stack.callback(sampler.close)

        def collect() -> None:
            for collector in collectors:
                try:
                    collector.collect()
                except AttemptsUnreadableError as error:
                    notes.add(str(error))

        for line in _lines_or_ticks(load, tick_s=1.0):
            if line is not None:
                event = json.loads(line)
                if event.get("event") == "block":
                    progress.block(event)
                continue
            sampler.sample()
            collect()
        code = load.wait(30)
        collect()
        if code != 0:
            raise UserError(
                f"the load child ended with code {code}: {load.last_error_line()}"
                f" (log: {run_dir / 'load.log'})"
            )
    return sorted(notes)


def measure(
    measurement: Measurement,
    run_dir: Path,
    slo: Slo,
    progress: Progress,
    *,
    pids: Mapping[str, PidsOf] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Run ``measurement`` into ``run_dir``: ``run.json`` and the Parquet files.

    However it ends, what was recorded is kept and the manifest says how it ended. ``notes`` are
    read at the end, for whoever started the servers to add what became of them.

    Raises:
        UserError: a child failed, or the folder could not be written.
        KeyboardInterrupt: handed on after the records were saved.
    """
    manifest = _manifest(measurement)
    manifest.write(run_dir)
    users = max(measurement.steps)

    def calibration(when: str) -> None:
        nonlocal manifest
        if not measurement.calibrate:
            return
        with progress.doing(f"calibrating the clock at {users} talkers, {when} the run"):
            found = calibrate(users, CALIBRATION_SECONDS, slo, when)
        progress.say(
            f"  clock error {when}: p50 {found.error_p50_ms:.2f} ms, p99 "
            f"{found.error_p99_ms:.2f} ms (budget {found.budget_p99_ms:g} ms), n {found.requests}"
        )
        manifest = replace(manifest, calibration=[*manifest.calibration, found])
        manifest.write(run_dir)

    try:
        calibration("before")
        found = _run_load(measurement, run_dir, pids or {}, progress)
        manifest = replace(manifest, finished=True, notes=[*manifest.notes, *found])
        try:
            calibration("after")
        except UserError as error:
            # The requests were measured; without its second calibration the run is UNTRUSTED.
            manifest = replace(manifest, notes=[*manifest.notes, str(error)])
    except KeyboardInterrupt:
        manifest = replace(manifest, notes=[*manifest.notes, "cut short by Ctrl-C"])
        progress.say(f"stopped; read what was recorded with: firsttoken report {run_dir}")
        raise
    except UserError as error:
        manifest = replace(manifest, notes=[*manifest.notes, f"cut short: {error}"])
        raise
    finally:
        consolidate(run_dir)
        replace(manifest, notes=[*manifest.notes, *notes]).write(run_dir)
