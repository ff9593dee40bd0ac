"""Previews of boards that were watched live, and the command that draws them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from dashboards.boards import boards
from dashboards.boards.frame import as_json
from dashboards.preview import Prometheus, Window, render
from dashboards.preview.layout import WIDTH
from firsttoken.cli import dashboards
from firsttoken.core import slo as slo_room
from tests.dashboards.live import Live

pytestmark = pytest.mark.timeout(240)


def test_a_board_is_drawn_from_real_values_the_same_each_time(live: Live) -> None:
    overview = as_json(boards(slo_room.load())[0])
    window = Window(live.start, live.end, 1.0)
    with Prometheus(live.prometheus) as source:
        first, second = (render(overview, source, window) for _ in range(2))
    assert first == second
    assert Image.open(io.BytesIO(first)).size[0] == WIDTH


def test_the_command_draws_the_boards_that_are_named(live: Live, tmp_path: Path) -> None:
    options = ["--prometheus", live.prometheus, "--out", str(tmp_path / "new"), "--minutes", "2"]
    names = ["--board", "routing", "--board", "health", "--scrape-seconds", "1"]
    names += ["--variable", "backend=local"]
    result = CliRunner().invoke(dashboards.app, ["preview", *options, *names])
    assert result.exit_code == 0, result.output
    pictures = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in pictures] == ["health.png", "routing.png"]
    assert all(Image.open(path).size[0] == WIDTH for path in pictures)


def test_a_board_that_there_is_not_is_refused() -> None:
    result = CliRunner().invoke(dashboards.app, ["preview", "--board", "none"])
    assert "expected one of overview" in str(result.exception)


def test_a_variable_without_a_value_is_refused() -> None:
    result = CliRunner().invoke(dashboards.app, ["preview", "--variable", "backend"])
    assert "--variable: expected NAME=VALUE" in str(result.exception)
