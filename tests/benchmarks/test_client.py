"""The proof of the clock: what it compares, and a small recorder proof with real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.client import error, recorder, traps
from benchmarks.client.__main__ import Section, merged
from benchmarks.client.peers import OURS, peers
from firsttoken.core.errors import UserError
from firsttoken.core.records import consolidate, read_table

MS = 1_000_000


def truth_row(name: str, received_ms: int, first_ms: int, tokens: int = 10) -> dict[str, Any]:
    return {
        "request_id": name,
        "received_ns": received_ms * MS,
        "first_token_ns": (received_ms + first_ms) * MS,
        "ended_ns": (received_ms + first_ms + 100) * MS,
        "tokens": tokens,
    }


def test_error_is_joined_by_request_and_leaves_the_start_out() -> None:
    truth = [truth_row("early", 0, 200), truth_row("a", 2000, 200), truth_row("b", 2500, 300)]
    rows: list[dict[str, Any]] = [
        {"request_id": "early", "ttft_ms": 999.0, "ok": True},
        {"request_id": "a", "ttft_ms": 201.5, "first_ns": 2201 * MS, "ok": True},
        {"request_id": "b", "ttft_ms": None, "ok": False},
        {"request_id": "unknown", "ttft_ms": 5.0, "ok": True},
    ]
    load = error.compare("peer", 20, rows, truth)
    assert load.error_ms == pytest.approx([1.5])
    assert load.lag_ms == pytest.approx([1.0])
    assert load.failed == 1


def test_budgets_bind_our_own_client_alone() -> None:
    slow = [error.Load("other", 20, [50.0]), error.Load(OURS, 20, [2.9])]
    cheap = [error.Load("other", 20, cores=3.0), error.Load(OURS, 20, cores=0.09)]
    assert error.within_budgets(slow, cheap, OURS)
    assert not error.within_budgets([error.Load(OURS, 20, [3.1])], [], OURS)
    assert not error.within_budgets([], [error.Load(OURS, 20, cores=0.11)], OURS)
    assert not error.within_budgets([error.Load(OURS, 20, [])], [], OURS)
    assert "MISSED" in error.clock_table([error.Load(OURS, 20, [3.1])], OURS)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_quantile_is_a_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    found = error.quantile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


@given(st.integers(0, 500), st.integers(0, 500))
def test_tokens_of_adjoining_spans_add_up(left: int, right: int) -> None:
    truth = [truth_row("a", 0, 100, tokens=10), truth_row("b", 50, 100, tokens=20)]
    start, end = 0, 1000 * MS
    middle = min(left + right, 1000) * MS
    parts = error.tokens_between(truth, start, middle) + error.tokens_between(truth, middle, end)
    assert parts == pytest.approx(error.tokens_between(truth, start, end)) == pytest.approx(30)


def _finding(**changes: Any) -> traps.Finding:
    values: dict[str, Any] = {
        "ttft_ms": 501.0,
        "true_ttft_ms": 500.0,
        "text_ms": 501.0,
        "true_text_ms": 500.0,
        "e2e_ms": 901.0,
        "true_e2e_ms": 900.0,
        "tokens": 9,
        "true_tokens": 9,
        "ok": True,
        "true_ok": True,
    }
    return traps.Finding(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"ttft_ms": 1.0}, ["TTFT -499 ms"]),
        ({"ttft_ms": None}, ["no TTFT"]),
        ({"tokens": 3}, ["3 tokens"]),
        ({"e2e_ms": 1400.0}, ["E2E +500 ms"]),
        ({"ok": False}, ["took it for a failure"]),
        ({"true_ok": False}, ["took it for a success"]),
        ({"ok": False, "true_ok": False, "ttft_ms": None, "tokens": None}, []),
        ({"ok": False, "true_ok": False, "true_ttft_ms": None}, ["TTFT 501 ms of none"]),
    ],
)
def test_what_counts_as_wrong(changes: dict[str, Any], wrong: list[str]) -> None:
    assert _finding(**changes).wrong() == wrong


def test_a_place_that_is_no_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="bin/python"):
        peers({"guidellm": str(tmp_path)})
    assert next(peer.name for peer in peers({}) if peer.python) == OURS
    assert next(peer for peer in peers({}) if peer.name == "guidellm").python is None


def test_a_part_run_again_replaces_itself_alone() -> None:
    first = [
        Section("Recorder", "recorder", "old rows", held=True),
        Section("Traps", "traps", "t", held=True),
    ]
    page = merged("# Title\n\n", first)
    assert page.index("## Traps") < page.index("## Recorder")
    again = merged(f"# Title\n\n{page}\n", [Section("Recorder", "recorder", "new rows", held=True)])
    assert "new rows" in again
    assert "old rows" not in again
    assert again.count("## Traps") == 1


FAST = ("--users", "4", "--block", "0.4", "--settle", "0")


def test_recorder_beside_talkers_loses_nothing(tmp_path: Path) -> None:
    found = recorder.write(tmp_path, 20_000, 20_000, *FAST)
    assert found["rows"] == 20_000
    assert found["rows_per_s"] >= recorder.LEAST_RATE
    assert found["resident_late"] - found["resident_early"] < recorder.MOST_GROWTH
    consolidate(tmp_path)
    ids = read_table(tmp_path, "requests", ["request_id"]).column("request_id").to_pylist()
    assert ids == [f"proof-{number}" for number in range(20_000)]


def test_a_kill_costs_at_most_the_last_second(tmp_path: Path) -> None:
    killed = recorder.kill(tmp_path, 5_000, 1.6, *FAST)
    assert killed.given_before > 0
    assert killed.readable >= killed.given_before
