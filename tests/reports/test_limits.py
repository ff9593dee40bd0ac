"""The resource that ran out is named from its figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import BlockResult, Manifest
from reports.limits import Evidence, Resource, evidence, limiting_resource
from tests.reports import runs
from tests.reports.runs import Block
from tests.reports.test_comparison import numbered

QUIET = Evidence(cores=2, engine_cores=0.9, host_cores=1.1, generator_cores=0.1, ttft_p95_ms=600)


@pytest.mark.parametrize(
    ("changes", "resource", "figure"),
    [
        ({}, Resource.UNKNOWN, "nothing"),
        ({"engine_cores": 1.85}, Resource.PROCESSOR, "the engine used 1.85 of 2 cores"),
        ({"engine_cores": None, "host_cores": 1.95}, Resource.PROCESSOR, "1.95 of 2 cores"),
        ({"router_queue_p95_ms": 300}, Resource.ENGINE_SLOTS, "300 ms at p95"),
        ({"router_queue_p95_ms": 60}, Resource.UNKNOWN, "nothing"),
        ({"engine_wait_p95_ms": 500}, Resource.ENGINE_SLOTS, "inside the engine"),
        ({"memory_share": 0.95}, Resource.MEMORY, "95.00 %"),
        ({"generator_cores": 0.7}, Resource.UNKNOWN, "nothing"),
        ({"generator_cores": 0.7, "host_cores": 1.95}, Resource.GENERATOR, "0.70 of 2 cores"),
        ({"steal_share": 0.2, "engine_cores": 2.0}, Resource.HELD_BACK, "20.00 %"),
        ({"late": 10, "late_remote": 8}, Resource.UPSTREAM, "8 of 10"),
        ({"late": 10, "late_remote": 2}, Resource.UNKNOWN, "nothing"),
    ],
)
def test_it_is_named(changes: dict[str, float], resource: Resource, figure: str) -> None:
    found = limiting_resource(replace(QUIET, **changes))  # type: ignore[arg-type]
    assert found.resource is resource
    assert figure in found.why


def test_what_is_spent_beside_it_is_named_too() -> None:
    found = limiting_resource(
        replace(QUIET, engine_cores=2.0, router_queue_p95_ms=400, late=4, late_remote=4)
    )
    assert found.resource is Resource.PROCESSOR
    assert [line.partition(":")[0] for line in found.also] == ["engine slots", "remote service"]


def test_the_evidence_is_that_of_the_block_alone(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 5, [100.0] * 100, tier="local"),
        Block("hybrid", 20, [*[500.0] * 60, *[2_000.0] * 40], tier="remote"),
    ]
    numbered(runs.write(tmp_path, blocks))
    host = pq.read_table(tmp_path / "host.parquet").to_pandas()
    second = runs.ORIGIN + 17 * NS_PER_S
    host.loc[host["t_ns"] > second, "engine_cpu"] = 1.99
    host.to_parquet(tmp_path / "host.parquet")
    manifest = Manifest.read(tmp_path)
    times = {"started_ns": second, "steady_ns": second, "stop_ns": second + 15 * NS_PER_S}
    result = BlockResult(
        **{name: 0 for name in BlockResult.__dataclass_fields__ if name != "worker"},  # type: ignore[arg-type]
    )
    times["ended_ns"] = second + 16 * NS_PER_S
    block = replace(result, number=1, arm="hybrid", **times)  # type: ignore[arg-type]
    replace(manifest, blocks=[block]).write(tmp_path)
    seen = evidence(tmp_path, [1], 400)
    assert seen.engine_cores == pytest.approx(1.99)
    assert (seen.late, seen.late_remote) == (100, 100)
    assert seen.ttft_p95_ms == 2_000
    assert seen.engine_wait_p95_ms is None
    assert limiting_resource(seen).resource is Resource.PROCESSOR
