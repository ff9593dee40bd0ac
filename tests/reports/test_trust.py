"""Rules on whether machine and generator were fit to measure with, each at its limit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.records import BlockResult
from firsttoken.core.words import Verdict
from reports import build, trust
from reports.trust import Usage
from tests.reports.runs import ORIGIN, Block, lognormal, manifest, write

BLOCK = BlockResult(
    number=0,
    arm="target",
    step_users=20,
    planned_rate=None,
    started_ns=ORIGIN,
    steady_ns=ORIGIN,
    stop_ns=ORIGIN + 12_000_000_000,
    ended_ns=ORIGIN,
    requests=100,
    errors=0,
    ttft_p50_ms=200.0,
    ttft_p95_ms=300.0,
    tokens_counted_here=0,
    loop_lag_p99_ms=3.0,
    loop_lag_max_ms=9.0,
    generator_cpu=0.1,
)
QUIET = Usage(4.0, 3.9, 0.2, 3.4, 0.1, None, pinned=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"loop_lag_p99_ms": 20.0}, ""),
        ({"loop_lag_p99_ms": 20.1}, "event loop was late by p99 20.1 ms at 20 users"),
        ({"generator_cpu": 0.95}, "saturated at 20 users: it used 0.95"),
    ],
)
def test_a_generator_that_cannot_keep_up(changes: dict[str, Any], says: str) -> None:
    faults = trust.generator_faults([BLOCK, replace(BLOCK, **changes)], 20)
    assert bool(faults) == bool(says)
    assert says in "".join(faults)


@pytest.mark.parametrize(
    ("cores", "foreign", "trusted"),
    [
        (4.0, 0.25, True),
        (4.0, 0.26, False),
        (64.0, 3.1, True),
        (64.0, 3.3, False),
        (4.0, None, True),
    ],
)
def test_other_programs(cores: float, foreign: float | None, trusted: bool) -> None:
    usage = QUIET._replace(cores=cores, foreign=foreign, foreign_program="rustc")
    faults = trust.foreign_faults(usage, 20)
    assert (faults == []) is trusted
    assert trusted or "most of it rustc" in faults[0]


@pytest.mark.parametrize(
    ("changes", "noted", "trusted"),
    [
        ({}, False, True),
        ({"generator": 0.5}, True, True),
        ({"generator": 1.1}, False, False),
        ({"generator": 1.1, "pinned": True}, False, True),
        ({"generator": 1.1, "host": 3.0}, False, True),
        ({"generator": 1.1, "engine": None}, False, True),
    ],
    ids=["little", "worth a note", "too much", "pinned", "cores to spare", "engine elsewhere"],
)
def test_a_generator_that_eats_the_engines_cores(
    changes: dict[str, Any], noted: bool, trusted: bool
) -> None:
    usage = QUIET._replace(**changes)
    assert (trust.sharing_faults(usage, 20) == []) is trusted
    notes = trust.notes(manifest([Block("target", 20, [1.0])]), {("target", 20): usage})
    assert bool(notes) is noted


def test_a_saturated_step_cannot_pass(tmp_path: Path) -> None:
    slo = slo_room.load()
    requests = [Block("target", 20, lognormal(150, 400))]
    for settled, verdict in ((True, Verdict.PASS), (False, Verdict.INCONCLUSIVE)):
        folder = tmp_path / str(settled)
        write(folder, requests)
        replace(manifest(requests), blocks=[replace(BLOCK, settled=settled)]).write(folder)
        report = build.report(folder, slo)
        assert report.verdict is verdict
        assert any("saturated" in gap for gap in report.gaps) is not settled


def test_a_late_event_loop_is_untrusted_and_named(tmp_path: Path) -> None:
    requests = [Block("target", 20, lognormal(150, 400))]
    write(tmp_path, requests)
    late = replace(BLOCK, loop_lag_p99_ms=30.0, ended_by="cap")
    replace(manifest(requests), blocks=[late]).write(tmp_path)
    report = build.report(tmp_path, slo_room.load())
    assert report.verdict is Verdict.UNTRUSTED
    assert "event loop" in report.reasons[-1]
    assert any("stopped at the cap after 12 s" in gap for gap in report.gaps)
