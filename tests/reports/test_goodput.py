"""Goodput, what users felt, arms side by side, and first tokens by what explains them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.records import BlockResult, Manifest
from firsttoken.core.words import Verdict
from reports import breakdown, build
from reports.build import Report
from tests.reports import runs
from tests.reports.runs import Block

SLO = slo_room.Slo()


def open_block(**changes: object) -> BlockResult:
    values = {
        "number": 0,
        "arm": "hybrid",
        "step_users": 20,
        "planned_rate": 4.0,
        "started_ns": runs.ORIGIN,
        "steady_ns": runs.ORIGIN,
        "stop_ns": runs.ORIGIN,
        "ended_ns": runs.ORIGIN,
        "requests": 100,
        "errors": 0,
        "ttft_p50_ms": 200.0,
        "ttft_p95_ms": 300.0,
        "tokens_counted_here": 0,
        "loop_lag_p99_ms": 0.1,
        "loop_lag_max_ms": 0.2,
        "generator_cpu": 0.05,
        "scheduled": 110,
        "late": 40,
        "dropped": 10,
    }
    return BlockResult(**(values | changes))  # type: ignore[arg-type]


def reported(run_dir: Path, blocks: list[Block]) -> Report:
    return build.report(runs.write(run_dir, blocks), SLO)


def test_goodput_counts_what_met_every_target(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 20, [200.0] * 70, tier="local"),
        Block("hybrid", 20, [900.0] * 20, tier="remote"),
        # In time, and then broken off: no goodput.
        Block("hybrid", 20, [100.0] * 6, tier="local", outcome="error"),
        Block("hybrid", 20, [None] * 4),
    ]
    (found,) = reported(tmp_path, blocks).details.goodput
    assert (found.share.value, found.share.n) == (0.7, 100)
    assert found.share.ci_low is not None
    assert found.share.ci_low < 0.7
    assert not found.felt


def test_what_users_felt_stands_beside_ttft_in_an_open_loop(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [200.0] * 100, tier="local")])
    path = run_dir / "requests.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("ttft_user_ms")
    felt = pa.array([200.0 + 10.0 * index for index in range(100)])
    pq.write_table(table.set_column(at, "ttft_user_ms", felt), path)
    replace(Manifest.read(run_dir), blocks=[open_block()]).write(run_dir)
    (found,) = build.report(run_dir, SLO).details.goodput
    assert found.share.value == 1.0
    assert found.felt
    # 100 that were begun, and ten that never were: each of those is later than everything.
    assert found.user_ttft_p50_ms.n == 110
    assert found.user_ttft_p50_ms.value == 740.0
    assert found.user_ttft_p95_ms.value == math.inf
    assert found.user_share.value == pytest.approx(21 / 110, abs=1e-4)


def test_what_users_felt_is_what_is_judged_in_an_open_loop(tmp_path: Path) -> None:
    """A pool of busy talkers hides the queue from TTFT; nobody may PASS by that."""
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [100.0] * 400)])
    path = run_dir / "requests.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("ttft_user_ms")
    pq.write_table(table.set_column(at, "ttft_user_ms", pa.array([3_100.0] * 400)), path)
    replace(Manifest.read(run_dir), blocks=[open_block(dropped=0)]).write(run_dir)
    report = build.report(run_dir, SLO)
    judged = {check.name: check.verdict for check in report.checks if check.judged}
    assert judged == {"error_rate": Verdict.PASS, "ttft_user_p95_ms": Verdict.FAIL}
    assert report.verdict is Verdict.FAIL


def test_a_start_that_was_never_made_is_an_error(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [100.0] * 400)])
    replace(Manifest.read(run_dir), blocks=[open_block(dropped=100)]).write(run_dir)
    report = build.report(run_dir, SLO)
    assert report.cell("hybrid", 20).error_rate.value == 0.2
    assert report.verdict is Verdict.FAIL


def test_arms_are_paired_by_their_place_in_the_schedule(tmp_path: Path) -> None:
    blocks = [
        # Twice as many turns: only the first half has a counterpart.
        Block("hybrid", 20, [*[200.0] * 100, *[5_000.0] * 100], tier="local"),
        Block("remote_only", 20, [2_000.0] * 100),
        Block("local_only", 20, [*[100.0] * 25, *[1_000.0] * 75]),
    ]
    local, remote = reported(tmp_path, blocks).details.paired_arms
    assert (local.other, remote.other) == ("local_only", "remote_only")
    assert (remote.n, remote.hybrid_p50_ms, remote.other_p50_ms) == (100, 200.0, 2_000.0)
    assert remote.p95_difference_ms == -1_800.0
    assert (remote.hybrid_share, remote.other_share) == (1.0, 0.0)
    assert remote.sooner.value == 1.0
    assert (local.sooner.value, local.other_share) == (0.75, 0.25)


def test_first_tokens_by_tier_and_reason(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 20, [200.0] * 60, tier="local"),
        Block("hybrid", 20, [900.0] * 30, tier="remote"),
        Block("hybrid", 20, [None] * 10),
        Block("remote_only", 20, [2_000.0] * 10),
    ]
    found = reported(tmp_path, blocks).details.reasons
    assert [(item.arm, item.tier, item.reason, item.n, item.errors) for item in found] == [
        ("hybrid", "local", "default_local", 60, 0),
        ("hybrid", "remote", "default_local", 30, 0),
        ("hybrid", "unknown", "unknown", 10, 10),
    ]
    assert found[2].ttft_p50_ms.value == math.inf


def test_fallback_tax(tmp_path: Path) -> None:
    blocks = [Block("hybrid", 20, [200.0] * 100, tier="local"), Block("local_only", 20, [200.0])]
    (found,) = reported(tmp_path, blocks).details.fallback_tax
    assert (found.arm, found.n, found.share.value) == ("hybrid", 3, 0.03)
    assert (found.lost_p50_ms.value, found.lost_p95_ms.value) == (20.0, 20.0)


@pytest.mark.parametrize(
    ("prompt", "cached", "expected"),
    [
        (100.0, 0.0, "cold"),
        (100.0, 9.0, "cold"),
        (100.0, 10.0, "partly"),
        (100.0, 89.0, "partly"),
        (100.0, 90.0, "warm"),
        (100.0, 100.0, "warm"),
        (100.0, math.nan, "unknown"),
        (math.nan, 0.0, "unknown"),
        (0.0, 0.0, "unknown"),
    ],
)
def test_warmth(prompt: float, cached: float, expected: str) -> None:
    assert breakdown.warmth(pd.Series([prompt]), pd.Series([cached])).tolist() == [expected]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (1.0, "up to 128"),
        (128.0, "up to 128"),
        (129.0, "129 to 512"),
        (513.0, "513 to 2048"),
        (2048.0, "513 to 2048"),
        (2049.0, "over 2048"),
        (math.nan, "unknown"),
    ],
)
def test_prompt_band(tokens: float, expected: str) -> None:
    assert breakdown.prompt_band(pd.Series([tokens])).tolist() == [expected]


def test_prefix_cache_leaves_out_what_our_own_caches_served(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 20, [200.0] * 60, tier="local"),
        Block("hybrid", 20, [3.0] * 40, tier="cache"),
    ]
    (found,) = reported(tmp_path, blocks).details.prefix_cache
    assert (found.warmth, found.prompt_tokens, found.n) == ("partly", "up to 128", 60)
    assert found.ttft_p50_ms.value == 200.0
