"""``firsttoken compare``: exit codes, files, and bad data in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firsttoken.cli.compare import compare
from firsttoken.core.errors import UserError
from tests.reports import runs
from tests.reports.runs import Block, lognormal

app = typer.Typer()
app.command()(compare)


def written(folder: Path, median_ms: float, users: int = 20, n: int = 200) -> Path:
    block = Block("hybrid", users, lognormal(median_ms, n))
    return runs.write(folder, [block], with_attempts=False, run_id=folder.name)


def test_the_files_and_the_terminal_tell_one_story(tmp_path: Path) -> None:
    one, other = written(tmp_path / "before", 200), written(tmp_path / "after", 300)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(one), str(other), "--out", str(out)])
    assert result.exit_code == 0, result.output
    kept = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    (pair,) = kept["comparisons"]
    p95 = next(item for item in pair["changes"] if item["label"] == "TTFT p95")
    assert p95["word"] == "slower"
    shift = f"{p95['relative'] * 100:+.1f} %"
    page = (out / "compare.html").read_text(encoding="utf-8")
    for shown in (result.stdout, page, (out / "compare.md").read_text(encoding="utf-8")):
        assert shift in shown
        assert f"{p95['candidate']:.1f}" in shown
        assert "slower" in shown
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 100
    # One file, nothing fetched, no script.
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "http://" not in page.replace("http://127.0.0.1", "")
    assert "<script" not in page


def test_json_is_what_is_written(tmp_path: Path) -> None:
    one, other = written(tmp_path / "before", 200), written(tmp_path / "after", 300)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(one), str(other), "--out", str(out), "--json"])
    assert result.exit_code == 0
    assert result.stdout == (out / "compare.json").read_text(encoding="utf-8")
    assert json.loads(result.stdout)["sides"][1]["name"] == "after"


def test_no_common_step_is_inconclusive(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a", 200, users=5), written(tmp_path / "b", 200, users=20)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(one), str(other), "--out", str(out)])
    assert result.exit_code == 3
    assert "INCONCLUSIVE: nothing could be compared" in result.stdout
    assert "INCONCLUSIVE" in (out / "compare.html").read_text(encoding="utf-8")
    assert json.loads((out / "compare.json").read_text())["verdict"] == "INCONCLUSIVE"


def test_a_hostile_name_cannot_break_the_page(tmp_path: Path) -> None:
    one = written(tmp_path / "a|<script>alert(1)<b>", 200)
    other = written(tmp_path / "b", 300)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(one), str(other), "--out", str(out)])
    assert result.exit_code == 0
    assert "<script" not in (out / "compare.html").read_text(encoding="utf-8")
    markdown = (out / "compare.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "a\\|" in markdown


def _old(folder: Path) -> None:
    path = folder / "run.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 0'))


def _cut(folder: Path) -> None:
    path = folder / "requests.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def _empty(folder: Path) -> None:
    (folder / "requests.parquet").unlink()


def _gone(folder: Path) -> None:
    (folder / "run.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_old, "schema_version is 0"),
        (_cut, "cannot read"),
        (_empty, "holds no request"),
        (_gone, "has no run.json"),
    ],
)
def test_bad_data_is_one_line(tmp_path: Path, damage: object, words: str) -> None:
    one, other = written(tmp_path / "before", 200), written(tmp_path / "after", 300)
    assert callable(damage)
    damage(other)
    result = CliRunner().invoke(app, [str(one), str(other)])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("arms", ["hybrid", "a,b,c", ",", "hybrid,hybrid"])
def test_arms_are_two_names(tmp_path: Path, arms: str) -> None:
    run = written(tmp_path / "run", 200)
    result = CliRunner().invoke(app, [str(run), "--arms", arms])
    assert isinstance(result.exception, UserError)
    assert arms in str(result.exception)
