"""The generated files, and the verbs that write and check them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from dashboards import build, provisioning
from dashboards.rules.model import USUAL
from firsttoken.cli.main import app
from firsttoken.core import settings, slo

SETTINGS = settings.load(None, {})
MADE = build.files(slo.load(None, SETTINGS), SETTINGS)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dashboards", *arguments])
    return result.exit_code, result.output


def test_two_builds_are_the_same_bytes() -> None:
    assert build.files(slo.load(None, SETTINGS), SETTINGS) == MADE


def test_the_committed_files_are_what_would_be_generated() -> None:
    assert list(build.stale(build.GENERATED, MADE)) == []


def test_boards_are_written_with_sorted_keys() -> None:
    for name, content in MADE.items():
        if name.endswith(".json"):
            board = json.loads(content)
            again = json.dumps(board, ensure_ascii=False, indent=2, sort_keys=True)
            assert content == again.encode() + b"\n"


def test_build_and_check_agree(tmp_path: Path) -> None:
    code, said = run("build", "--out", str(tmp_path / "new"))
    assert (code, f"{len(MADE)} files" in said) == (0, True)
    code, said = run("check", "--out", str(tmp_path / "new"))
    assert code == 0
    assert "7 boards pass 27 rules" in said


@pytest.mark.parametrize("damage", ["missing", "changed", "old"])
def test_check_finds_a_stale_folder(tmp_path: Path, damage: str) -> None:
    shutil.copytree(build.GENERATED, tmp_path, dirs_exist_ok=True)
    board = tmp_path / build.BOARDS / "overview.json"
    match damage:
        case "missing":
            board.unlink()
        case "changed":
            board.write_bytes(board.read_bytes() + b" ")
        case _:
            board.with_name("gone.json").write_text("{}")
    code, said = run("check", "--out", str(tmp_path))
    assert code == 1
    assert ("gone.json" if damage == "old" else "overview.json") in said


def test_check_fails_where_a_board_breaks_a_rule() -> None:
    name = f"{build.BOARDS}/overview.json"
    board = json.loads(MADE[name])
    board["editable"] = True
    found = build.findings({name: json.dumps(board).encode()})
    assert [each.rule for each in found] == ["uneditable-dashboard-rule"]


def test_targets_of_a_file_reach_the_boards(tmp_path: Path) -> None:
    targets = tmp_path / "slo.yaml"
    targets.write_text("targets: { ttft_p95_ms: 300 }\n")
    code, _ = run("build", "--slo", str(targets), "--out", str(tmp_path / "out"))
    assert code == 0
    assert 'le=\\"0.3\\"' in (tmp_path / "out" / build.BOARDS / "overview.json").read_text()


def test_grafana_is_told_the_scrape_interval_and_a_fixed_uid() -> None:
    source = YAML().load(MADE[f"{build.PROVISIONING}/datasources/firsttoken.yaml"])
    found = source["datasources"][0]
    assert found["uid"] == provisioning.DATASOURCE_UID
    assert found["jsonData"]["timeInterval"] == f"{USUAL.scrape}s"
    provider = YAML().load(MADE[f"{build.PROVISIONING}/dashboards/firsttoken.yaml"])["providers"][0]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True


def test_an_unknown_board_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["dashboards", "preview", "--board", "nope", "--out", str(tmp_path)]
    )
    assert "expected one of overview" in str(result.exception)
