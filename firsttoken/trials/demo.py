"""The main job on one machine: embedded engine, emulated cloud, router, three arms, one verdict."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from firsttoken.core import settings as settings_room
from firsttoken.core.records import ArmTarget
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, measure
from firsttoken.trials.progress import Progress
from firsttoken.trials.servers import CLOUD_MODEL, CLOUD_PREFIX

GUIDE_SLOTS = 4
"""llama.cpp's own number of slots: the deployment guide's settings name none."""


def _hybrid_arm(url: str, engine: EngineSupervisor) -> ArmPlan:
    note = f"router before {engine.options.slots} slots; backup is an emulated cloud"
    return ArmPlan(ArmTarget(Arm.HYBRID, url, "auto", "openai", note), is_router=True)


def _local_arm(engine: EngineSupervisor) -> ArmPlan:
    note = f"bare engine, the guide's settings, {engine.options.slots} slots"
    return ArmPlan(ArmTarget(Arm.LOCAL_ONLY, engine.url, engine.options.model_name, "openai", note))


def _remote_arm(cloud_url: str) -> ArmPlan:
    url = f"{cloud_url}{CLOUD_PREFIX}"
    return ArmPlan(ArmTarget(Arm.REMOTE_ONLY, url, CLOUD_MODEL, "openai", "emulated cloud"))


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demonstration measures."""

    steps: tuple[int, ...] = (5, 10, 15, 20)
    step_seconds: float = 10.0
    final_step_seconds: float | None = 45.0
    warmup_seconds: float = 4.0
    """An engine that starts cold reads a hundred tokens a talker first: the more talkers begin at
    once, the longer it takes until they are served from their slots' caches."""
    hybrid_only: bool = False
    seed: int = 1
    out: Path | None = None


QUICK = Demo(
    steps=(20,),
    step_seconds=45.0,
    final_step_seconds=None,
    warmup_seconds=12.0,
    hybrid_only=True,
)


def demo(plan: Demo, slo: Slo, progress: Progress) -> Path:
    """Run the demonstration and return its run folder.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
        KeyboardInterrupt: handed on after every child was stopped and the records were saved.
    """
    run_id = run_folder.new_run_id("steps")
    run_dir = run_folder.create(plan.out, run_id)
    settings = settings_room.load(None, environ={})
    notes: list[str] = []
    with ExitStack() as stack:
        engine = servers.start_engine(
            stack,
            settings,
            settings.engine.slots,
            run_dir / "engine.log",
            progress=progress,
            restarts=notes,
        )
        engines = [engine]
        cloud = servers.start_cloud(stack, plan.seed, run_dir / "cloud.log")
        router_file = servers.write_router_settings(run_dir / "settings.yaml", engine, cloud)
        router = servers.start_router(stack, router_file, run_dir / "router.log")
        arms = [_hybrid_arm(router.url, engine)]
        if not plan.hybrid_only:
            bare = servers.start_engine(
                stack,
                settings,
                GUIDE_SLOTS,
                run_dir / "engine-guide.log",
                progress=progress,
                restarts=notes,
            )
            engines.append(bare)
            arms += [_local_arm(bare), _remote_arm(cloud.url)]
        measurement = Measurement(
            run_id=run_id,
            arms=tuple(arms),
            steps=plan.steps,
            step_seconds=plan.step_seconds,
            final_step_seconds=plan.final_step_seconds,
            warmup_seconds=plan.warmup_seconds,
            seed=plan.seed,
            settings_hash=settings_room.load([router_file], environ={}).hash(),
        )
        progress.say(f"measuring into {run_dir}")
        measure(
            measurement,
            run_dir,
            slo,
            progress,
            pids={
                "engine": lambda: [each.pid for each in engines if each.pid is not None],
                "router": lambda: [router.pid],
            },
            notes=notes,
        )
    return run_dir
