"""The join by request id, and the phases of a first token's time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core import slo as slo_room
from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.records import ATTEMPTS, DECISIONS, REQUESTS
from reports import build
from reports.build import Report
from reports.join import join
from reports.phases import PHASES, WITHIN_TTFT, split
from tests.reports import runs
from tests.reports.runs import Block

SLO = slo_room.Slo()
START = 10**12


def ns(milliseconds: float) -> int:
    return START + round(milliseconds * NS_PER_MS)


def request(**changes: Any) -> dict[str, Any]:
    """Return a request due at 0 ms, sent at 2, with its first token at 200."""
    made: dict[str, Any] = {
        "arm": "hybrid",
        "step_users": 5,
        "request_id": "r1",
        "phase": "steady",
        "t_sched_ns": ns(0),
        "t_send_ns": ns(2),
        "t_headers_ns": ns(12),
        "t_first_token_ns": ns(200),
        "ttft_ms": 198.0,
        "ttfs_ms": 300.0,
        "tier": "local",
        "reason": "default_local",
    }
    return made | changes


def attempt(**changes: Any) -> dict[str, Any]:
    """Return the winning attempt: begun at 4 ms, 3 ms in the queue, first token at 198."""
    made: dict[str, Any] = {
        "request_id": "r1",
        "started_ns": ns(4),
        "headers_ns": ns(9),
        "first_token_ns": ns(198),
        "queue_ms": 3.0,
        "prompt_ms": 150.0,
        "load_ms": 10.0,
        "committed": True,
    }
    return made | changes


DECISION = {"request_id": "r1", "accepted_ns": ns(3), "first_token_ns": ns(199), "attempts": 1}


def joined(
    requests: list[dict[str, Any]],
    decisions: list[dict[str, Any]],
    attempts: list[dict[str, Any]],
) -> pd.DataFrame:
    return join(
        pa.Table.from_pylist(requests, schema=REQUESTS).to_pandas(),
        pa.Table.from_pylist(decisions, schema=DECISIONS).to_pandas(),
        pa.Table.from_pylist(attempts, schema=ATTEMPTS).to_pandas(),
    )


def phases_of(*records: list[dict[str, Any]]) -> dict[str, float]:
    (row,) = split(joined(*records)).round(6).to_dict("records")
    return {str(name): value for name, value in row.items() if value}


def test_phases_through_the_router() -> None:
    assert phases_of([request()], [DECISION], [attempt()]) == {
        "late": 2.0,
        "arrive": 1.0,
        "decide": 1.0,
        "queue": 3.0,
        "connect": 2.0,
        "load": 10.0,
        "prefill": 150.0,
        "wait": 29.0,
        "hold": 1.0,
        "deliver": 1.0,
    }


def test_a_lost_attempt_is_the_fallback_tax() -> None:
    lost = attempt(committed=False, first_token_ns=None, prompt_ms=None, load_ms=None)
    won = attempt(started_ns=ns(54), headers_ns=None, queue_ms=None)
    found = phases_of([request()], [DECISION | {"attempts": 2}], [lost, won])
    assert found["lost"] == 50.0
    assert "connect" not in found
    assert found["wait"] == 198 - 54 - 160


def test_an_attempt_lost_beside_the_winner_costs_nothing() -> None:
    beside = attempt(committed=False, started_ns=ns(60), first_token_ns=None)
    rows = joined([request()], [DECISION | {"attempts": 2}], [attempt(), beside])
    assert rows["joined"].all()
    assert not rows["lost"].any()
    assert split(rows)["lost"].tolist() == [0.0]


def test_a_cache_hit_has_a_decision_and_no_attempt() -> None:
    hit = DECISION | {"attempts": 0, "first_token_ns": ns(5)}
    rows = [request(tier="cache", t_first_token_ns=ns(6), ttft_ms=4.0)]
    assert joined(rows, [hit], [])["joined"].all()
    expected = {"late": 2.0, "arrive": 1.0, "decide": 2.0, "deliver": 1.0}
    assert phases_of(rows, [hit], []) == expected


def test_a_direct_target_is_split_by_what_its_engine_told() -> None:
    row = request(tier=None, reason=None, prompt_ms=150.0, engine_queue_ms=20.0)
    assert joined([row], [], [])["direct"].all()
    expected = {"late": 2.0, "connect": 10.0, "engine_queue": 20.0, "prefill": 150.0, "wait": 18.0}
    assert phases_of([row], [], []) == expected


def test_headers_that_came_with_the_first_token_are_no_connection() -> None:
    found = phases_of([request()], [DECISION], [attempt(headers_ns=ns(197))])
    assert "connect" not in found
    assert found["wait"] == 31.0


def test_what_is_missing_is_not_joined_and_not_split() -> None:
    rows = joined([request()], [], [attempt()])
    assert (rows["routed"].tolist(), rows["joined"].tolist()) == ([True], [False])
    assert split(rows).empty
    assert joined([request()], [DECISION], [])["joined"].tolist() == [False]
    # An attempt of a request that the run does not know changes nothing.
    assert len(joined([request()], [DECISION], [attempt(), attempt(request_id="other")])) == 1


@given(
    stamps=st.lists(st.floats(0, 5_000), min_size=8, max_size=8).map(sorted),
    told=st.tuples(st.floats(0, 900), st.floats(0, 900), st.floats(0, 900)),
    early=st.booleans(),
)
def test_phases_add_up_to_the_time_to_the_first_token(
    stamps: list[float], told: tuple[float, float, float], early: bool
) -> None:
    sched, sent, accepted, began, won, token, relayed, read = stamps
    queue, load, prompt = told
    row = request(
        t_sched_ns=ns(sched), t_send_ns=ns(sent), t_first_token_ns=ns(read), ttft_ms=read - sent
    )
    decision = DECISION | {
        "accepted_ns": ns(accepted),
        "first_token_ns": ns(relayed),
        "attempts": 2,
    }
    winner = attempt(
        started_ns=ns(won),
        first_token_ns=ns(token),
        headers_ns=ns(won if early else token),
        queue_ms=0.0,
        engine_queue_ms=queue,
        load_ms=load,
        prompt_ms=prompt,
    )
    loser = attempt(started_ns=ns(began), committed=False)
    whole = split(joined([row], [decision], [winner, loser]))
    assert whole[list(WITHIN_TTFT)].sum(axis=1).iloc[0] == pytest.approx(read - sent, abs=1e-3)
    assert (whole.drop(columns="wait") >= -1e-6).all(axis=None)
    assert whole["wait"].iloc[0] >= min(token - won - sum(told), 0) - 1e-3


def reported(run_dir: Path, blocks: list[Block]) -> Report:
    return build.report(runs.write(run_dir, blocks), SLO)


def test_a_run_is_joined_checked_and_explained(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 20, [200.0] * 100, tier="local"),
        Block("hybrid", 20, [None] * 5),
        Block("remote_only", 20, [2_000.0] * 100),
    ]
    falls = reported(tmp_path, blocks).details.waterfall
    hybrid, remote = falls.means
    assert (hybrid.arm, hybrid.step_users, hybrid.tier, hybrid.n) == ("hybrid", 20, "local", 100)
    assert {name: value for name, value in hybrid.phases_ms.items() if value} == {
        "arrive": 0.5,
        "decide": 0.5,
        # Three of a hundred lost 20 ms in an attempt before.
        "lost": 0.6,
        "queue": 3.0,
        "prefill": 50.0,
        "wait": 144.5,
        "hold": 0.5,
        "deliver": 0.4,
    }
    assert (remote.tier, remote.phases_ms["wait"]) == ("remote", 2_000.0)
    check = falls.check
    assert (check.routed, check.joined, check.joined_share) == (105, 105, 1.0)
    assert (check.split, check.out_of_order, check.overtold) == (200, 0, 0)
    assert (check.residual_p50_ms, check.residual_p99_ms) == (0.9, 0.9)
    assert check.residual_within.value == 1.0
    assert check.sum_within.value == 1.0
    assert falls.gaps == ()
    assert [item.name for item in falls.exemplars] == ["p50", "p95", "p99"]
    assert [item.name for item in falls.slowest] == [str(place) for place in range(1, 11)]


def _shift(run_dir: Path, table: str, column: str, by_ns: int) -> None:
    path = run_dir / f"{table}.parquet"
    data = pq.read_table(path)
    at = data.schema.get_field_index(column)
    pq.write_table(data.set_column(at, column, pa.compute.add(data.column(column), by_ns)), path)


def test_a_router_on_another_clock_is_named_and_not_split(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [200.0] * 100, tier="local")])
    for table, column in (
        ("decisions", "accepted_ns"),
        ("decisions", "first_token_ns"),
        ("attempts", "started_ns"),
        ("attempts", "first_token_ns"),
    ):
        _shift(run_dir, table, column, 10**12)
    report = build.report(run_dir, SLO)
    falls = report.details.waterfall
    assert (falls.check.other_clock, falls.means) == (("hybrid",), ())
    # What one clock measured by itself still holds.
    assert falls.check.residual_p50_ms == 0.9
    assert any("another clock" in gap for gap in report.gaps)


def test_stamps_that_contradict_each_other_are_counted(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [200.0] * 100, tier="local")])
    _shift(run_dir, "attempts", "first_token_ns", 10 * NS_PER_MS)
    check = build.report(run_dir, SLO).details.waterfall.check
    assert (check.out_of_order, check.split) == (100, 0)


def test_an_engine_that_tells_too_much_shows_in_the_sum(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [30.0] * 100, tier="local")])
    check = build.report(run_dir, SLO).details.waterfall.check
    assert check.overtold == 100
    assert check.sum_within.value == 0.0
    assert check.residual_within.value == 1.0


def test_lost_decisions_are_a_gap(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [200.0] * 100, tier="local")])
    path = run_dir / "decisions.parquet"
    pq.write_table(pq.read_table(path).slice(10), path)
    report = build.report(run_dir, SLO)
    assert report.details.waterfall.check.joined_share == 0.9
    assert any("10 requests of 100 could not be joined" in gap for gap in report.gaps)


def test_every_phase_has_a_meaning() -> None:
    assert list(PHASES) == ["late", *WITHIN_TTFT]
