"""What the router makes of the number of devices that this machine carries, in one run.

Two targets take turns: the bare engine with the four slots that the deployment guide's settings
leave it, and the router before an engine with a slot a talker and an emulated cloud as its backup.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from firsttoken.core import settings as settings_room
from firsttoken.core.records import ArmTarget
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import run_folder, servers
from firsttoken.trials.capacity import CapacityPlan, capacity
from firsttoken.trials.measure import ArmPlan
from firsttoken.trials.progress import Progress
from reports.capacity import Capacity


@dataclass(frozen=True, slots=True)
class CapacityProof:
    """What is measured."""

    plan: CapacityPlan = field(
        # Talkers without a pause: devices in conversation ask so seldom that a machine which
        # carries a handful of them is not judged within an hour.
        default_factory=lambda: CapacityPlan(
            scenario="steps",
            minutes=12.0,
            shortest_seconds=20.0,
            requests_a_second=1.0,
            settle_cap_seconds=None,
        )
    )
    guide_slots: int = 4
    slots: int = 24
    out: Path | None = None


def capacity_proof(proof: CapacityProof, slo: Slo, progress: Progress) -> tuple[Path, Capacity]:
    """Seek what each target carries; return the run folder and the answer.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("capacity")
    run_dir = run_folder.create(proof.out, run_id)
    settings = settings_room.load(None, environ={})
    notes: list[str] = []
    with ExitStack() as stack:

        def engine(slots: int, name: str) -> EngineSupervisor:
            # An engine each: none finds prompts in its cache that another arm has just put there.
            log = run_dir / f"engine-{name}.log"
            return servers.start_engine(
                stack, settings, slots, log, progress=progress, restarts=notes
            )

        behind = engine(proof.slots, Arm.HYBRID)
        guide = engine(proof.guide_slots, Arm.LOCAL_ONLY)
        cloud = servers.start_cloud(stack, proof.plan.seed, run_dir / "cloud.log")
        file = servers.write_router_settings(run_dir / "settings.yaml", behind, cloud)
        router = servers.start_router(stack, file, run_dir / "router.log")
        note = f"router before {proof.slots} slots; backup is an emulated cloud"
        arms = (
            ArmPlan(ArmTarget(Arm.HYBRID, router.url, "auto", "openai", note), is_router=True),
            _bare(Arm.LOCAL_ONLY, guide),
        )
        engines = (behind, guide)
        found = capacity(
            arms,
            proof.plan,
            slo,
            progress,
            run_id=run_id,
            run_dir=run_dir,
            pids={
                "engine": lambda: [each.pid for each in engines if each.pid is not None],
                "router": lambda: [router.pid],
            },
            notes=notes,
        )
    return run_dir, found


def _bare(name: str, engine: EngineSupervisor) -> ArmPlan:
    note = f"bare engine, {engine.options.slots} slots"
    return ArmPlan(ArmTarget(name, engine.url, engine.options.model_name, "openai", note))


def rows(found: Capacity) -> Sequence[tuple[str, ...]]:
    """Return a row a target: what holds, what is too many, the estimate, and what ran out."""
    return [
        (
            item.arm,
            *("-" if load is None else f"{load:g}" for load in (item.holds, item.fails)),
            "-" if item.estimate is None else f"{item.estimate:.3g}",
            str(sum(level.p95.n for level in item.levels)),
            "-" if item.limit is None else f"{item.limit.resource}: {item.limit.why}",
        )
        for item in found.arms
    ]
