"""One measurement: calibrate, run the load child over every arm and step, calibrate again."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import loadtests
from firsttoken.core import host
from firsttoken.core.clock import WallAnchor
from firsttoken.core.errors import UserError
from firsttoken.core.records import ArmTarget, BlockResult, Manifest, WorkerResult, consolidate
from firsttoken.core.slo import Slo
from firsttoken.trials.announce import announce
from firsttoken.trials.calibrate import calibrate
from firsttoken.trials.generators import ONE, Generators, LoadProcesses
from firsttoken.trials.host_sampler import HostSampler, PidsOf
from firsttoken.trials.ledgers import LEDGERS, LedgerCollector, LedgerUnreadableError
from firsttoken.trials.pinning import Pinning, check_servers
from firsttoken.trials.progress import Progress
from firsttoken.trials.serving import Servers
from firsttoken.trials.target import read_key

CALIBRATION_SECONDS = 4.0
_VERSIONS_OF = ("firsttoken", "locust", "xllamacpp", "httptools", "pyarrow")
SCENARIOS = {
    "steps": "Steps",
    "open_loop": "OpenLoop",
    "sessions": "Sessions",
    "burst": "Burst",
    "replay": "Replay",
    "soak": "Soak",
    "voice": "Voice",
}
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
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the load child's plan, such as those of its scenario."""
    generators: Generators = ONE
    pinning: Pinning | None = None
    """Cores that load generator and servers are kept to."""


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
        affinity={} if measurement.pinning is None else measurement.pinning.as_lists(),
    )


def _write_plan(measurement: Measurement, run_dir: Path, *, first_block: int) -> Path:
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
        "first_block": first_block,
        **measurement.options,
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


def _added(before: Sequence[WorkerResult], now: Sequence[WorkerResult]) -> list[WorkerResult]:
    """Return the load generators of a run with those of its last load, by their names."""
    found = {item.name: item for item in before}
    for item in now:
        known = found.get(item.name, replace(item, rows=0))
        found[item.name] = replace(
            item,
            users=max(known.users, item.users),
            rows=known.rows + item.rows,
            lost_ns=item.lost_ns if known.lost_ns is None else known.lost_ns,
        )
    return list(found.values())


class Run:
    """A run under way: a folder, its manifest, its servers watched, one or more loads.

    It is a context manager: the clock is calibrated on the way in and out. However it ends, what
    was recorded is kept and the manifest says how it ended. ``notes`` are read at the end, for
    whoever started the servers to add what became of them.

    Raises:
        UserError: a child failed, or the folder could not be written.
    """

    def __init__(
        self,
        first: Measurement,
        run_dir: Path,
        slo: Slo,
        progress: Progress,
        *,
        pids: Mapping[str, PidsOf] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.run_dir = run_dir
        self._first = first
        self._slo = slo
        self._progress = progress
        self._pids = pids or {}
        self._routers = {
            arm.target.url: arm.api_key_env for arm in first.arms if arm.is_router
        }.items()
        self._notes = notes
        self._manifest = _manifest(first)
        self._stack = ExitStack()
        self._load: LoadProcesses | None = None
        self._collectors: list[LedgerCollector] = []

    def __enter__(self) -> Self:
        self._manifest.write(self.run_dir)
        try:
            self._calibrate("before")
            self._watch()
        except BaseException as error:
            self._stack.close()
            self._end(error)
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()
        if error is None:
            self._change(finished=True)
            try:
                self._calibrate("after")
            except UserError as trouble:
                # The requests were measured; without its second calibration it is UNTRUSTED.
                self._note(str(trouble))
            except KeyboardInterrupt as interrupt:
                self._end(interrupt)
                raise
        self._end(error)

    def load(self, measurement: Measurement) -> list[BlockResult]:
        """Run the load child over every arm and step of ``measurement``; return its blocks.

        Raises:
            UserError: the load child failed.
        """
        plan = _write_plan(measurement, self.run_dir, first_block=len(self._manifest.blocks))
        file = Path(loadtests.__file__).with_name(f"{measurement.scenario}.py")
        keys = [arm.api_key_env for arm in measurement.arms if arm.api_key_env]
        announce(self._routers, measurement.run_id, measurement.scenario, begins=True)
        blocks: list[BlockResult] = []
        with LoadProcesses(
            (file, SCENARIOS[measurement.scenario]),
            plan,
            self.run_dir / "load.log",
            measurement.generators,
            sorted(set(keys)),
        ) as load:
            self._load = load
            load.keep_to(None if measurement.pinning is None else measurement.pinning.generator)
            before = self._manifest.workers
            try:
                for event in load.events(tick_s=1.0):
                    if event is None:
                        self._sampler.sample()
                        self._collect()
                    elif event["event"] == "block":
                        blocks.append(self._take_block(event))
                    elif event["event"] == "workers":
                        self._take_workers(before, event["workers"])
                    elif event["event"] == "call":
                        self._progress.say(
                            f"waiting for workers; start each with: {event['command']}"
                        )
            finally:
                self._load = None
            load.wait(30)
            self._collect()
        return blocks

    def _take_block(self, event: dict[str, Any]) -> BlockResult:
        """Note one block, with what each load generator says of it where there are several."""
        shares = [BlockResult(**item) for item in event.pop("workers", [])]
        event.pop("event")
        block = BlockResult(**event)
        self._change(
            blocks=[*self._manifest.blocks, block], shares=[*self._manifest.shares, *shares]
        )
        self._progress.block(block)
        return block

    def _take_workers(self, before: Sequence[WorkerResult], told: list[dict[str, Any]]) -> None:
        now = [WorkerResult(**item) for item in told]
        lost = {item.name for item in self._manifest.workers if item.lost_ns is not None}
        for item in now:
            if item.lost_ns is not None and item.name not in lost:
                self._progress.say(
                    f"  {item.name} on {item.host} was lost; the run goes on without its "
                    f"{item.users} talkers"
                )
        self._change(workers=_added(before, now))

    def _watch(self) -> None:
        """Begin to sample the host and to collect what our routers tell."""
        self._collectors = []
        for number, (url, api_key_env) in enumerate(self._routers):
            key = read_key(api_key_env)
            for table in LEDGERS:
                try:
                    collector = LedgerCollector(self.run_dir, url, table, number, key)
                except LedgerUnreadableError as error:
                    self._note(str(error))
                else:
                    self._collectors.append(self._stack.enter_context(collector))
        self._stack.callback(
            announce, self._routers, self._first.run_id, self._first.scenario, begins=False
        )
        pids = {**self._pids, "generator": lambda: self._load.pids if self._load else []}
        if self._pids:
            # Whoever started the servers names them.
            self._sampler = HostSampler(self.run_dir, pids)
        else:
            servers = Servers(arm.target.url for arm in self._first.arms)
            if self._first.pinning is not None:
                check_servers(servers.pids(), self._first.pinning)
            self._sampler = HostSampler(
                self.run_dir,
                {**pids, "engine": servers.pids},
                servers_known=lambda: servers.complete,
            )
        self._stack.callback(self._sampler.close)

    def _collect(self) -> None:
        for collector in self._collectors:
            try:
                collector.collect()
            except LedgerUnreadableError as error:
                self._note(str(error))

    def _calibrate(self, when: str) -> None:
        if not self._first.calibrate:
            return
        # A search goes beyond the load that it began with.
        users = max([*self._first.steps, *(block.step_users for block in self._manifest.blocks)])
        with self._progress.doing(f"calibrating the clock at {users} talkers, {when} the run"):
            found = calibrate(
                users, CALIBRATION_SECONDS, self._slo, when, pinning=self._first.pinning
            )
        self._progress.say(
            f"  clock error {when}: p50 {found.error_p50_ms:.2f} ms, p99 "
            f"{found.error_p99_ms:.2f} ms (budget {found.budget_p99_ms:g} ms), n {found.requests}"
        )
        self._change(calibration=[*self._manifest.calibration, found])
        if self._first.generators.total:
            self._note(
                f"the clock was calibrated with all {users} talkers in one process on this "
                f"machine, harder than for each of the {self._first.generators.total} load "
                "generators; generators on other machines were not calibrated"
            )

    def _change(self, **changes: Any) -> None:
        self._manifest = replace(self._manifest, **changes)
        self._manifest.write(self.run_dir)

    def _note(self, text: str) -> None:
        if text not in self._manifest.notes:
            self._change(notes=[*self._manifest.notes, text])

    def _end(self, error: BaseException | None) -> None:
        """Turn the parts into tables and write the manifest for the last time."""
        if isinstance(error, KeyboardInterrupt):
            self._progress.say(
                f"stopped; read what was recorded with: firsttoken report {self.run_dir}"
            )
            self._note("cut short by Ctrl-C")
        elif error is not None:
            self._note(f"cut short: {error}")
        try:
            consolidate(self.run_dir)
        finally:
            for note in self._notes:
                self._note(note)


def measure(
    measurement: Measurement,
    run_dir: Path,
    slo: Slo,
    progress: Progress,
    *,
    pids: Mapping[str, PidsOf] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Run ``measurement`` into ``run_dir``: ``run.json`` and the Parquet files; see :class:`Run`.

    Raises:
        UserError: a child failed, or the folder could not be written.
        KeyboardInterrupt: handed on after the records were saved.
    """
    with Run(measurement, run_dir, slo, progress, pids=pids, notes=notes) as run:
        run.load(measurement)
