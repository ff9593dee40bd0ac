"""The pure parts of a run over several load generators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.errors import UserError
from firsttoken.core.records import (
    REQUESTS,
    STAMPS,
    BlockResult,
    batch_to_bytes,
    batches_from_bytes,
    rows_from_mappings,
    shift_stamps,
)
from firsttoken.load.distributed import messages
from firsttoken.load.distributed.merge import merge, on_run_clock
from firsttoken.load.distributed.messages import Trip, offset_of
from firsttoken.load.meter import quantile
from firsttoken.load.schedules.turn import Share

BLOCK = BlockResult(
    number=3,
    arm="hybrid",
    step_users=5,
    planned_rate=None,
    started_ns=100,
    steady_ns=200,
    stop_ns=300,
    ended_ns=400,
    requests=4,
    errors=1,
    ttft_p50_ms=1.0,
    ttft_p95_ms=2.0,
    tokens_counted_here=0,
    loop_lag_p99_ms=1.5,
    loop_lag_max_ms=2.5,
    generator_cpu=0.25,
    worker="worker-0",
)


@given(
    offset=st.integers(-(10**15), 10**15),
    there=st.integers(0, 10**15),
    ways=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1),
)
def test_the_offset_is_never_further_off_than_it_says(
    offset: int, there: int, ways: list[tuple[int, int]]
) -> None:
    """The clock of the run is ahead of the worker's by ``offset``, whatever the way takes."""
    trips = [
        Trip(there + offset - out, there, there + offset + back)  # one question, one answer
        for out, back in ways
    ]
    found = offset_of(trips)
    assert abs(found.offset_ns - offset) <= found.error_ns
    assert found.error_ns == min(out + back + 1 for out, back in ways) // 2


@given(users=st.integers(0, 50), of=st.integers(1, 8))
def test_shares_hold_every_talker_once(users: int, of: int) -> None:
    shares = [[user for user in range(users) if Share(i, of).holds(user)] for i in range(of)]
    assert sorted(user for share in shares for user in share) == list(range(users))
    assert max(map(len, shares)) == Share(0, of).count(users)


def test_counts_add_up_and_quantiles_are_those_of_all_replies() -> None:
    first, second = [10.0, 20.0, 30.0], [200.0]
    other = replace(BLOCK, requests=1, errors=0, ended_ns=500, loop_lag_max_ms=9.0, worker="w")
    whole = merge([BLOCK, other], first + second)
    assert (whole.requests, whole.errors, whole.generator_cpu) == (5, 1, 0.5)
    assert (whole.ended_ns, whole.loop_lag_max_ms, whole.worker) == (500, 9.0, "")
    assert whole.ttft_p95_ms == quantile(first + second, 0.95) == 200.0
    assert (whole.scheduled, whole.late) == (None, None)
    starts = [replace(BLOCK, scheduled=10, late=1, dropped=2) for _ in range(3)]
    whole = merge(starts, [])
    assert (whole.scheduled, whole.late, whole.dropped) == (30, 3, 6)
    assert whole.ttft_p50_ms is None


def test_stamps_move_to_the_clock_of_the_run_and_durations_stay() -> None:
    moved = on_run_clock(BLOCK, -1000)
    assert (moved.started_ns, moved.ended_ns) == (-900, -600)
    assert moved.ended_ns - moved.started_ns == BLOCK.ended_ns - BLOCK.started_ns
    row: dict[str, Any] = dict.fromkeys(STAMPS, 5_000) | {"t_first_sentence_ns": None}
    words = {"run_id": "r", "arm": "a", "session_id": "s", "request_id": "r-1"}
    row |= {**words, "phase": "steady", "outcome": "success"}
    row |= {"step_users": 1, "turn": 0, "ttft_ms": 12.5}
    columns = zip(*rows_from_mappings("requests", [row]), strict=True)
    arrays = [pa.array(c, type=f.type) for c, f in zip(columns, REQUESTS, strict=True)]
    batch = pa.record_batch(arrays, schema=REQUESTS)
    (received,) = batches_from_bytes(batch_to_bytes(batch), "requests")
    assert received.equals(batch)
    (shifted,) = shift_stamps(received, 7).to_pylist()
    stamps = {name: None if row[name] is None else 5_007 for name in STAMPS}
    assert shifted == {**dict.fromkeys(REQUESTS.names), **row, **stamps}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cannot be read"),
        (b"nonsense" * 50, "cannot be read"),
        (batch_to_bytes(pa.record_batch({"x": [1]})), "not of the table requests"),
    ],
)
def test_rows_that_are_none_are_refused(data: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says):
        batches_from_bytes(data, "requests")


def test_a_folder_is_shared_where_the_masters_token_is(tmp_path: Path) -> None:
    messages.write_token(tmp_path, "one")
    assert messages.shares_folder(tmp_path, "one")
    assert not messages.shares_folder(tmp_path, "another")
    assert not messages.shares_folder(tmp_path / "elsewhere", "one")
    messages.remove_token(tmp_path)
    assert not messages.shares_folder(tmp_path, "one")
