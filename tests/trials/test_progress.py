"""The line about a finished block."""

from __future__ import annotations

from firsttoken.core.records import BlockResult
from firsttoken.trials.progress import block_line

BLOCK = {
    "number": 0,
    "arm": "target",
    "step_users": 8,
    "planned_rate": None,
    "started_ns": 0,
    "steady_ns": 0,
    "stop_ns": 1,
    "ended_ns": 2,
    "requests": 252,
    "errors": 1,
    "ttft_p50_ms": 101.4,
    "ttft_p95_ms": None,
    "tokens_counted_here": 0,
    "loop_lag_p99_ms": 0.1,
    "loop_lag_max_ms": 0.2,
    "generator_cpu": 0.1,
}


def test_a_closed_loop_says_its_talkers_and_first_tokens() -> None:
    line = block_line(BlockResult(**BLOCK))  # type: ignore[arg-type]
    assert "target        8 talkers" in line
    assert "p50     101 ms   p95          -   n  252   errors 1" in line
    assert "scheduled" not in line


def test_an_open_loop_says_its_rate_and_what_became_of_its_starts() -> None:
    starts = {"planned_rate": 8.4, "scheduled": 253, "late": 240, "dropped": 1}
    line = block_line(BlockResult(**{**BLOCK, **starts}))  # type: ignore[arg-type]
    assert "target      8.4/s by 8 talkers" in line
    assert line.endswith("scheduled 253, late 240, dropped 1")
