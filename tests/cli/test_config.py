"""``firsttoken config validate`` and ``config show``, run as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsttoken.cli import config
from firsttoken.core.settings import DEFAULT_PATH

SECRET = "sk-never-shown-0123456789"
runner = CliRunner()


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("FIRSTTOKEN__", "LOCAL_LLM_", "LLM_HYBRID")) or name.endswith(
            "_API_KEY"
        ):
            monkeypatch.delenv(name)


def test_validate_says_ok_with_warnings_and_notes() -> None:
    result = runner.invoke(config.app, ["validate", str(DEFAULT_PATH)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"OK: {DEFAULT_PATH}: backends in use: local"
    kinds = [line.split(": ")[0] for line in lines[1:]]
    assert kinds == sorted(kinds, reverse=True)
    assert set(kinds) == {"warning", "note"}
    assert f"warning: {DEFAULT_PATH}:" in lines[1]


def test_validate_ends_with_2_and_one_line_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("server:\n  prot: 1\nengine:\n  slots: 0\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "firsttoken.cli.main", "config", "validate", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        f'firsttoken: {path}:2: server.prot: unknown key; did you mean "port"?'
    )
    assert lines[1].startswith(
        f"firsttoken: {path}:4: engine.slots: is too small; expected at least 1"
    )


def test_show_is_an_aligned_table_that_does_not_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LOCAL_LLM_PRIORITY", "60")
    result = runner.invoke(config.app, ["show"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    settings_lines = lines[: lines.index("")]
    value_column, key_column = settings_lines[0].index("VALUE"), settings_lines[0].index("KEY")
    assert key_column == 0
    for line in settings_lines[1:]:
        assert line[value_column - 1] == " "
        assert line[value_column] != " "
    row = next(
        line for line in settings_lines if line.startswith("llm_routing.local_model.priority")
    )
    assert row.split()[1] == "60"
    assert row.endswith("environment variable LOCAL_LLM_PRIORITY")
    assert any(line.endswith(" default") for line in settings_lines)
    assert "warning: " in result.stderr


def test_show_never_shows_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_API_KEY", SECRET)
    for arguments in (["show"], ["show", "--json"]):
        result = runner.invoke(config.app, arguments)
        assert "set (from QWEN_API_KEY)" in result.stdout
        assert "not set (OPENAI_API_KEY)" in result.stdout
        assert SECRET not in result.output


def test_show_json_is_json_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("server: {port: 4711}\n", encoding="utf-8")
    result = runner.invoke(config.app, ["show", "--config", str(path), "--json"])
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    rows = {row["key"]: row for row in shown["settings"]}
    assert rows["server.port"] == {"key": "server.port", "value": 4711, "source": f"{path}:1"}
    assert rows["engine.slots"]["source"] == "default"
    assert [backend["name"] for backend in shown["backends"]] == ["local"]
    assert len(shown["hash"]) == 64
