"""``firsttoken report``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firsttoken.cli.report import report
from firsttoken.core.errors import UserError
from tests.reports import runs
from tests.reports.runs import Block, lognormal

app = typer.Typer()
app.command()(report)


@pytest.mark.parametrize(
    ("median_ms", "n", "calibrated", "code"),
    [(200, 400, True, 0), (900, 400, True, 1), (200, 20, True, 3), (200, 400, False, 4)],
)
def test_exit_code_is_the_verdict(
    tmp_path: Path, median_ms: float, n: int, calibrated: bool, code: int
) -> None:
    calibration = runs.calibrated() if calibrated else []
    runs.write(tmp_path, [Block("hybrid", 20, lognormal(median_ms, n))], calibration=calibration)
    result = CliRunner().invoke(app, [str(tmp_path), "--json"])
    assert result.exit_code == code
    printed = json.loads(result.stdout)
    assert printed == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def test_table_is_printed(tmp_path: Path) -> None:
    runs.write(tmp_path, [Block("hybrid", 20, lognormal(200, 400))])
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 0
    assert "PASS: hybrid, 20 users: TTFT p95" in result.stdout
    assert (tmp_path / "report.html").exists()


def test_killed_run(tmp_path: Path) -> None:
    runs.write_parts(tmp_path, [Block("hybrid", 20, lognormal(900, 400))], cut=True)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 1
    assert "the run was cut short" in result.stdout


def test_no_run_is_a_user_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(result.exception, UserError)
    assert "run.json" in str(result.exception)
