"""A run with real faults in it: the engine is killed while it serves, and the backup fails too."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from firsttoken.core import settings as settings_room
from firsttoken.core.records import ArmTarget
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, Run
from firsttoken.trials.progress import Progress


@dataclass(frozen=True, slots=True)
class Faulty:
    """What is measured, and what goes wrong. Times are seconds."""

    steps: tuple[int, ...] = (5, 15)
    step_seconds: float = 16.0
    final_step_seconds: float = 32.0
    kill_after: float = 33.0
    """From the start of the load to SIGKILL of the engine: in the last step."""
    backup_error_share: float = 0.3
    slots: int = 24
    seed: int = 1
    out: Path | None = None


def faulty_run(plan: Faulty, slo: Slo, progress: Progress) -> Path:
    """Measure; return the run folder.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("faults")
    run_dir = run_folder.create(plan.out, run_id)
    on_purpose = (
        f"on purpose: the engine was killed {plan.kill_after:g} s after the load began, and "
        f"{plan.backup_error_share:.0%} of the requests to the emulated backup failed"
    )
    notes = [on_purpose]
    with ExitStack() as stack:
        engine = servers.start_engine(
            stack,
            settings_room.load(None, environ={}),
            plan.slots,
            run_dir / "engine.log",
            progress=progress,
            restarts=notes,
        )
        cloud = servers.start_cloud(
            stack, plan.seed, run_dir / "cloud.log", error_share=plan.backup_error_share
        )
        file = servers.write_router_settings(run_dir / "settings.yaml", engine, cloud)
        router = servers.start_router(stack, file, run_dir / "router.log")
        note = f"router before {plan.slots} slots; backup is an emulated cloud"
        target = ArmTarget(Arm.HYBRID, router.url, "auto", "openai", note)
        measurement = Measurement(
            run_id=run_id,
            arms=(ArmPlan(target, is_router=True),),
            steps=plan.steps,
            step_seconds=plan.step_seconds,
            final_step_seconds=plan.final_step_seconds,
            seed=plan.seed,
            settings_hash=settings_room.load([file], environ={}).hash(),
        )
        pids = servers.pids(engine, router)
        with Run(measurement, run_dir, slo, progress, pids=pids, notes=notes) as run:
            killer = threading.Timer(plan.kill_after, _kill, [engine])
            killer.start()
            try:
                run.load(measurement)
            finally:
                killer.cancel()
                killer.join()
    return run_dir


def _kill(engine: EngineSupervisor) -> None:
    pid = engine.pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
