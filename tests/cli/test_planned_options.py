"""Options of open loop and replay: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firsttoken.cli import planned
from firsttoken.core.errors import UserError

NOTHING: dict[str, Any] = dict.fromkeys(
    ("rate", "arrivals", "burstiness", "trace", "speed", "drop_after")
)


def options_of(scenario: str, **given: Any) -> dict[str, Any]:
    return planned.options_of(scenario, **{**NOTHING, **given})


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text("timestamp,prompt_tokens,output_tokens\n0,1,1\n60,1,1\n")
    return file


def test_they_become_a_section_of_the_plan(trace: Path) -> None:
    assert options_of("steps") == options_of("open_loop") == {}
    assert options_of("open_loop", rate=3.0, arrivals="gamma", burstiness=2.5, drop_after=5.0) == {
        "open_loop": {
            "rate": 3.0,
            "arrivals": "gamma",
            "burstiness": 2.5,
            "drop_after_seconds": 5.0,
        }
    }
    assert options_of("replay", trace=trace, speed=2.0) == {
        "replay": {"file": str(trace), "speed": 2.0}
    }


@pytest.mark.parametrize(
    ("scenario", "given", "says"),
    [
        ("steps", {"rate": 1.0}, "--rate is for open_loop"),
        ("sessions", {"drop_after": 1.0}, "--drop-after is for open_loop and replay"),
        ("replay", {"rate": 1.0, "trace": Path("t")}, "--rate is for open_loop"),
        ("open_loop", {"speed": 1.0}, "--speed is for replay"),
        ("replay", {}, "expected --trace FILE"),
        ("open_loop", {"arrivals": "even"}, "--arrivals even: expected constant, poisson, gamma"),
        ("open_loop", {"burstiness": 2.0}, "--burstiness is for --arrivals gamma"),
    ],
)
def test_what_does_not_belong_is_refused(scenario: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        options_of(scenario, **given)


@pytest.mark.parametrize(
    ("speed", "step_seconds", "expected"),
    [(None, None, 60.0), (2.0, None, 30.0), (2.0, 10.0, 10.0), (None, 90.0, 60.0), (600, None, 1)],
)
def test_a_replay_is_as_long_as_its_trace(
    trace: Path, speed: float | None, step_seconds: float | None, expected: float
) -> None:
    options = options_of("replay", trace=trace, speed=speed)
    assert planned.seconds_of(options, (64,), step_seconds, 60.0) == expected


def test_a_replay_of_over_a_day_is_refused(trace: Path) -> None:
    options = options_of("replay", trace=trace, speed=0.0005)
    with pytest.raises(UserError, match=r"takes 33 hours at --speed 0\.0005"):
        planned.seconds_of(options, (64,), None, 60.0)


def test_an_open_loop_needs_one_pool_and_a_start() -> None:
    assert planned.seconds_of({}, (64,), None, 60.0) == 60.0
    with pytest.raises(UserError, match="--users: expected one number"):
        planned.seconds_of({}, (5, 10), None, 60.0)
    with pytest.raises(UserError, match="makes no start in 5 s"):
        planned.seconds_of(options_of("open_loop", rate=0.05), (64,), 5.0, 60.0)
