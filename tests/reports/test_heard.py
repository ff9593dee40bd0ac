"""What was heard: by the turn, from its first request, and shown only where it was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.records import ATTEMPTS, DECISIONS, REQUESTS
from reports import build, figures, load, terminal, write
from reports import heard as heard_room
from reports.heard import HeardStatistics
from tests.reports import pages, runs
from tests.reports.pages import Page
from tests.reports.runs import Block

SLO = slo_room.Slo()


def spoken(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a row with what a device makes of it, its first sentence 100 ms after the token."""
    said = {
        "hop": 0,
        "ttfs_ms": row["ttft_ms"] + 100.0,
        "ttfsc_ms": row["ttft_ms"] + 10.0,
        "segments": 2,
        "stutters": 0,
        "longest_gap_ms": 0.0,
        "total_gap_ms": 0.0,
        "spoken_failure": False,
    }
    return {**row, **said, **changes}


def write_run(run_dir: Path, block: Block, rows: list[dict[str, Any]]) -> Path:
    runs.write(run_dir, [block], with_attempts=False)
    table = pa.Table.from_pylist(rows, schema=REQUESTS)
    pq.write_table(table, run_dir / "requests.parquet")
    return run_dir


def heard(run_dir: Path, block: Block, rows: list[dict[str, Any]]) -> HeardStatistics:
    (found,) = build.report(write_run(run_dir, block, rows), SLO).details.heard
    return found


def test_without_tools_each_request_is_a_turn(tmp_path: Path) -> None:
    block = Block("hybrid", 1, [200.0 + place for place in range(100)], tier="local")
    rows = [spoken(row) for row in runs.rows([block])]
    rows[3].update(stutters=2, longest_gap_ms=430.0)
    rows[4].update(stutters=1, longest_gap_ms=70.0)
    rows[5].update(outcome="cancelled", stutters=None, segments=0, longest_gap_ms=None)
    found = heard(tmp_path, block, rows)
    assert (found.turns, found.requests_per_turn) == (100, 1.0)
    assert (found.ttfs_p50_ms.value, found.ttfs_p95_ms.value) == (349.0, 394.0)
    assert found.ttfsc_p50_ms.value == 259.0
    assert found.ttfs_p95_ms.ci_low == 379.0
    assert (found.stuttering.value, found.stuttering.n) == (0.0202, 99)
    assert (found.stutters, found.longest_gap_ms) == (3, 430.0)
    assert found.spoken_failure_rate.n == 99


def test_a_turn_with_a_tool_is_waited_for_from_its_first_request(tmp_path: Path) -> None:
    block = Block("hybrid", 2, [200.0] * 6, tier="local", seconds=6.0)
    rows = [spoken(row) for row in runs.rows([block])]
    # Talker 0 uses a tool in its first turn; its first reply stands for the call.
    rows[2].update(turn=0, hop=1)
    rows[0].update(stutters=5, longest_gap_ms=9_999.0)
    # The first request of talker 1's last turn was sent in the warm-up.
    rows[5].update(hop=1)
    found = heard(tmp_path, block, rows)
    assert found.turns == 4
    assert found.requests_per_turn == 1.25
    between_ms = (rows[2]["t_send_ns"] - rows[0]["t_send_ns"]) / NS_PER_MS
    assert found.ttfs_p95_ms.value == 300.0 + between_ms
    assert found.ttfsc_p95_ms.value == 210.0 + between_ms
    assert found.ttfs_p50_ms.value == 300.0
    assert found.stutters == 0


def test_a_failure_is_never_heard_in_time(tmp_path: Path) -> None:
    block = Block("hybrid", 1, [200.0] * 20, tier="local")
    rows = [spoken(row) for row in runs.rows([block])]
    for row in rows[:5]:
        row.update(outcome="error", error_type="http_5xx", tier="none", spoken_failure=True)
    rows[6].update(turn=rows[5]["turn"], hop=1, outcome="error", error_type="protocol")
    found = heard(tmp_path, block, rows)
    assert found.spoken_failures == 5
    assert (found.spoken_failure_rate.value, found.spoken_failure_rate.n) == (0.2632, 19)
    assert found.ttfs_p95_ms.value == float("inf")
    assert found.ttfs_p50_ms.value == 300.0


def test_a_reply_that_the_router_ended_is_told_of(tmp_path: Path) -> None:
    """For the client it is an answer like any other; the router knows that it broke off."""
    block = Block("hybrid", 1, [200.0] * 20, tier="local")
    rows = [spoken(row) for row in runs.rows([block])]
    rows[1].update(hop=1, turn=rows[0]["turn"])
    rows[4].update(outcome="error", error_type="http_5xx", tier="none", spoken_failure=True)
    rows[5].update(outcome="cancelled")
    run_dir = write_run(tmp_path, block, rows)
    decided = runs.decisions(runs.frame([block]), ATTEMPTS.empty_table()).to_pylist()
    for number, outcome in {
        0: "error",
        1: "timeout",
        4: "error",
        5: "error",
        6: "cancelled",
    }.items():
        decided[number]["outcome"] = outcome
    decisions = pa.Table.from_pylist(decided, schema=DECISIONS)
    pq.write_table(decisions, run_dir / "decisions.parquet")
    data = load.read(run_dir)
    (found,) = heard_room.heard(data)
    assert (found.turns, found.finished, found.spoken_failures) == (19, 1, 1)
    assert found.ttfs_p50_ms.value == 300.0


def test_without_the_routers_records_nobody_knows_what_it_ended(tmp_path: Path) -> None:
    block = Block("hybrid", 1, [200.0] * 20, tier="local")
    assert heard(tmp_path, block, [spoken(row) for row in runs.rows([block])]).finished is None


def test_the_page_shows_what_the_json_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PICTURES", ())
    block = Block("hybrid", 1, [201.3 + place for place in range(40)], tier="local")
    rows = [spoken(row) for row in runs.rows([block])]
    rows[3].update(stutters=1, longest_gap_ms=432.1)
    run_dir = write_run(tmp_path, block, rows)
    report = build.report(run_dir, SLO)
    write.write_all(report, run_dir)
    whole = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    shown = (run_dir / "report.html").read_text(encoding="utf-8")
    assert pages.not_in_json(Page(shown), whole) == []
    assert "432.1" in shown
    assert "TTFSC" in shown
    assert "432.1" in (run_dir / "report.md").read_text(encoding="utf-8")
    lines = terminal.table(report).splitlines()
    assert all(len(line) <= terminal.WIDTH for line in lines)
    assert any(line.split()[:4] == ["arm", "users", "turns", "TTFS"] for line in lines)
    assert "hybrid* 1 40 320.3 338.3" in " ".join(" ".join(lines).split())


def test_a_run_that_does_not_tell_shows_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PICTURES", ())
    run_dir = runs.write(tmp_path, [Block("hybrid", 1, [200.0] * 40, tier="local")])
    report = build.report(run_dir, SLO)
    assert report.details.heard == ()
    write.write_all(report, run_dir)
    for name in ("report.html", "report.md"):
        assert "TTFSC" not in (run_dir / name).read_text(encoding="utf-8")
    assert "TTFSC" not in terminal.table(report)
