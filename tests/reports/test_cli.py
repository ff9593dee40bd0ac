"""``firsttoken report``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firsttoken.cli.report import report
from firsttoken.core.errors import UserError
from reports import figures
from tests.reports import runs
from tests.reports.runs import Block, lognormal

app = typer.Typer()
app.command()(report)


@pytest.fixture(autouse=True)
def _one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a report's time, and says nothing of the command line."""
    monkeypatch.setattr(figures, "PICTURES", figures.PICTURES[:1])


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


def _several(tmp_path: Path) -> list[str]:
    """Write a run that passes, one that fails, and one with too few requests; the best first."""
    folders = []
    for name, median_ms, n in (("good", 200, 400), ("few", 200, 20), ("slow", 900, 400)):
        run_dir = runs.write(tmp_path / name, [Block("hybrid", 20, lognormal(median_ms, n))])
        folders.append(str(run_dir))
    return folders


def test_several_runs_end_with_the_worst(tmp_path: Path) -> None:
    folders = _several(tmp_path)
    result = CliRunner().invoke(app, folders)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["PASS", "INCONCLUSIVE", "FAIL"]
    assert all(folder in line for folder, line in zip(folders, lines, strict=True))
    assert all((Path(folder) / "report.html").exists() for folder in folders)
    assert CliRunner().invoke(app, folders[:2]).exit_code == 3


def test_several_runs_as_json_are_a_list(tmp_path: Path) -> None:
    folders = _several(tmp_path)
    printed = json.loads(CliRunner().invoke(app, [*folders, "--json"]).stdout)
    assert [item["verdict"] for item in printed] == ["PASS", "INCONCLUSIVE", "FAIL"]


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    good, *_ = _several(tmp_path)
    result = CliRunner().invoke(app, [good, str(tmp_path / "none"), "--json"])
    assert isinstance(result.exception, UserError)
    assert "none is no folder" in str(result.exception)
    assert [item["verdict"] for item in json.loads(result.stdout)] == ["PASS"]
