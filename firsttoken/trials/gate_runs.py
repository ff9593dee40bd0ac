"""Several runs of one and the same thing: what a gate has to find no difference in.

Each run has servers of its own, started afresh: the differences between runs are then in the data,
not only those within one.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firsttoken.core import settings as settings_room
from firsttoken.core.records import ArmTarget, read_table
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm, Phase
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, measure
from firsttoken.trials.progress import Progress
from reports.load import delays_ms
from reports.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Recording:
    """What is recorded, again and again."""

    runs: int = 6
    users: int = 2
    slots: int = 8
    min_tokens: int = 4
    max_tokens: int = 8
    """Short replies: what counts is many first tokens."""
    seconds: float = 60.0
    warmup_seconds: float = 3.0
    seed: int = 1


def record(plan: Recording, slo: Slo, progress: Progress, out: Path | None = None) -> list[Path]:
    """Measure the router before the embedded engine, its caches off; return the run folders.

    ``out``: the folder that holds them; None: ``runs/<UTC>-gate``.

    Raises:
        UserError: something could not be started, or a folder cannot be written.
    """
    run_id = run_folder.new_run_id("gate")
    root = run_folder.create(out, run_id)
    found = []
    for number in range(1, plan.runs + 1):
        run_dir = run_folder.create(root / str(number), run_id)
        progress.say(f"gate: recording run {number} of {plan.runs}")
        _record(plan, f"{run_id}-{number}", run_dir, slo, progress)
        found.append(run_dir)
    return found


def _record(plan: Recording, run_id: str, run_dir: Path, slo: Slo, progress: Progress) -> None:
    notes: list[str] = []
    with ExitStack() as stack:
        engine = servers.start_engine(
            stack,
            settings_room.load(None, environ={}),
            plan.slots,
            run_dir / "engine.log",
            progress=progress,
            restarts=notes,
        )
        cloud = servers.start_cloud(stack, plan.seed, run_dir / "cloud.log")
        file = servers.write_router_settings(run_dir / "hybrid.yaml", engine, cloud, caches=False)
        router = servers.start_router(stack, file, run_dir / "router.log")
        target = ArmTarget(
            Arm.HYBRID, router.url, "auto", "openai", "caches off; backup is an emulated cloud"
        )
        measurement = Measurement(
            run_id=run_id,
            arms=(ArmPlan(target, is_router=True),),
            steps=(plan.users,),
            step_seconds=plan.seconds,
            warmup_seconds=plan.warmup_seconds,
            seed=plan.seed,
            min_tokens=plan.min_tokens,
            max_tokens=plan.max_tokens,
            # The gate compares runs that err alike; the clock has a proof of its own.
            calibrate=False,
        )
        measure(measurement, run_dir, slo, progress, notes=notes)


def first_tokens(run_dir: Path, target_ms: float) -> FloatArray:
    """Return the TTFT of the steady requests in ms, in order of sending; ``inf``: never.

    Raises:
        UserError: the records cannot be read.
    """
    rows = read_table(run_dir, "requests").to_pandas()
    steady = rows[rows["phase"] == Phase.STEADY].sort_values("t_send_ns")
    delays = delays_ms(steady, target_ms)
    kept: FloatArray = delays[~np.isnan(delays)]
    return kept
