"""Whole runs with known contents to verdicts and tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.records import REQUESTS
from firsttoken.core.words import Verdict
from reports import build
from reports.build import Report
from tests.reports import runs
from tests.reports.runs import Block, lognormal

SLO = slo_room.Slo()


def reported(run_dir: Path, blocks: list[Block], **more: Any) -> Report:
    return build.report(runs.write(run_dir, blocks, **more), SLO)


def hybrid(median_ms: float, n: int = 400, **more: Any) -> Block:
    return Block("hybrid", 20, lognormal(median_ms, n), tier="local", **more)


FAST = lognormal(200, 400)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([hybrid(200)], Verdict.PASS),
        ([hybrid(900)], Verdict.FAIL),
        ([hybrid(290)], Verdict.INCONCLUSIVE),
        ([hybrid(200, n=60)], Verdict.INCONCLUSIVE),
        ([hybrid(200, n=1)], Verdict.INCONCLUSIVE),
        # The p95 is good, the error rate is not shown to be: 0 of 100 may be 3.6 %.
        ([hybrid(200, n=100)], Verdict.INCONCLUSIVE),
        ([Block("hybrid", 20, [*FAST, *[None] * 40])], Verdict.FAIL),
        ([Block("hybrid", 20, [None] * 300)], Verdict.FAIL),
        ([Block("hybrid", 20, [None] * 3)], Verdict.FAIL),
        # 85 % local and 15 % remote: fast for most, and a p95 of two seconds.
        (
            [
                Block("hybrid", 20, lognormal(200, 340), tier="local"),
                Block("hybrid", 20, lognormal(2_000, 60), tier="remote"),
            ],
            Verdict.FAIL,
        ),
        ([Block("target", 20, FAST)], Verdict.PASS),
        ([Block("local_only", 20, FAST)], Verdict.PASS),
        ([Block("local_only", 20, FAST), Block("remote_only", 20, FAST)], Verdict.INCONCLUSIVE),
        # Other arms and smaller steps inform and do not judge.
        ([hybrid(200), Block("remote_only", 20, lognormal(2_000, 200))], Verdict.PASS),
        ([hybrid(200), Block("hybrid", 5, lognormal(2_000, 200))], Verdict.PASS),
        ([hybrid(900), Block("hybrid", 5, FAST)], Verdict.FAIL),
        # Only warm-up: nothing was measured.
        ([hybrid(200, phase="warmup")], Verdict.INCONCLUSIVE),
    ],
)
def test_verdict(tmp_path: Path, blocks: list[Block], expected: Verdict) -> None:
    assert reported(tmp_path, blocks).verdict is expected


def test_largest_step_is_the_planned_one(tmp_path: Path) -> None:
    report = reported(tmp_path, [Block("hybrid", 5, FAST)], steps=[5, 20])
    assert report.judged_step == 20
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "not measured, n=0" in report.reasons[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"calibration": []}, "calibrated never"),
        ({"calibration": runs.calibrated(error_p99_ms=8.0)}, "own error was p99 8.0 ms"),
        ({"calibration": runs.calibrated(users=10)}, "only at 10 users"),
        ({"host_columns": {"steal_share": 0.3}}, "hypervisor took 30.00 %"),
        ({"host_columns": {"throttled_share": 0.2}}, "quota held"),
    ],
)
def test_untrusted(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    report = reported(tmp_path, [hybrid(200)], **changes)
    assert report.verdict is Verdict.UNTRUSTED
    assert words in report.reasons[-1]
    assert {check.verdict for check in report.checks if check.judged} == {Verdict.UNTRUSTED}


def test_unfinished_run_cannot_pass(tmp_path: Path) -> None:
    report = reported(tmp_path, [hybrid(200)], finished=False)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any("cut short" in gap for gap in report.gaps)


@pytest.mark.parametrize("cut", [False, True])
def test_killed_run_is_read_from_its_parts(tmp_path: Path, *, cut: bool) -> None:
    run_dir = runs.write_parts(tmp_path, [hybrid(900)], cut=cut)
    report = build.report(run_dir, SLO)
    assert report.verdict is Verdict.FAIL
    n = report.cell("hybrid", 20).n
    assert 300 <= n < 400 if cut else n == 400
    assert (run_dir / "requests.parquet").exists()
    assert not (run_dir / "parts").exists()
    assert build.report(run_dir, SLO).cell("hybrid", 20).n == n


def test_failures_count_as_late(tmp_path: Path) -> None:
    delays: list[float | None] = [100.0] * 94 + [None] * 6
    cell = reported(tmp_path, [Block("hybrid", 20, delays)]).cell("hybrid", 20)
    assert cell.ttft_p95_ms.value == math.inf
    assert cell.ttft_p50_ms.value == 100.0
    assert cell.no_first_token == 6
    assert cell.errors == 6
    assert cell.error_rate.value == 0.06


def test_a_fast_failure_is_no_fast_first_token(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 20, [500.0] * 200),
        Block("hybrid", 20, [1.0] * 200, outcome="error"),
    ]
    cell = reported(tmp_path, blocks).cell("hybrid", 20)
    assert cell.ttft_p50_ms.value == 500.0
    assert cell.ttft_p95_ms.value == math.inf


def test_cancelled_requests_count_as_late_only_when_they_were(tmp_path: Path) -> None:
    short = Block("hybrid", 20, [None] * 10, outcome="cancelled", error_type="client_gone")
    run_dir = runs.write(tmp_path, [hybrid(200, n=100), short])
    cell = build.report(run_dir, SLO).cell("hybrid", 20)
    # They had waited three seconds and more for a first token.
    assert (cell.cancelled, cell.no_first_token, cell.errors) == (10, 10, 0)
    assert cell.error_rate.n == 100
    table = pq.read_table(run_dir / "requests.parquet").to_pylist()
    for row in table:
        if row["outcome"] == "cancelled":
            row["t_end_ns"] = row["t_send_ns"] + 50_000_000
    pq.write_table(pa.Table.from_pylist(table, schema=REQUESTS), run_dir / "requests.parquet")
    cell = build.report(run_dir, SLO).cell("hybrid", 20)
    assert (cell.cancelled, cell.no_first_token, cell.ttft_p95_ms.n) == (10, 0, 100)


def test_clock_that_steps_back_is_named_and_does_not_pass(tmp_path: Path) -> None:
    delays: list[float | None] = [*FAST, *[-5.0] * 100]
    report = reported(tmp_path, [Block("hybrid", 20, delays)])
    assert report.verdict is Verdict.FAIL
    assert any("100 requests got the first token before being sent" in gap for gap in report.gaps)


def test_cell_figures(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 20, [100.0] * 60, tier="local"),
        Block("hybrid", 20, [2_000.0] * 30, tier="remote"),
        Block("hybrid", 20, [2.0] * 10, tier="cache"),
        Block("hybrid", 20, [9.0] * 7, tier="local", phase="warmup"),
    ]
    cell = reported(tmp_path, blocks).cell("hybrid", 20)
    assert (cell.n, cell.left_out) == (100, 7)
    assert {tier.tier: (tier.n, tier.share) for tier in cell.tiers} == {
        "local": (60, 0.6),
        "remote": (30, 0.3),
        "cache": (10, 0.1),
    }
    assert cell.ttft_p50_ms.value == 100.0
    assert cell.ttft_p95_ms.value == 2_000.0
    assert cell.ttfs_p50_ms == 260.0
    assert cell.tpot_p50_ms == 40.0
    assert cell.prompt_tokens_p50 == 60.0
    assert cell.cached_token_share == 0.5
    assert cell.emulated


def test_errors_by_type(tmp_path: Path) -> None:
    blocks = [
        hybrid(200),
        Block("hybrid", 20, [None] * 2, error_type="connect"),
        Block("hybrid", 20, [None] * 5, error_type="first_token_timeout", outcome="timeout"),
    ]
    report = reported(tmp_path, blocks)
    assert [(e.outcome, e.error_type, e.count) for e in report.errors] == [
        ("timeout", "first_token_timeout", 5),
        ("error", "connect", 2),
    ]


def test_guide_rows(tmp_path: Path) -> None:
    blocks = [
        Block("remote_only", 1, [1_900.0] * 40, output_tokens=6),
        Block("hybrid", 1, [150.0] * 40, tier="local", output_tokens=6),
        Block("remote_only", 20, [2_000.0] * 400),
        Block("hybrid", 20, [200.0] * 390, tier="local"),
        Block("hybrid", 20, [300.0] * 10, tier="remote"),
    ]
    rows = {row.key: row for row in reported(tmp_path, blocks).guide}
    assert list(rows) == ["first_token", "total_response", "concurrency", "availability", "cost"]
    first = rows["first_token"]
    assert (first.guide_remote, first.guide_local) == ("1500–3000 ms", "200–400 ms")
    assert first.measured["hybrid"] == "p50 200.0, p95 200.0 ms, n=400"
    assert first.change == "-90.00 %"
    assert rows["total_response"].measured["hybrid"] == "p50 350.0 ms, n=40"
    assert rows["concurrency"].measured["hybrid"] == "20 users"
    assert rows["concurrency"].values == {"remote_only": None, "hybrid": 20.0}
    assert "INCONCLUSIVE" in rows["availability"].measured["hybrid"]
    assert rows["availability"].change == "+0.00 points"
    assert rows["cost"].values["remote_only"] == 0.01
    # 10 of 440 requests, 84 tokens each against 66 for the short ones.
    expected = 0.01 * 10 * 84 / (400 * 84 + 40 * 66)
    assert rows["cost"].values["hybrid"] == pytest.approx(expected, abs=1e-6)


def test_guide_rows_say_what_was_not_measured(tmp_path: Path) -> None:
    rows = {row.key: row for row in reported(tmp_path, [Block("target", 20, FAST)]).guide}
    assert rows["total_response"].measured == {"target": "not measured"}
    assert "needs a step with 1 user" in rows["total_response"].note
    assert rows["cost"].measured == {"target": "tier not known"}
    assert {row.change for row in rows.values()} == {"–"}


def test_short_replies_are_checked_but_not_judged(tmp_path: Path) -> None:
    blocks = [Block("hybrid", 1, [150.0] * 40, output_tokens=6), hybrid(200)]
    checks = [c for c in reported(tmp_path, blocks).checks if c.name == "short_reply_p50_ms"]
    assert [(c.verdict, c.judged, c.value) for c in checks] == [(Verdict.PASS, False, 350.0)]


SPOIL: dict[str, Callable[[Path], object]] = {
    "no run.json": lambda d: (d / "run.json").unlink(),
    "run.json cut": lambda d: (d / "run.json").write_text('{"schema_version": 1, "arms"'),
    "run.json of another version": lambda d: (d / "run.json").write_text('{"schema_version": 99}'),
    "no requests": lambda d: (d / "requests.parquet").unlink(),
    "no rows": lambda d: pq.write_table(REQUESTS.empty_table(), d / "requests.parquet"),
    "requests cut": lambda d: (d / "requests.parquet").write_bytes(
        (d / "requests.parquet").read_bytes()[:-200]
    ),
    "requests empty file": lambda d: (d / "requests.parquet").write_bytes(b""),
    "column missing": lambda d: pq.write_table(
        pq.read_table(d / "requests.parquet").drop_columns(["ttft_ms"]), d / "requests.parquet"
    ),
}


@pytest.mark.parametrize("fault", SPOIL)
def test_unusable_data_is_one_clear_line(tmp_path: Path, fault: str) -> None:
    run_dir = runs.write(tmp_path, [hybrid(200)])
    SPOIL[fault](run_dir)
    with pytest.raises(UserError) as caught:
        build.report(run_dir, SLO)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        build.report(tmp_path / "nowhere", SLO)


def test_text_in_a_number_column(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [hybrid(200)])
    table = pq.read_table(run_dir / "requests.parquet")
    at = table.schema.get_field_index("ttft_ms")
    soon = table.set_column(at, "ttft_ms", pa.array(["soon"] * table.num_rows))
    pq.write_table(soon, run_dir / "requests.parquet")
    with pytest.raises(UserError, match="column ttft_ms holds string"):
        build.report(run_dir, SLO)


def test_float_timestamps_are_accepted(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [hybrid(200)])
    table = pq.read_table(run_dir / "requests.parquet")
    at = table.schema.get_field_index("t_send_ns")
    as_float = table.column("t_send_ns").cast(pa.float64())
    pq.write_table(table.set_column(at, "t_send_ns", as_float), run_dir / "requests.parquet")
    assert build.report(run_dir, SLO).verdict is Verdict.PASS


def test_rows_without_an_arm_are_refused(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [hybrid(200)])
    table = pq.read_table(run_dir / "requests.parquet")
    at = table.schema.get_field_index("arm")
    lost = table.set_column(at, "arm", pa.array([None] * 400, pa.string()))
    pq.write_table(lost, run_dir / "requests.parquet")
    with pytest.raises(UserError, match="rows without arm"):
        build.report(run_dir, SLO)


@pytest.mark.parametrize("table", ["attempts", "host"])
def test_damaged_side_tables_are_named_gaps(tmp_path: Path, table: str) -> None:
    run_dir = runs.write(tmp_path, [hybrid(200)])
    (run_dir / f"{table}.parquet").write_bytes(b"PAR1 is not enough")
    report = build.report(run_dir, SLO)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any(f"{table}.parquet" in gap for gap in report.gaps)


def test_unplanned_arms_and_unknown_outcomes_are_named(tmp_path: Path) -> None:
    blocks = [hybrid(200), Block("hybrid", 20, [10.0] * 3, outcome="splendid")]
    run_dir = runs.write(tmp_path, blocks, arms=[])
    report = build.report(run_dir, SLO)
    assert any("hybrid are in the records but not in run.json" in gap for gap in report.gaps)
    assert any("unknown outcome(s) splendid" in gap for gap in report.gaps)
    assert report.cell("hybrid", 20).errors == 3


CHECK_KEYS = [
    "name",
    "arm",
    "step_users",
    "tier",
    "target",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "judged",
    "verdict",
]


@pytest.mark.parametrize(
    "blocks",
    [
        runs.three_arms(n=60),
        [Block("hybrid", 20, [None] * 90)],
        [hybrid(200, n=1)],
        [hybrid(200, phase="warmup")],
    ],
)
def test_json_has_the_agreed_shape(tmp_path: Path, blocks: list[Block]) -> None:
    whole = reported(tmp_path, blocks).as_dict()
    text = json.dumps(whole, allow_nan=False)
    assert json.loads(text) == whole
    assert whole["verdict"] in {"PASS", "FAIL", "INCONCLUSIVE", "UNTRUSTED"}
    judged = [check for check in whole["checks"] if check["judged"]]
    assert {check["name"] for check in judged} == {"ttft_p95_ms", "error_rate"}
    assert {(check["arm"], check["step_users"], check["tier"]) for check in judged} == {
        ("hybrid", 20, None)
    }
    for check in whole["checks"]:
        assert list(check) == CHECK_KEYS


def test_values_are_judged_as_they_are_shown(tmp_path: Path) -> None:
    report = reported(tmp_path, [Block("hybrid", 20, [400.04] * 400)])
    (check,) = [c for c in report.checks if c.judged and c.name == "ttft_p95_ms"]
    assert (check.value, check.ci_high, check.verdict) == (400.0, 400.0, Verdict.PASS)
    report = reported(tmp_path, [Block("hybrid", 20, [400.4] * 400)])
    assert report.verdict is Verdict.FAIL


def test_neighbours_that_are_alike_count_for_fewer(tmp_path: Path) -> None:
    # The same values: in any order, and as a slow swing of the machine.
    swing = [200 + 190 * math.sin(at * math.tau / 200) for at in range(800)]
    mixed = [float(each) for each in np.random.default_rng(1).permutation(swing)]
    reports = [
        build.report(runs.write(tmp_path / name, [Block("hybrid", 20, values)]), SLO)
        for name, values in (("swing", swing), ("mixed", mixed))
    ]
    alike, apart = (report.cells[0] for report in reports)
    assert alike.n == apart.n == 800
    assert alike.ttft_p95_ms.value == apart.ttft_p95_ms.value
    assert apart.ttft_effective_n > 400
    assert alike.ttft_effective_n < 72
    assert alike.ttft_p95_ms.ci_high is None
    assert apart.ttft_p95_ms.ci_high is not None
    assert [report.verdict for report in reports] == [Verdict.INCONCLUSIVE, Verdict.PASS]
    assert any("too few independent requests" in reason for reason in reports[0].reasons)
