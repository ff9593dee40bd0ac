"""What the router makes of the first token at 20 talkers, beside the bare engine, in one run.

Four arms take turns on one schedule, in which a part of what is said has been said before: the
router with its caches, the router without, the bare engine with as many slots, and the bare engine
with the four that the deployment guide's settings leave it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from firsttoken.core import settings as settings_room
from firsttoken.core.records import ArmTarget, read_table
from firsttoken.core.slo import Slo
from firsttoken.core.words import Outcome, Phase, Tier
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, measure
from firsttoken.trials.progress import Progress
from reports.comparison import compare, rounds_of

CACHED, UNCACHED, BARE, GUIDE = "router_cached", "router", "engine_24_slots", "engine_4_slots"
"""The arms."""

_SLOTS = {CACHED: 24, UNCACHED: 24, BARE: 24, GUIDE: 4}
"""Of the engine behind each arm."""


@dataclass(frozen=True, slots=True)
class FirstToken:
    """What is measured."""

    users: int = 20
    rounds: int = 2
    """Turns of each arm: what the machine does meanwhile falls on all alike."""
    step_seconds: float = 25.0
    warmup_seconds: float = 10.0
    repeat_share: float = 0.3
    """Of what is said, how much is drawn from a few sentences."""
    min_tokens: int = 24
    max_tokens: int = 56
    """Lengths of the replies: 40 on average."""
    seed: int = 1
    out: Path | None = None


def first_token(plan: FirstToken, slo: Slo, progress: Progress) -> Path:
    """Measure; return the run folder.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("first-token")
    run_dir = run_folder.create(plan.out, run_id)
    settings = settings_room.load(None, environ={})
    notes: list[str] = []
    with ExitStack() as stack:
        # An engine each: none finds prompts in its cache that another arm has just put there.
        engines = {
            name: servers.start_engine(
                stack,
                settings,
                slots,
                run_dir / f"engine-{name}.log",
                progress=progress,
                restarts=notes,
            )
            for name, slots in _SLOTS.items()
        }
        cloud = servers.start_cloud(stack, plan.seed, run_dir / "cloud.log")
        arms = []
        routers = []
        for name, caches in ((CACHED, True), (UNCACHED, False)):
            file = servers.write_router_settings(
                run_dir / f"{name}.yaml", engines[name], cloud, caches=caches
            )
            router = servers.start_router(stack, file, run_dir / f"{name}.log")
            routers.append(router)
            note = f"caches {'on' if caches else 'off'}; backup is an emulated cloud"
            target = ArmTarget(name, router.url, "auto", "openai", note)
            arms.append(ArmPlan(target, is_router=True))
        for name in (BARE, GUIDE):
            bare = engines[name]
            target = ArmTarget(name, bare.url, bare.options.model_name, "openai")
            arms.append(ArmPlan(target))
        measurement = Measurement(
            run_id=run_id,
            arms=tuple(arms),
            steps=(plan.users,) * plan.rounds,
            step_seconds=plan.step_seconds,
            warmup_seconds=plan.warmup_seconds,
            seed=plan.seed,
            min_tokens=plan.min_tokens,
            max_tokens=plan.max_tokens,
            repeat_share=plan.repeat_share,
        )
        progress.say(f"measuring into {run_dir}")
        measure(
            measurement,
            run_dir,
            slo,
            progress,
            pids={
                "engine": lambda: [each.pid for each in engines.values() if each.pid is not None],
                "router": lambda: [router.pid for router in routers],
            },
            notes=notes,
        )
    return run_dir


def rows(run_dir: Path) -> list[tuple[str, ...]]:
    """Return a row an arm: requests, errors, TTFT p50 and p95, the p95's ratio to that of the bare
    engine with as many slots, the share of the tiers. A request that failed is infinitely late."""
    requests = read_table(run_dir, "requests").to_pandas()
    steady = requests[requests["phase"] == Phase.STEADY]
    found: list[tuple[str, ...]] = []
    for arm in _SLOTS:
        group = steady[steady["arm"] == arm]
        errors = int((group["outcome"] != Outcome.SUCCESS).sum())
        rounds = rounds_of(steady, arm, BARE, len(_SLOTS), 0.0)
        p50, p95 = compare(arm, BARE, rounds)
        shares = group["tier"].value_counts(normalize=True)
        own = (
            "-"
            if arm in {BARE, GUIDE}
            else " / ".join(
                f"{shares.get(tier, 0.0):.1%}" for tier in (Tier.LOCAL, Tier.CACHE, Tier.REMOTE)
            )
        )
        found.append(
            (
                arm,
                str(len(group)),
                str(errors),
                f"{p50.arm_ms:.0f}",
                f"{p95.arm_ms:.0f}",
                f"{p95.ratio:.2f} [{p95.ratio_low:.2f}, {p95.ratio_high:.2f}]",
                own,
            )
        )
    return found
