"""Options of a run by hand, as the plan they amount to."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core.errors import UserError
from firsttoken.load.asked import FLAGS, MAX_PLANNED_STARTS, SECONDS_WITHOUT_END, plan_of
from firsttoken.load.plan import RunPlan, Scenario


def plan(scenario: Scenario, seconds: float | None = 60.0, **given: Any) -> RunPlan:
    options = Namespace(**{flag.name: flag.default for flag in FLAGS})
    asked = {"model": "m", "dialect": "ollama", "api_key_env": "", "max_tokens": 32, **given}
    vars(options).update(asked)
    return plan_of(scenario, options, "http://127.0.0.1:1", 4, seconds)


@pytest.mark.parametrize("scenario", [each for each in Scenario if each is not Scenario.REPLAY])
def test_defaults_are_those_of_the_schedules(scenario: Scenario) -> None:
    found = plan(scenario)
    untouched = RunPlan.model_construct()
    for section in ("open_loop", "sessions", "burst", "voice"):
        assert getattr(found, section) == getattr(untouched, section)
    (block,) = found.blocks()
    assert (block.users, block.steady_seconds, block.warmup_seconds) == (4, 60.0, 0.0)
    assert (block.arm.dialect, block.arm.api_key_env) == ("ollama", None)


def test_what_is_given_reaches_its_schedule() -> None:
    assert plan(Scenario.OPEN_LOOP, rate=3.5, arrivals="constant").open_loop.rate == 3.5
    assert plan(Scenario.SESSIONS, think="1.5,2").sessions.think_seconds == (1.5, 2.0)
    assert plan(Scenario.SOAK, think="3").sessions.think_seconds == (3.0, 3.0)
    talking = plan(Scenario.VOICE, think="2", voice_tools="none", memory_jobs="off")
    assert talking.sessions.think_seconds == (2.0, 2.0)
    assert (str(talking.voice.tools), str(talking.voice.memory_jobs)) == ("none", "off")
    assert plan(Scenario.BURST, burst_period=2.0).burst.period_seconds == 2.0
    replay = plan(Scenario.REPLAY, trace="a.csv").replay
    assert replay is not None
    assert replay.file == Path("a.csv")


def test_without_an_end_what_is_planned_is_bounded() -> None:
    assert plan(Scenario.OPEN_LOOP, None).step_seconds == SECONDS_WITHOUT_END
    many = plan(Scenario.OPEN_LOOP, None, rate=5000.0)
    assert many.step_seconds * 5000 == MAX_PLANNED_STARTS


@pytest.mark.parametrize(
    ("scenario", "given", "says"),
    [
        (Scenario.REPLAY, {}, "Replay needs a trace: give --trace FILE"),
        (Scenario.OPEN_LOOP, {"rate": 0.0}, "--rate: "),
        (Scenario.SESSIONS, {"think": "1,x"}, "--think is '1,x', expected such as 1,4"),
        (Scenario.SESSIONS, {"think": "4,1"}, "--think"),
        (Scenario.STEPS, {"max_tokens": 0}, "--max-tokens: "),
    ],
)
def test_what_is_out_of_range_is_named(
    scenario: Scenario, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError) as error:
        plan(scenario, **given)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
