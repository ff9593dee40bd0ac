"""The bars that the page draws itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from firsttoken.core import slo as slo_room
from reports import bars, build
from reports.phases import PHASES
from reports.statistics import Estimate
from reports.tables import CellStatistics
from tests.reports import runs
from tests.reports.runs import Block

BAND, TARGET = (200.0, 400.0), 400.0


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> CellStatistics:
    run_dir = runs.write(tmp_path_factory.mktemp("run"), [Block("hybrid", 20, [100.0] * 80)])
    return build.report(run_dir, slo_room.Slo()).cells[0]


def with_p95(cell: CellStatistics, value: float, low: float | None, high: float | None) -> object:
    return replace(cell, ttft_p95_ms=Estimate(value, low, high, 80))


def strip(*cells: object) -> bars.Strip:
    return bars.strip(cells, "hybrid", 20, BAND, TARGET)  # type: ignore[arg-type]


def test_places_rise_with_the_figures(cell: CellStatistics) -> None:
    shown = strip(with_p95(cell, 300, 250, 390), with_p95(cell, 900, 800, 1_000))
    first, second = shown.lines
    places = [shown.band[0], first.low, first.at, first.high, shown.target, second.low, second.at]
    assert places == sorted(places)
    assert shown.band[1] == shown.target
    assert second.at < second.high < 100
    assert [words for _, words in shown.ticks] == ["200 ms", "500 ms", "1 s"]


def test_never_stands_at_the_end_and_no_bound_leaves_it_open(cell: CellStatistics) -> None:
    never, open_ended = strip(
        with_p95(cell, math.inf, math.inf, math.inf), with_p95(cell, 300, None, None)
    ).lines
    assert (never.low, never.at, never.high) == (100, 100, 100)
    assert (open_ended.low, open_ended.high) == (0, 100)


def test_too_many_cells_leave_those_that_decide(cell: CellStatistics) -> None:
    cells = [
        replace(cell, arm=arm, step_users=users)
        for arm in ("hybrid", "local_only", "remote_only")
        for users in range(1, 21)
    ]
    shown = strip(*cells)
    assert len(shown.lines) == bars.MOST_LINES
    assert shown.left_out == 60 - bars.MOST_LINES
    assert {line.cell.arm for line in shown.lines if line.cell.step_users == 20} == {
        "hybrid",
        "local_only",
        "remote_only",
    }
    assert all(cells[line.number] is line.cell for line in shown.lines)


def test_every_phase_has_a_look_of_its_own(tmp_path: Path) -> None:
    rules = bars.phase_css().splitlines()
    assert all(any(rule.startswith(f".ph-{name}{{") for rule in rules) for name in PHASES)
    looks = [rule.split("{", 1)[1] for rule in rules]
    assert len(looks) == len(set(looks))
    report = build.report(runs.write(tmp_path, runs.three_arms(n=60)), slo_room.Slo())
    slow = report.details.waterfall.slowest
    longest = bars.longest_ms(slow)
    widths = [sum(width for _, width in bars.lengths(item, longest)) for item in slow]
    assert max(widths) == pytest.approx(100, abs=0.1)
    assert min(widths) > 0
