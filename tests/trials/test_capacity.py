"""The search as it is carried out: turns, time, probes, and one real run."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.records import ArmTarget, BlockResult, Manifest
from firsttoken.core.words import Verdict
from firsttoken.trials import measure
from firsttoken.trials.bench import bench_capacity
from firsttoken.trials.capacity import CapacityPlan, check, look_of, of_rate, seek
from firsttoken.trials.measure import ArmPlan
from firsttoken.trials.progress import Progress
from firsttoken.trials.versus import Asked
from reports import build, capacity, trust, write
from reports.capacity import Of
from reports.search import Look

PLAN = CapacityPlan()
SLO = slo_room.load(None)


def arm(name: str) -> ArmPlan:
    return ArmPlan(ArmTarget(name, "http://127.0.0.1:1", "m", "openai"))


class Bench:
    """Targets that carry a known number, and a clock that only they move."""

    def __init__(self, carries: dict[str, float], per_load: float = 0.2) -> None:
        self.now_s = 0.0
        self.asked: list[tuple[str, float, float]] = []
        self._carries = carries
        self._per_load = per_load

    def probe(self, arm: ArmPlan, load: float, seconds: float) -> Look:
        name = arm.target.arm
        self.asked.append((name, load, seconds))
        self.now_s += 7 + seconds
        n = int(seconds * load * self._per_load)
        late = 300.0 if load <= self._carries[name] else 700.0
        return Look(load, np.full(n, late), n, 0)

    def seek(self, plan: CapacityPlan) -> tuple[dict[str, list[Look]], bool]:
        def seen(_arm: str, _looks: Sequence[Look]) -> None:
            pass

        return seek(
            [arm(name) for name in self._carries],
            plan,
            plan.search(SLO),
            self.probe,
            now_s=lambda: self.now_s,
            seen=seen,
        )


def test_the_targets_take_turns_until_each_is_answered() -> None:
    bench = Bench({"target": 21, "against": 6})
    history, in_time = bench.seek(replace(PLAN, minutes=60))
    assert in_time
    names = [name for name, *_ in bench.asked]
    both = 2 * min(names.count("target"), names.count("against"))
    assert names[:both] == ["target", "against"] * (both // 2)
    found = [
        capacity.carried(name, looks, PLAN.search(SLO), in_time=in_time)
        for name, looks in history.items()
    ]
    assert [(item.holds, item.fails) for item in found] == [(21, 22), (6, 7)]
    factor = capacity.factor(*found)
    assert (factor.low, factor.high) == (3.0, 3.667)
    assert capacity.factor_sentence(factor).startswith("target carries 3.")


def test_a_probe_is_as_long_as_the_rate_seen_asks_for() -> None:
    bench = Bench({"target": 100}, per_load=0.5)
    bench.seek(replace(PLAN, minutes=60))
    (_, load, first), (_, second_load, second), *_ = bench.asked
    assert (load, first) == (4, PLAN.longest_seconds)
    assert (second_load, second) == (8, 25)
    assert all(seconds >= PLAN.shortest_seconds for *_, seconds in bench.asked)


def test_few_devices_may_take_longer_to_come_to_rest() -> None:
    assert [PLAN.settle_cap(load) for load in (1, 4, 100)] == [150.0, pytest.approx(40 / 0.6), 20.0]
    assert replace(PLAN, settle_cap_seconds=None).settle_cap(1) is None


def test_the_budget_is_kept() -> None:
    bench = Bench({"target": 21, "against": 6})
    history, in_time = bench.seek(replace(PLAN, minutes=5))
    assert not in_time
    assert bench.now_s <= 5 * 60
    found = capacity.carried("target", history["target"], PLAN.search(SLO), in_time=in_time)
    assert found.ended is capacity.Ended.BUDGET


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (replace(PLAN, cap=2), "--capacity-cap 2: expected at least 4"),
        (replace(PLAN, cap=500), "--capacity-cap 500: expected at most 200"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(plan: CapacityPlan, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(plan)


def block(**changes: object) -> BlockResult:
    """A block of number 3, whose steady part lasts from second 10 to 20."""
    plain = {name: 0 for name in BlockResult.__dataclass_fields__ if name != "worker"}
    times = {"steady_ns": 10 * NS_PER_S, "ended_ns": 20 * NS_PER_S}
    return BlockResult(**{**plain, "number": 3, "settled": True, **times, **changes})  # type: ignore[arg-type]


def rows(*ttft_ms: float, number: int = 3, user_ms: float = 0.0) -> pd.DataFrame:
    """Successful requests of a block; ``user_ms``: how long before it was sent each was due."""
    return pd.DataFrame(
        {
            "block": number,
            "phase": "steady",
            "t_sched_ns": 0,
            "t_send_ns": 0,
            "t_end_ns": NS_PER_S,
            "ttft_ms": ttft_ms,
            "ttft_user_ms": [value + user_ms for value in ttft_ms],
            "outcome": ["error" if math.isnan(value) else "success" for value in ttft_ms],
        }
    )


def host(steal: float, foreign: float = 0.0) -> pd.DataFrame:
    stamps = [second * NS_PER_S for second in range(30)]
    shares = [steal if 10 < second <= 20 else 0.9 for second in range(30)]
    unknown = dict.fromkeys(("throttled_share", "host_cpu", "generator_cpu", "engine_cpu"))
    known = {"t_ns": stamps, "steal_share": shares, "foreign_cpu": foreign}
    return pd.DataFrame({**known, **unknown})


def test_a_look_is_of_its_block_alone() -> None:
    requests = pd.concat([rows(100, 200, math.nan), rows(900, number=2)])
    seen = look_of(8, block(), requests, host(0.0), of=Of.DEVICES, target_ms=400, cores=2.0)
    assert sorted(seen.delays) == [100, 200, math.inf]
    assert (seen.accepted, seen.failed, seen.settled, seen.disturbed) == (3, 1, True, ())


def test_of_a_rate_the_wait_counts_from_when_it_was_due_and_dropped_starts_failed() -> None:
    seen = look_of(
        8, block(dropped=2), rows(100, user_ms=50), host(0.0), of=Of.RATE, target_ms=400, cores=2.0
    )
    assert sorted(seen.delays) == [150, math.inf, math.inf]
    assert (seen.accepted, seen.failed) == (3, 2)


def test_a_machine_that_was_taken_away_is_said() -> None:
    seen = look_of(8, block(), rows(100), host(0.3), of=Of.DEVICES, target_ms=400, cores=2.0)
    assert "hypervisor" in seen.disturbed[0]


def test_other_programs_disturb_a_look() -> None:
    busy = host(0.0, foreign=0.6)
    seen = look_of(8, block(), rows(100), busy, of=Of.DEVICES, target_ms=400, cores=2.0)
    assert "other programs used 0.60 cores" in seen.disturbed[0]


def test_a_real_search_over_two_real_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that needs 200 ms a request under way carries one talker; 900 ms: none."""
    plan = replace(
        PLAN,
        scenario="steps",
        minutes=0.02,
        start=1,
        cap=2,
        shortest_seconds=1.0,
        longest_seconds=1.0,
        warmup_seconds=0.2,
        settle_cap_seconds=None,
        max_tokens=8,
    )
    monkeypatch.setattr(measure, "CALIBRATION_SECONDS", 0.5)
    # Whatever else runs on the machine of the tests.
    monkeypatch.setattr(trust, "MAX_FOREIGN_CORES", 99.0)
    run_dir = tmp_path / "run"
    with ExitStack() as stack:
        fast, slow = (
            stack.enter_context(
                Child.start(
                    [sys.executable, "-m", "tests.trials.crowded", each_ms],
                    log=tmp_path / f"{each_ms}.log",
                )
            )
            for each_ms in ("20", "900")
        )
        bench_capacity(Asked(fast.url), plan, SLO, Progress(), against=Asked(slow.url), out=run_dir)
    found = capacity.read(run_dir)
    assert found is not None
    assert [item.arm for item in found.arms] == ["target", "against"]
    assert all(item.levels for item in found.arms)
    target, against = found.arms
    assert target.levels[0].leans_within
    assert not against.levels[0].leans_within
    manifest = Manifest.read(run_dir)
    assert [item.when for item in manifest.calibration] == ["before", "after"]
    report = build.report(run_dir, SLO)
    assert report.verdict in {Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.UNTRUSTED}
    assert not any(check.judged for check in report.checks)
    assert "What was found at each load" in write.markdown(report)
    assert "capacity target" in write.junit(report)


def test_a_rate_is_sought_in_fractions() -> None:
    plan = of_rate(PLAN)
    assert (plan.scenario, plan.unit, plan.search(SLO).snap(0.333)) == ("open_loop", 0.05, 0.35)
