"""What the router makes of the first token at 20 talkers, beside the bare engine, in one run.

Four arms take turns on one schedule, in which a part of what is said has been said before: the
router with its caches, the router without, the bare engine with as many slots, and the bare engine
with the four that the deployment guide's settings leave it.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from firsttoken.core import settings as settings_room
from firsttoken.core.records import ArmTarget, read_table
from firsttoken.core.slo import Slo
from firsttoken.core.words import Outcome, Phase, Tier
from firsttoken.trials import run_folder, servers
from firsttoken.trials.measure import ArmPlan, Measurement, measure
from firsttoken.trials.progress import Progress
from reports.load import delays_ms

CACHED, UNCACHED, BARE, GUIDE = "router_cached", "router", "engine_24_slots", "engine_4_slots"
"""The arms."""

_SLOTS = {CACHED: 24, UNCACHED: 24, BARE: 24, GUIDE: 4}
"""Of the engine behind each arm."""

_DRAWS = 2_000

Delays = np.ndarray[Any, np.dtype[np.float64]]
"""Milliseconds to the first token, one a request."""


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
    delays = {arm: _finite(group) for arm, group in steady.groupby("arm")}
    found: list[tuple[str, ...]] = []
    for arm in (CACHED, UNCACHED, BARE, GUIDE):
        group = steady[steady["arm"] == arm]
        errors = int((group["outcome"] != Outcome.SUCCESS).sum())
        p50, p95 = (float(np.quantile(delays[arm], share)) for share in (0.5, 0.95))
        low, high = _ratio(delays[arm], delays[BARE])
        ratio = p95 / float(np.quantile(delays[BARE], 0.95))
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
                f"{p50:.0f}",
                f"{p95:.0f}",
                f"{ratio:.2f} [{low:.2f}, {high:.2f}]",
                own,
            )
        )
    return found


def _finite(group: pd.DataFrame) -> Delays:
    """Return the delays; what never came counts as an hour, so that quantiles stay numbers."""
    found: Delays = np.minimum(delays_ms(group, 0.0), 3.6e6)
    return found[~np.isnan(found)]


def _ratio(ours: Delays, theirs: Delays) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of the two p95, by bootstrap of single requests."""
    random = np.random.default_rng(0)
    ratios = [
        np.quantile(random.choice(ours, len(ours)), 0.95)
        / np.quantile(random.choice(theirs, len(theirs)), 0.95)
        for _ in range(_DRAWS)
    ]
    low, high = np.quantile(ratios, (0.025, 0.975))
    return float(low), float(high)
