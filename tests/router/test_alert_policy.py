"""Deciding about alerts: what is never done, whatever alerts come and whenever."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.catalogue import Action, ActionResult
from router.actions.policy import (
    FUTURE_S,
    HOUR_S,
    MOST_WATCHED,
    Decision,
    Event,
    Limit,
    Policy,
    Situation,
    State,
    action_of,
    decide,
)

ALLOWED = {
    "Slow": frozenset({Action.INVESTIGATE_PERFORMANCE, Action.REDUCE_LOCAL_TRAFFIC}),
    "Errors": frozenset({Action.SWITCH_TO_REMOTE}),
    "Memory": frozenset({Action.RESTART_SERVICE}),
}
POLICY = Policy(ALLOWED, dry_run=False)
NOW_S = 1_000_000.0
ERRORS = Event(
    "Errors", "switch_to_remote", "0" * 16, NOW_S - 10, firing=True, situation=Situation()
)
MEMORY = replace(ERRORS, name="Memory", action="restart_service")


def ask(event: Event, state: State = State(), now_s: float = NOW_S, **policy: object) -> Decision:  # noqa: B008 - it is frozen
    return decide(event, state, replace(POLICY, **policy), now_s)  # type: ignore[arg-type]


def test_an_alert_is_acted_on() -> None:
    decision = ask(ERRORS)
    assert decision.acts
    assert decision.action is Action.SWITCH_TO_REMOTE
    assert [each.at_s for each in decision.state.acted] == [NOW_S]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"action": ""}, "no action of ours is named"),
        ({"action": "rm -rf /"}, "no action of ours is named"),
        ({"action": "SWITCH_TO_REMOTE"}, "no action of ours is named"),
        ({"action": "restart_service"}, "the settings do not let"),
        ({"name": "Watchdog"}, "the settings do not let"),
        ({"name": ""}, "the settings do not let"),
        ({"firing": False}, "it is resolved"),
        ({"starts_s": NOW_S - POLICY.stale_s - 1}, "it began more than 14400 s ago"),
        ({"starts_s": NOW_S + FUTURE_S + 1}, "it begins in the future"),
    ],
)
def test_what_is_ignored_leaves_no_trace(changes: dict[str, object], why: str) -> None:
    decision = ask(replace(ERRORS, **changes))  # type: ignore[arg-type]
    assert decision.result is ActionResult.IGNORED
    assert decision.why.startswith(why)
    assert decision.state == State()


@pytest.mark.parametrize(
    ("event", "situation", "why"),
    [
        (ERRORS, {"killed": True}, "the kill switch is on"),
        (ERRORS, {"remote_usable": False}, "no remote backend could serve instead"),
        (ERRORS, {"local": False}, "there is no local backend"),
        (MEMORY, {"remote_usable": False}, "no other backend could serve meanwhile"),
        (MEMORY, {"adapter": False}, "nothing is configured that restarts the engine"),
        (MEMORY, {"restarting": True}, "a restart is under way"),
        (MEMORY, {"restarted_ago_s": 899.0}, "the last one was less than 900 s ago"),
        (
            replace(ERRORS, name="Slow", action="reduce_local_traffic"),
            {"shared": False},
            "the router's mode leaves no share to lower",
        ),
    ],
)
def test_interlocks(event: Event, situation: dict[str, object], why: str) -> None:
    against = replace(event, situation=Situation(**situation))  # type: ignore[arg-type]
    decision = ask(against)
    assert decision.result is ActionResult.REFUSED
    assert decision.why.startswith(why)
    assert decision.state.acted == ()
    # Refused is not done: the alert is acted on once nothing stands against it any more.
    assert ask(event, decision.state).acts


def test_a_snapshot_is_taken_whatever_stands_against_other_actions() -> None:
    event = replace(ERRORS, name="Slow", action="investigate_performance")
    nothing_works = Situation(local=False, remote_usable=False, adapter=False, shared=False)
    assert ask(replace(event, situation=nothing_works)).acts


def test_an_old_restart_is_no_obstacle() -> None:
    assert ask(replace(MEMORY, situation=Situation(restarted_ago_s=900.0))).acts


def test_the_guides_name_for_moving_the_share() -> None:
    assert action_of("hybrid_mode") is Action.REDUCE_LOCAL_TRAFFIC
    assert ask(replace(ERRORS, name="Slow", action="hybrid_mode")).acts


def test_a_dry_run_decides_as_ever_and_does_nothing() -> None:
    decision = ask(ERRORS, dry_run=True)
    assert decision.result is ActionResult.DRY_RUN
    assert not decision.acts
    again = ask(ERRORS, decision.state, NOW_S + 5, dry_run=True)
    assert again.result is ActionResult.DUPLICATE
    other = replace(ERRORS, fingerprint="1" * 16)
    assert ask(other, decision.state, NOW_S + 5, dry_run=True).result is ActionResult.REFUSED


def test_cool_downs_end_and_differ() -> None:
    state = ask(ERRORS).state
    later = replace(ERRORS, starts_s=NOW_S + 20)
    assert ask(later, state, NOW_S + 59).why == "the last one was less than 60 s ago"
    assert ask(later, state, NOW_S + 60).acts
    assert ask(MEMORY, state, NOW_S + 1).acts


def test_an_alert_that_comes_and_goes_freezes_its_action() -> None:
    state = State()
    for start in range(3):
        event = replace(ERRORS, starts_s=NOW_S + 61 * start)
        decision = ask(event, state, NOW_S + 61 * start)
        assert decision.acts
        state = decision.state
    at_s = NOW_S + 183
    decision = ask(replace(ERRORS, starts_s=at_s), state, at_s)
    assert decision.why.startswith("its alert comes and goes: frozen for 1800 s more")
    other = replace(ERRORS, fingerprint="1" * 16, starts_s=at_s)
    assert ask(other, decision.state, at_s + 1799).result is ActionResult.REFUSED
    assert ask(replace(other, starts_s=at_s + 1800), decision.state, at_s + 1800).acts
    assert ask(MEMORY, decision.state, at_s).acts  # other actions are not frozen


def test_repetitions_of_one_start_are_no_flapping() -> None:
    state = ask(ERRORS).state
    blocked = replace(ERRORS, starts_s=NOW_S, situation=Situation(killed=True))
    for second in range(50):
        decision = ask(blocked, state, NOW_S + second)
        assert decision.why == "the kill switch is on"
        state = decision.state


def test_the_state_is_bounded() -> None:
    state, now_s = State(), NOW_S
    for number in range(3_000):
        now_s += 10.0
        event = replace(ERRORS, fingerprint=f"{number:016x}", starts_s=now_s)
        state = ask(event, state, now_s).state
    assert len(state.watched) == MOST_WATCHED
    assert len(state.acted) <= 10 * (POLICY.stale_s / HOUR_S + 1)


# ---- Whatever alerts come, in whatever order ----------------------------------------------------

LIMITS = {
    Action.INVESTIGATE_PERFORMANCE: Limit(0.001, 3),
    Action.SWITCH_TO_REMOTE: Limit(60.0, 4),
    Action.RESTART_SERVICE: Limit(900.0, 2),
    Action.REDUCE_LOCAL_TRAFFIC: Limit(30.0, 5),
}
TIGHT = Policy(ALLOWED, LIMITS, dry_run=False, stale_s=7200.0, flaps=3, freeze_s=1000.0)

situations = st.builds(
    Situation,
    killed=st.integers(0, 9).map(lambda n: n == 0),
    remote_usable=st.integers(0, 9).map(lambda n: n > 0),
    restarting=st.integers(0, 9).map(lambda n: n == 0),
)
arrivals = st.lists(
    st.tuples(
        st.floats(0.0, 1200.0),  # since the one before
        st.floats(-100.0, 8000.0),  # age of the alert
        st.sampled_from(["Slow", "Errors", "Memory", "Other"]),
        st.sampled_from([*Action, "hybrid_mode", "", "shutdown"]),
        st.integers(0, 3),  # the fingerprint
        st.booleans(),  # an old start again
        st.integers(0, 5).map(lambda n: n > 0),  # firing
        situations,
    ),
    max_size=60,
)


def _told(found: Iterable[tuple[object, ...]]) -> list[tuple[Event, Decision, float]]:
    state, now_s, told = State(), NOW_S, []
    starts: dict[int, float] = {}
    for pause_s, age_s, name, label, print_, again, firing, situation in found:
        now_s += pause_s  # type: ignore[operator]
        start_s = now_s - age_s  # type: ignore[operator]
        if again:
            start_s = starts.get(print_, start_s)  # type: ignore[call-overload]
        starts[print_] = start_s  # type: ignore[index]
        event = Event(name, str(label), f"{print_:016x}", start_s, firing, situation)  # type: ignore[arg-type]
        decision = decide(event, state, TIGHT, now_s)
        state = decision.state
        told.append((event, decision, now_s))
    return told


@settings(max_examples=400, deadline=None)
@given(arrivals)
def test_limits_hold_whatever_comes(found: list[tuple[object, ...]]) -> None:
    told = _told(found)
    done = [(event, each.action, now_s) for event, each, now_s in told if each.acts]
    for action, limit in LIMITS.items():
        times_s = [now_s for _, what, now_s in done if what is action]
        for first, second in pairwise(times_s):
            assert second - first >= limit.cool_down_s
        for first, over in zip(times_s, times_s[limit.most_per_hour :], strict=False):
            assert over - first >= HOUR_S
    keys = [(event.fingerprint, event.starts_s, action) for event, action, _ in done]
    assert len(keys) == len(set(keys))
    for event, asked_for, now_s in done:
        assert event.firing
        assert asked_for is not None
        assert action_of(event.action) is asked_for
        assert asked_for in ALLOWED[event.name]
        assert -FUTURE_S <= now_s - event.starts_s <= TIGHT.stale_s
        assert not event.situation.killed
        assert event.situation.remote_usable or asked_for is Action.INVESTIGATE_PERFORMANCE


@settings(max_examples=400, deadline=None)
@given(arrivals)
def test_frozen_stays_frozen_until_the_time(found: list[tuple[object, ...]]) -> None:
    until_s: dict[Action, float] = {}
    for _, decision, now_s in _told(found):
        if decision.action is not None:
            assert not (decision.acts and now_s < until_s.get(decision.action, 0.0))
        for action, end_s in decision.state.frozen_until_s.items():
            # An end, once set, neither moves nor is forgotten before its time.
            assert until_s.get(action, 0.0) <= now_s or until_s[action] == end_s
            until_s[action] = end_s


@settings(max_examples=200, deadline=None)
@given(arrivals)
def test_one_answer_for_each_and_the_same_for_the_same(found: list[tuple[object, ...]]) -> None:
    told = _told(found)
    assert told == _told(found)
    for _, decision, _ in told:
        assert decision.acts or decision.why
        assert "\n" not in decision.why
