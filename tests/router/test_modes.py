"""Modes follow the evidence, one step at a time, in time that the test tells."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core import settings
from firsttoken.core.catalogue import Mode
from firsttoken.core.settings.guide import FallbackRule
from router.health.modes import (
    MODE_OF,
    Evidence,
    ModeRules,
    ModeState,
    lowered,
    mode_rules,
    slow_after_s,
    step,
)

RULES = mode_rules(settings.load([], {}).health_check.fallback_strategy)
GUIDE = mode_rules(
    [
        FallbackRule(condition="local_model_unhealthy", action="switch_to_remote"),
        FallbackRule(
            condition="local_model_slow",
            threshold="response_time > 1000ms",
            action="hybrid_mode",
        ),
        FallbackRule(
            condition="local_model_overload",
            threshold="cpu_usage > 90%",
            action="reduce_local_traffic",
        ),
    ]
)
FAST_REMOTE = 0.3


def seen(p95_s: float | None = 0.2, count: int = 50, **changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "local_healthy": True,
        "remote_ttft_p50_s": FAST_REMOTE,
        "cpu_share": 0.5,
    }
    values["local_ttft_p50_s"] = p95_s
    return Evidence(local_ttft_p95_s=p95_s, local_ttft_count=count, **(values | changes))


def run(
    evidence: Evidence, seconds: int, state: ModeState | None = None, rules: ModeRules = GUIDE
) -> ModeState:
    """Return the state after ``seconds`` steps of the same evidence."""
    state = state or ModeState()
    start = int(state.moved_at_s) + 1 if math.isfinite(state.moved_at_s) else 0
    for now_s in range(start, start + seconds):
        state = step(state, evidence, rules, now_s)
    return state


def test_the_guides_conditions() -> None:
    assert [rule.mode for rule in GUIDE.rules] == [
        Mode.REMOTE_ONLY,
        Mode.HYBRID,
        Mode.REDUCED_LOCAL,
    ]
    assert slow_after_s(GUIDE) == 1.0
    assert slow_after_s(RULES) == math.inf
    assert step(ModeState(), seen(), GUIDE, 0.0) == ModeState()
    assert step(ModeState(), seen(local_healthy=False), GUIDE, 0.0).mode is Mode.REMOTE_ONLY
    assert step(ModeState(), seen(1.01), GUIDE, 0.0).mode is Mode.HYBRID
    assert step(ModeState(), seen(cpu_share=0.91), GUIDE, 0.0).mode is Mode.REDUCED_LOCAL


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(),
        seen(5.0, count=19),
        seen(1.0),
        seen(cpu_share=0.9),
        seen(None, count=0, cpu_share=None, local_healthy=None),
    ],
)
def test_what_is_not_known_or_not_over_meets_no_condition(evidence: Evidence) -> None:
    assert step(ModeState(), evidence, GUIDE, 0.0) == ModeState()


def test_precedence() -> None:
    state = step(ModeState(), seen(2.0, cpu_share=0.95), GUIDE, 0.0)
    assert state.mode is Mode.REDUCED_LOCAL
    state = step(state, seen(2.0, cpu_share=0.95, local_healthy=False), GUIDE, 1.0)
    assert state.mode is Mode.REMOTE_ONLY
    state = step(state, seen(2.0), GUIDE, 2.0)
    assert state.mode is Mode.HYBRID


def test_remote_only_lasts_while_the_circuit_is_open_and_keeps_the_share() -> None:
    slow = run(seen(2.0), 60)
    down = run(seen(local_healthy=False), 600, slow)
    assert (down.mode, down.local_share) == (Mode.REMOTE_ONLY, slow.local_share)
    assert down.why == "the local backend is unhealthy"
    assert run(seen(), 1, down).mode is Mode.HYBRID
    assert run(seen(), 1, run(seen(local_healthy=False), 9)).mode is Mode.NORMAL


def test_the_share_falls_by_a_factor_each_dwell_down_to_the_floor() -> None:
    shares = [run(seen(2.0), seconds).local_share for seconds in (1, 15, 16, 31, 46)]
    assert shares == pytest.approx([0.8, 0.8, 0.64, 0.512, 0.4096])
    assert run(seen(math.inf), 3600).local_share == 0.05


def test_the_share_rises_steadily_and_comes_back_within_minutes() -> None:
    low = run(seen(2.0), 3600)
    after = run(seen(0.2, remote_ttft_p50_s=0.1), 60, low)
    assert after.local_share == pytest.approx(0.05 + 4 * 0.02)
    assert after.mode is Mode.HYBRID
    assert after.why == "the local share rises"
    back = run(seen(0.2, remote_ttft_p50_s=0.1), 15 * 60, low)
    assert (back.mode, back.local_share) == (Mode.NORMAL, 1.0)


def test_without_traffic_the_share_rises_too() -> None:
    low = run(seen(2.0), 3600)
    assert run(seen(None, count=0), 15 * 60, low).mode is Mode.NORMAL


def test_between_the_threshold_and_four_fifths_of_it_nothing_moves() -> None:
    entered = run(seen(1.1), 1)
    held = run(seen(0.81), 600, entered)
    assert (held.mode, held.local_share) == (Mode.HYBRID, 0.8)
    assert run(seen(0.81), 600) == ModeState()
    assert run(seen(0.79), 16, entered).local_share > 0.8
    hot = run(seen(cpu_share=0.95), 1)
    assert run(seen(cpu_share=0.73), 600, hot).mode is Mode.REDUCED_LOCAL
    assert run(seen(cpu_share=0.71), 600, hot).mode is Mode.NORMAL


@pytest.mark.parametrize("slow", [seen(1.5), seen(0.6, cpu_share=0.99)])
def test_the_share_is_not_lowered_while_the_remote_is_later(slow: Evidence) -> None:
    later = replace(slow, remote_ttft_p50_s=2.0)
    state = run(later, 600)
    assert state.local_share == 1.0
    assert state.mode is not Mode.NORMAL
    assert "median first token of 2.00 s is later than the local one" in state.why
    assert "the local share is not lowered" in state.why
    # What was taken before is given back, as fast as it went.
    low = run(slow, 45) if slow.local_ttft_p95_s != 0.6 else run(seen(2.0), 45)
    assert run(later, 16, low).local_share == pytest.approx(low.local_share / 0.8)


def test_an_unknown_remote_is_taken_to_be_as_fast_as_the_guide_says_at_best() -> None:
    assert run(seen(1.4, remote_ttft_p50_s=None), 600).local_share == 1.0
    assert run(seen(1.6, remote_ttft_p50_s=None), 600).local_share == 0.05


def test_the_share_stays_while_nobody_asks_the_local_backend() -> None:
    busy = seen(None, count=0, cpu_share=0.97, remote_ttft_p50_s=0.1)
    assert run(busy, 600).local_share == 1.0


def test_late_ones_count_as_a_breach() -> None:
    state = step(ModeState(), seen(math.inf), GUIDE, 0.0)
    assert state.local_share == 0.8
    assert state.why == "local first token p95 beyond every limit (response_time > 1000ms)"


CONDITIONS = {
    "local_model_unhealthy": (None, seen(local_healthy=False)),
    "local_model_slow": ("response_time >= 2s", seen(2.0)),
    "local_model_overload": ("cpu_usage > 0.5", seen(0.6, cpu_share=0.6)),
}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("action", MODE_OF)
def test_any_condition_may_have_any_action(condition: Any, action: Any) -> None:
    threshold, evidence = CONDITIONS[condition]
    rule = FallbackRule(condition=condition, threshold=threshold, action=action)
    rules = mode_rules([rule])
    state = run(evidence, 100, rules=rules)
    assert state.mode is MODE_OF[action]
    assert (state.local_share < 1) == (action != "switch_to_remote")
    over = run(seen(cpu_share=0.1), 1000, state, rules)
    assert (over.mode, over.local_share, over.why) == (Mode.NORMAL, 1.0, "")


def test_a_threshold_from_above_is_left_above_it() -> None:
    rule = FallbackRule(
        condition="local_model_overload", threshold="cpu_usage < 40%", action="switch_to_remote"
    )
    rules = mode_rules([rule])
    state = run(seen(cpu_share=0.3), 1, rules=rules)
    assert state.mode is Mode.REMOTE_ONLY
    assert run(seen(cpu_share=0.49), 9, state, rules).mode is Mode.REMOTE_ONLY
    assert run(seen(cpu_share=0.51), 9, state, rules).mode is Mode.NORMAL


def test_local_only() -> None:
    rules = mode_rules([], hybrid=False)
    assert run(seen(9.0, local_healthy=False), 9, rules=rules).mode is Mode.LOCAL_ONLY


MAYBE = st.none() | st.floats(0, 10)
EVIDENCE = st.builds(
    Evidence,
    st.none() | st.booleans(),
    MAYBE | st.just(math.inf),
    MAYBE | st.just(math.inf),
    st.integers(0, 100),
    MAYBE | st.just(math.inf),
    st.none() | st.floats(0, 1.5),
)


@given(st.lists(st.tuples(EVIDENCE, st.floats(0, 60)), max_size=60))
def test_any_history_keeps_the_share_within_bounds(
    history: list[tuple[Evidence, float]],
) -> None:
    state, now_s = ModeState(), 0.0
    for evidence, passed_s in history:
        now_s += passed_s
        before, state = state, step(state, evidence, GUIDE, now_s)
        assert GUIDE.floor <= state.local_share <= 1
        if state.mode is Mode.NORMAL:
            assert state.local_share == 1
        if state.local_share != before.local_share:
            assert now_s - before.moved_at_s >= GUIDE.dwell_s
        remote, local = evidence.remote_ttft_p50_s, evidence.local_ttft_p50_s
        later = remote is not None and local is not None and remote > local
        if later and evidence.local_healthy is not False:
            assert state.local_share >= before.local_share
        assert (state.mode is Mode.REMOTE_ONLY) == (evidence.local_healthy is False)


def test_an_alert_halves_the_share_once_and_it_rises_again() -> None:
    well = seen(0.5)
    state = lowered(ModeState(), well, GUIDE, 100.0)
    assert (state.mode, state.local_share) == (Mode.REDUCED_LOCAL, 0.5)
    assert step(state, well, GUIDE, 114.0).local_share == 0.5
    assert step(state, well, GUIDE, 115.0).local_share == 0.52
    assert lowered(state, well, GUIDE, 101.0).local_share == 0.25
    assert lowered(replace(state, mode=Mode.HYBRID), well, GUIDE, 101.0).mode is Mode.HYBRID


@pytest.mark.parametrize(
    ("state", "evidence", "why"),
    [
        (ModeState(Mode.REMOTE_ONLY), seen(0.5), "the mode remote_only leaves no share"),
        (ModeState(Mode.LOCAL_ONLY), seen(0.5), "the mode local_only leaves no share"),
        (ModeState(Mode.HYBRID, 0.05), seen(0.5), "the local share is at its least"),
        (ModeState(), seen(0.2), "the remote backends' median first token of 0.30 s is later"),
    ],
)
def test_a_share_that_an_alert_cannot_lower(state: ModeState, evidence: Evidence, why: str) -> None:
    after = lowered(state, evidence, GUIDE, 100.0)
    assert after == state
    assert after.why.startswith(why)
