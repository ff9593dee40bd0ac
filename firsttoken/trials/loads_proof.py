"""What an open loop shows that a closed one hides, and where the first tokens of talking devices
go: two measurements on the real engine.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from firsttoken.core import settings as settings_room
from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import ArmTarget, BlockResult, read_table
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm, Phase
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, Run, measure
from firsttoken.trials.progress import Progress

QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Overload:
    """An open loop beyond what the engine can take."""

    slots: int = 4
    factor: float = 1.5
    """Starts a second, over those that as many talkers as slots reach in a closed loop."""
    few: int = 8
    """Talkers who have to wait for each other's replies."""
    many: int = 300
    """Talkers of whom one is always free."""
    seconds: float = 20.0
    seed: int = 1


def overload(plan: Overload, slo: Slo, progress: Progress) -> tuple[Path, list[BlockResult]]:
    """Measure the capacity in a closed loop, then the open loop with few and with many talkers;
    return the run folder and its three blocks.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("overload")
    run_dir = run_folder.create(None, run_id)
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
        note = f"bare engine, {plan.slots} slots"
        target = ArmTarget(Arm.TARGET, engine.url, engine.options.model_name, "openai", note)

        def load(scenario: str, users: int, **options: float) -> Measurement:
            return Measurement(
                run_id=run_id,
                arms=(ArmPlan(target),),
                steps=(users,),
                step_seconds=plan.seconds,
                scenario=scenario,
                seed=plan.seed,
                request_timeout_seconds=120.0,
                options={scenario: options} if options else {},
            )

        closed = load("steps", plan.slots)
        pids = servers.pids(engine)
        with Run(closed, run_dir, slo, progress, pids=pids, notes=notes) as run:
            blocks = run.load(closed)
            seconds = (blocks[0].stop_ns - blocks[0].steady_ns) / NS_PER_S
            rate = round(plan.factor * blocks[0].requests / seconds, 2)
            for users in (plan.few, plan.many):
                blocks += run.load(load("open_loop", users, rate=rate))
    return run_dir, blocks


def by_quarter(run_dir: Path, block: BlockResult) -> list[tuple[str, ...]]:
    """Return a row a quarter of a block's steady part, by planned start: starts, and the medians
    of TTFT and TTFT_user in ms over the requests that got a first token."""
    requests = read_table(run_dir, "requests").to_pandas()
    mine = requests[(requests["block"] == block.number) & (requests["phase"] == Phase.STEADY)]
    span_ns = (block.stop_ns - block.steady_ns) / QUARTERS
    quarter = ((mine["t_sched_ns"] - block.steady_ns) // span_ns).clip(0, QUARTERS - 1)
    return [
        (
            str(int(number) + 1),
            str(len(group)),
            _median(group["ttft_ms"]),
            _median(group["ttft_user_ms"]),
        )
        for number, group in mine.groupby(quarter)
    ]


def _median(values: pd.Series[float]) -> str:
    return "-" if values.dropna().empty else f"{values.median():.0f}"


@dataclass(frozen=True, slots=True)
class Talking:
    """Devices in conversation, through the router."""

    devices: int = 20
    seconds: float = 180.0
    slots: int = 24
    seed: int = 1


def talking(plan: Talking, slo: Slo, progress: Progress) -> Path:
    """Measure; return the run folder.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("sessions")
    run_dir = run_folder.create(None, run_id)
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
        file = servers.write_router_settings(run_dir / "settings.yaml", engine, cloud)
        router = servers.start_router(stack, file, run_dir / "router.log")
        note = f"router before {plan.slots} slots; backup is an emulated cloud"
        measurement = Measurement(
            run_id=run_id,
            arms=(
                ArmPlan(ArmTarget(Arm.HYBRID, router.url, "auto", "openai", note), is_router=True),
            ),
            steps=(plan.devices,),
            step_seconds=plan.seconds,
            warmup_seconds=15.0,
            scenario="sessions",
            seed=plan.seed,
        )
        pids = servers.pids(engine, router)
        measure(measurement, run_dir, slo, progress, pids=pids, notes=notes)
    return run_dir
