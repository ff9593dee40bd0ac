"""The tables behind the pictures: bands of prompt length, stretches of time, incidents."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import REQUESTS
from reports import heat_map, load
from reports.figure_parts import apart
from reports.over_time import INCIDENT_BINS, STRETCHES, over_time
from tests.reports import runs
from tests.reports.runs import Block

TARGET = 400.0


def _changed(run_dir: Path, blocks: list[Block], **columns: list[Any]) -> load.RunData:
    """Write a run whose requests have ``columns`` set, and read it."""
    runs.write(run_dir, blocks, with_attempts=False)
    table = pq.read_table(run_dir / "requests.parquet")
    for name, values in columns.items():
        field = REQUESTS.field(name)
        place = table.schema.get_field_index(name)
        table = table.set_column(place, field, pa.array(values, type=field.type))
    pq.write_table(table, run_dir / "requests.parquet")
    return load.read(run_dir)


@pytest.mark.parametrize(
    ("shortest", "longest", "edges"),
    [
        (60, 60, [48, 64]),
        (60, 64, [48, 64, 96]),
        (0, 3, [0, 16]),
        (40, 160, [32, 48, 64, 96, 128, 192]),
        (40, 3_000, [32, 64, 128, 256, 512, 1024, 2048, 4096]),
    ],
)
def test_bands_are_as_fine_as_eight_allow(shortest: int, longest: int, edges: list[int]) -> None:
    assert heat_map.band_edges(shortest, longest) == edges


@pytest.mark.parametrize("longest", [10, 1_000, 40_000, 2_000_000, 2**30])
def test_bands_hold_every_length_and_are_never_more_than_eight(longest: int) -> None:
    edges = heat_map.band_edges(0, longest)
    assert edges[0] == 0
    assert edges[-1] > longest
    assert len(edges) - 1 <= heat_map.MOST_BANDS
    assert edges == sorted(set(edges))


def test_a_cell_of_the_map_holds_the_requests_of_its_band(tmp_path: Path) -> None:
    blocks = [Block("hybrid", 5, [100.0, 200.0, 300.0, 900.0, None], tier="local")]
    data = _changed(tmp_path, blocks, prompt_tokens=[40, 47, 48, 100, None])
    short, middle, long, unknown = heat_map.prompt_cells(data, TARGET)
    assert [item.band for item in (short, middle, long, unknown)] == [
        "32–47",
        "48–63",
        "96–127",
        "unknown",
    ]
    assert (short.n, short.ttft_p50_ms, short.ttft_p95_ms) == (2, 100.0, 200.0)
    assert middle.ttft_p95_ms == 300.0
    assert long.ttft_p95_ms == 900.0
    assert (unknown.n, unknown.ttft_p95_ms) == (1, math.inf)


def test_no_known_prompt_makes_no_map(tmp_path: Path) -> None:
    data = _changed(tmp_path, [Block("hybrid", 5, [None, None])])
    assert heat_map.prompt_cells(data, TARGET) == ()


def test_stretches_follow_the_clock_and_hold_every_request(tmp_path: Path) -> None:
    slow_then_fast = [900.0 if index < 100 else 100.0 for index in range(200)]
    after = [150.0] * 30
    blocks = [Block("hybrid", 5, slow_then_fast, tier="local"), Block("local_only", 5, after)]
    found = over_time(_changed(tmp_path, blocks), TARGET)
    assert found is not None
    mine = [item for item in found.stretches if item.arm == "hybrid"]
    assert sum(item.n for item in found.stretches) == 230
    assert sum(item.tiers["local"] for item in found.stretches) == 230
    assert [item.start_s for item in mine] == sorted(item.start_s for item in mine)
    assert (mine[0].start_s, mine[0].ttft_p50_ms, mine[-1].ttft_p95_ms) == (0.0, 900.0, 100.0)
    assert next(item for item in found.stretches if item.arm == "local_only").start_s == 17.0
    assert found.incidents == ()


def test_a_stretch_of_few_requests_claims_no_p95(tmp_path: Path) -> None:
    found = over_time(_changed(tmp_path, [Block("hybrid", 5, [100.0] * 19)]), TARGET)
    assert found is not None
    assert [(item.n, item.ttft_p50_ms, item.ttft_p95_ms) for item in found.stretches] == [
        (19, 100.0, None)
    ]
    assert found.stretches[0].tiers == {"unknown": 19}


def test_arms_that_take_turns_are_blocks_of_their_own(tmp_path: Path) -> None:
    # Two rounds: the second begins a hundred seconds after the first.
    blocks = [Block("hybrid", 5, [100.0] * 40, tier="local", seconds=10)]
    sent = [
        runs.ORIGIN + (index if index < 20 else index + 100) * NS_PER_S // 2 for index in range(40)
    ]
    data = _changed(tmp_path, blocks, t_send_ns=sent, block=[0] * 20 + [2] * 20)
    found = over_time(data, TARGET)
    assert found is not None
    assert [(item.start_s, item.n) for item in found.stretches] == [(0.0, 20), (60.0, 20)]
    assert found.stretches[0].end_s < 10


def test_incidents_are_counted_where_they_happened(tmp_path: Path) -> None:
    # A request every 0.5 s: the cloud steps in from 5 s on, its backup from 10 s on.
    blocks = [
        Block("hybrid", 5, [100.0] * 28 + [None] * 2, tier="local", error_type="connect"),
    ]
    data = _changed(
        tmp_path,
        blocks,
        tier=["local"] * 10 + ["remote"] * 18 + ["none"] * 2,
        backend=["local"] * 10 + ["cloud"] * 10 + ["backup"] * 8 + ["none"] * 2,
        reason=["default_local"] * 10 + ["failover"] * 10 + ["all_others_failed"] * 8 + [None] * 2,
    )
    found = over_time(data, TARGET)
    assert found is not None
    by_kind = {item.kind: item for item in found.incidents}
    assert list(by_kind) == [
        "failed: connect",
        "failover",
        "all_others_failed",
        "remote: backup for cloud",
    ]
    assert (by_kind["failover"].count, by_kind["failover"].first_s) == (10, 5.0)
    assert by_kind["failed: connect"].last_s == 14.5
    assert by_kind["failover"].at == tuple((5.0 + second, 2) for second in range(5))
    assert by_kind["remote: backup for cloud"].first_s == 10.0


def test_the_tables_of_a_long_run_stay_small(tmp_path: Path) -> None:
    n = 40_000
    ttft: list[float | None] = [None if index % 10 == 0 else 200.0 for index in range(n)]
    found = over_time(_changed(tmp_path, [Block("hybrid", 5, ttft, seconds=7_200)]), TARGET)
    assert found is not None
    assert 100 < len(found.stretches) <= STRETCHES
    assert sum(item.n for item in found.stretches) == n
    assert len(found.incidents[0].at) <= INCIDENT_BINS + 1
    assert sum(count for _, count in found.incidents[0].at) == found.incidents[0].count == n // 10


def test_a_run_without_a_steady_request_lies_on_no_clock(tmp_path: Path) -> None:
    data = _changed(tmp_path, [Block("hybrid", 5, [100.0], phase="warmup")])
    assert over_time(data, TARGET) is None


def test_names_are_moved_apart_within_their_room() -> None:
    assert apart([1.0, 1.1, 5.0], 0.5, 0.0, 9.0) == [1.0, 1.5, 5.0]
    assert apart([0.0, 0.0], 1.0, 0.5, 9.0) == [0.5, 1.5]
    assert apart([9.0, 8.9, 2.0], 1.0, 0.0, 9.0) == [9.0, 8.0, 2.0]
    assert apart([], 1.0, 0.0, 1.0) == []
