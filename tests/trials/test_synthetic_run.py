"""Runs whose rows are drawn: whole enough to be reported on like real ones."""

from __future__ import annotations

from pathlib import Path

from firsttoken.core import slo as slo_room
from firsttoken.trials import synthetic_run
from reports import build


def test_a_drawn_run_can_be_reported_on(tmp_path: Path) -> None:
    report = build.report(synthetic_run.write(tmp_path, 6_000), slo_room.Slo())
    assert [cell.n + cell.left_out for cell in report.cells] == [500] * 12
    check = report.details.waterfall.check
    assert check.joined == check.routed > 1_900
    assert check.out_of_order == 0
    assert check.sum_within.value == 1.0
    assert report.data.doubts == ()
    assert "every row was drawn at random: nothing here was measured" in report.data.manifest.notes


def test_the_same_seed_gives_the_same_rows(tmp_path: Path) -> None:
    folders = [synthetic_run.write(tmp_path / name, 600) for name in "ab"]
    first, second = ((folder / "requests.parquet").read_bytes() for folder in folders)
    assert first == second
