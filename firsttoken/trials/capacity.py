"""How many devices, or requests a second, do targets carry? Probes of several loads in one run.

The targets take turns, each with a search of its own, so that what the machine does meanwhile falls
on all alike. What is tried next, and what it shows, is decided in :mod:`reports.search`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.host import cpu_quota
from firsttoken.core.records import BlockResult, rows_so_far
from firsttoken.core.slo import Slo
from firsttoken.core.words import Phase, Verdict
from firsttoken.trials.host_sampler import PidsOf
from firsttoken.trials.measure import ArmPlan, Measurement, Run
from firsttoken.trials.progress import Progress
from reports import capacity as answers
from reports import limits, trust, verdict
from reports.capacity import Capacity, Carried, Of
from reports.load import delays_ms
from reports.search import Look, Search, decide, level_of
from reports.tables import accepted_and_failed

ROW_COLUMNS = (
    "block",
    "phase",
    "t_sched_ns",
    "t_send_ns",
    "t_end_ns",
    "ttft_ms",
    "ttft_user_ms",
    "outcome",
)
HOST_COLUMNS = (
    "t_ns",
    "steal_share",
    "throttled_share",
    "foreign_cpu",
    "host_cpu",
    "generator_cpu",
    "engine_cpu",
)
MOST_TALKERS = 200
"""Talkers that make the starts of a given rate; also the largest number of devices that the clock
has a budget for."""


SETTLE_REQUESTS = 40
LONGEST_SETTLE_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """How a capacity is sought."""

    of: Of = Of.DEVICES
    scenario: str = "sessions"
    minutes: float = 15.0
    start: float = 4.0
    cap: float = MOST_TALKERS
    unit: float = 1.0
    requests_a_look: int = 100
    """Two looks then show an error rate below 2 %, which takes 183 requests."""
    shortest_seconds: float = 15.0
    longest_seconds: float = 90.0
    """Bounds of the steady part of a probe."""
    requests_a_second: float = 0.15
    """By device, or by request a second that is asked for: until it was seen."""
    warmup_seconds: float = 5.0
    settle_cap_seconds: float | None = 20.0
    """How long the load may take to come to rest; longer where requests are few. None: nobody
    asks."""
    seed: int = 1
    max_tokens: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the load child's plan, such as those of the scenario."""

    def settle_cap(self, load: float) -> float | None:
        """Return how long a load may take to come to rest, s: whether it has shows in 20 requests,
        which few devices take long to make."""
        if self.settle_cap_seconds is None:
            return None
        needed_s = SETTLE_REQUESTS / (self.requests_a_second * load)
        return max(self.settle_cap_seconds, min(LONGEST_SETTLE_SECONDS, needed_s))

    def search(self, slo: Slo) -> Search:
        """Return what is sought."""
        return Search(
            target_ms=slo.ttft_p95_ms,
            error_target=slo.error_rate,
            minimum=verdict.minimum_samples(slo)["ttft_p95_ms"],
            start=self.start,
            cap=self.cap,
            unit=self.unit,
        )


def of_rate(plan: CapacityPlan) -> CapacityPlan:
    """Return the plan for requests a second instead of devices."""
    return replace(
        plan,
        of=Of.RATE,
        scenario="open_loop",
        start=2.0,
        cap=min(plan.cap, 100.0),
        unit=0.05,
        requests_a_second=1.0,
    )


Probe = Callable[[ArmPlan, float, float], Look]
"""Looks at one arm under one load for so many seconds."""


def seek(
    arms: Sequence[ArmPlan],
    plan: CapacityPlan,
    search: Search,
    probe: Probe,
    *,
    now_s: Callable[[], float],
    seen: Callable[[str, Sequence[Look]], None],
) -> tuple[dict[str, list[Look]], bool]:
    """Let the arms take turns until each is answered, or the time is over.

    Args:
        arms: what is probed.
        plan: bounds of a probe and of the whole.
        search: when each is answered.
        probe: looks at one load.
        now_s: seconds of a clock that does not run backwards.
        seen: told after each probe, with all that was seen of its arm.

    Returns:
        By arm what was seen, and whether the time sufficed.
    """
    deadline_s = now_s() + plan.minutes * 60
    history: dict[str, list[Look]] = {arm.target.arm: [] for arm in arms}
    pace = dict.fromkeys(history, plan.requests_a_second)
    # A search of fewer probes than these finds little.
    longest_s = max(plan.shortest_seconds, min(plan.longest_seconds, plan.minutes * 60 / 10))
    beside_s = plan.warmup_seconds
    """What a probe took beside its steady part, when it was last seen."""
    going_on = list(arms)
    while going_on:
        for arm in list(going_on):
            looks = history[arm.target.arm]
            load = decide(looks, search)
            if load is None:
                going_on.remove(arm)
                continue
            wanted_s = plan.requests_a_look / (pace[arm.target.arm] * load)
            seconds = min(max(wanted_s, plan.shortest_seconds), longest_s)
            begun_s = now_s()
            if looks and begun_s + beside_s + seconds > deadline_s:
                return history, False
            look = probe(arm, load, math.ceil(seconds))
            beside_s = max(0.0, now_s() - begun_s - seconds)
            if look.accepted:
                pace[arm.target.arm] = look.accepted / seconds / load
            looks.append(look)
            seen(arm.target.arm, looks)
    return history, True


class Prober:
    """Looks at loads within one run; every probe says other texts than the one before, and the
    same as the probe of another arm in the same turn."""

    def __init__(self, run: Run, base: Measurement, plan: CapacityPlan, target_ms: float) -> None:
        self._run = run
        self._base = base
        self._plan = plan
        self._target_ms = target_ms
        self._looks: dict[str, int] = {}

    def __call__(self, arm: ArmPlan, load: float, seconds: float) -> Look:
        """Look at ``arm`` under ``load``."""
        turn = self._looks[arm.target.arm] = self._looks.get(arm.target.arm, -1) + 1
        settle = {"settle_cap_seconds": self._plan.settle_cap(load)}
        options = {**settle, **self._base.options}
        users = int(load)
        if self._plan.of is Of.RATE:
            users = min(MOST_TALKERS, max(20, math.ceil(load * 10)))
            options["open_loop"] = {**options.get("open_loop", {}), "rate": load}
        (block,) = self._run.load(
            replace(
                self._base,
                arms=(arm,),
                steps=(users,),
                step_seconds=seconds,
                seed=self._base.seed + turn,
                options=options,
            )
        )
        return self._look(load, block)

    def _look(self, load: float, block: BlockResult) -> Look:
        rows = rows_so_far(self._run.run_dir, "requests", ROW_COLUMNS).to_pandas()
        host = rows_so_far(self._run.run_dir, "host", HOST_COLUMNS).to_pandas()
        return look_of(
            load,
            block,
            rows,
            host,
            of=self._plan.of,
            target_ms=self._target_ms,
            cores=cpu_quota(),
        )


def look_of(
    load: float,
    block: BlockResult,
    requests: pd.DataFrame,
    host: pd.DataFrame,
    *,
    of: Of,
    target_ms: float,
    cores: float,
) -> Look:
    """Return what one block showed on a machine of ``cores``, from the rows of its run.

    Of a rate, the delay counts from when a request was due.
    """
    mine = requests[(requests["block"] == block.number) & (requests["phase"] == Phase.STEADY)]
    if of is Of.RATE:
        mine = mine.assign(ttft_ms=mine["ttft_user_ms"], t_send_ns=mine["t_sched_ns"])
    delays = delays_ms(mine, target_ms)
    accepted, failed = accepted_and_failed(mine)
    dropped = block.dropped or 0
    # A start that was never made is a request that nobody answered.
    waited = np.concatenate([delays[~np.isnan(delays)], np.full(dropped, np.inf)])
    during = host[(host["t_ns"] > block.steady_ns) & (host["t_ns"] <= block.ended_ns)]
    means = {
        name: float(during[name].mean()) if during[name].notna().any() else None
        for name in HOST_COLUMNS[1:]
    }
    usage = trust.Usage(
        cores=cores,
        host=means["host_cpu"],
        generator=means["generator_cpu"],
        engine=means["engine_cpu"],
        foreign=means["foreign_cpu"],
        foreign_program=None,
        pinned=False,
    )
    return Look(
        load=load,
        delays=waited,
        accepted=accepted + dropped,
        failed=failed + dropped,
        settled=block.settled,
        disturbed=(
            *verdict.host_faults(means["steal_share"], means["throttled_share"]),
            *trust.generator_faults([block], block.step_users),
            *trust.foreign_faults(usage, block.step_users),
            *trust.sharing_faults(usage, block.step_users),
        ),
        block=block.number,
    )


def capacity(
    arms: Sequence[ArmPlan],
    plan: CapacityPlan,
    slo: Slo,
    progress: Progress,
    *,
    run_id: str,
    run_dir: Path,
    pids: Mapping[str, PidsOf] | None = None,
    notes: Sequence[str] = (),
) -> Capacity:
    """Seek what each arm carries; write the run and ``capacity.json``; return the answer.

    Raises:
        UserError: a child failed, or the folder cannot be written.
        KeyboardInterrupt: handed on after the records were saved.
    """
    search = plan.search(slo)
    base = Measurement(
        run_id=run_id,
        arms=tuple(arms),
        steps=(1 if plan.of is Of.RATE else int(plan.start),),
        step_seconds=plan.longest_seconds,
        warmup_seconds=plan.warmup_seconds,
        scenario=plan.scenario,
        seed=plan.seed,
        max_tokens=plan.max_tokens,
        options=plan.options,
    )
    with Run(base, run_dir, slo, progress, pids=pids, notes=notes) as run:

        def seen(arm: str, looks: Sequence[Look]) -> None:
            load = looks[-1].load
            level = level_of(load, [look for look in looks if look.load == load], search)
            progress.say(f"    {_SHOWN[level.verdict].format(arm=arm, load=load)}")

        history, in_time = seek(
            arms,
            plan,
            search,
            Prober(run, base, plan, search.target_ms),
            now_s=lambda: monotonic_ns() / NS_PER_S,
            seen=seen,
        )
    found = [
        _limited(answers.carried(name, looks, search, in_time=in_time), run_dir, search)
        for name, looks in history.items()
    ]
    answer = Capacity(
        of=plan.of,
        scenario=plan.scenario,
        target_ms=search.target_ms,
        error_target=search.error_target,
        arms=tuple(found),
        factors=tuple(
            answers.factor(one, other) for at, one in enumerate(found) for other in found[at + 1 :]
        ),
    )
    answers.write(answer, run_dir)
    return answer


_SHOWN: dict[Verdict, str] = {
    Verdict.PASS: "{arm} holds at {load:g}",
    Verdict.FAIL: "{arm} misses at {load:g}",
    Verdict.INCONCLUSIVE: "{arm} undecided at {load:g}",
    Verdict.UNTRUSTED: "{arm} at {load:g}: the machine was disturbed",
}


def _limited(item: Carried, run_dir: Path, search: Search) -> Carried:
    """Add what ran out at the smallest load that failed, or else that leaned to it."""
    failed = [level for level in item.levels if level.load == item.fails]
    leaned = [level for level in item.levels if not level.leans_within]
    shown = next(iter(failed or leaned), None)
    if shown is None or not shown.blocks:
        return item
    seen = limits.evidence(run_dir, shown.blocks, search.target_ms)
    return replace(item, limit=limits.limiting_resource(seen))


def check(plan: CapacityPlan) -> None:
    """Refuse a plan that cannot be carried out.

    Raises:
        UserError: one line: which bound, what was expected.
    """
    if not plan.unit <= plan.start <= plan.cap:
        raise UserError(
            f"--capacity-cap {plan.cap:g}: expected at least {plan.start:g}, where it begins"
        )
    if plan.of is Of.DEVICES and plan.cap > MOST_TALKERS:
        raise UserError(
            f"--capacity-cap {plan.cap:g}: expected at most {MOST_TALKERS}, up to which the clock "
            "can be trusted"
        )
