"""What is drawn: gaps, stacks, buckets, states, and whole pictures, opened and looked into."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dashboards.boards import boards
from dashboards.boards.frame import as_json
from dashboards.preview import Window, render
from dashboards.preview.curves import Scene, gridded, stacked, text_on
from dashboards.preview.fields import Field
from dashboards.preview.layout import WIDTH, box, height
from dashboards.preview.model import Look, Place, panels
from dashboards.preview.render import DRAWINGS, MADE_BY, points, stretched
from dashboards.preview.source import Series
from dashboards.preview.spread import buckets, runs
from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from tests.dashboards.preview.answers import BLUE, GREEN, RED, STEPS, Answers, Values, board, panel

WINDOW = Window(1_000_000.0, 1_000_600.0, 5.0)
SCENE = Scene(Window(0.0, 50.0, 5.0), 10.0)
WAVES: Values = {
    "local": lambda place: 0.3 + 0.2 * math.sin(9 * place),
    "remote": lambda _: 0.8,
}


def field(times: tuple[float, ...], values: tuple[float, ...], **labels: str) -> Field:
    return Field("x", "A", Series(labels, times, values), Look())


def opened(picture: bytes) -> Image.Image:
    return Image.open(io.BytesIO(picture)).convert("RGB")


def share_of(picture: Image.Image, colour: str, place: Place) -> float:
    """Return the share of a panel's pixels that are nearly of a colour."""
    where = box(place)
    part = np.asarray(
        picture.crop((int(where.x), int(where.y), int(where.right), int(where.bottom))), dtype=int
    )
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return float((np.abs(part - wanted).max(axis=2) < 12).mean())


def test_a_missing_step_is_a_gap() -> None:
    times, values = gridded(field((0, 10, 40, 50), (1, 2, 3, 4)), SCENE)
    assert times.tolist() == [0, 10, 20, 40, 50]
    assert np.isnan(values).tolist() == [False, False, True, False, False]


def test_a_stack_adds_up_and_has_nothing_outside_of_its_values() -> None:
    times, layers = stacked([field((10, 20, 30), (1, 1, 1)), field((20,), (2,))], SCENE)
    assert times.tolist() == [0, 10, 20, 30, 40, 50]
    top = layers[-1]
    assert np.isnan(top).tolist() == [True, False, False, False, True, True]
    assert top[1:4].tolist() == [1, 3, 1]


def test_buckets_are_parted() -> None:
    edges, cells = buckets(
        [
            field((0, 10), (5, 5), le="+Inf"),
            field((0, 10), (1, 2), le="0.2"),
            field((0, 10), (4, 2), le="0.4"),
        ],
        SCENE,
    )
    assert edges == [0.2, 0.4, math.inf]
    assert cells[:, 0].tolist() == [1, 3, 1]
    assert cells[:, 1].tolist() == [2, 0, 3]


def test_a_state_lasts_until_another_or_a_gap() -> None:
    found = runs(field((0, 10, 20, 40, 50), (0, 0, 2, 2, 2)), SCENE)
    assert found == [(0, 20, 0), (20, 30, 2), (40, 50, 2)]


def test_what_happened_is_a_stretch() -> None:
    assert stretched((0, 5, 10, 40), 5) == [(0, 10), (40, 40)]


def test_letters_can_be_read_on_every_colour() -> None:
    assert text_on("#ffffff") == text_on("#e3b23c") == "#1b1f24"
    assert text_on("#000000") == text_on(BLUE) == "#ffffff"


def test_a_wider_panel_has_more_points() -> None:
    narrow, wide = panels(board(panel("timeseries", w=6), panel("timeseries", w=24)))
    assert 10 <= points(narrow) < points(wide) < 1000


@pytest.mark.parametrize("kind", DRAWINGS)
@pytest.mark.parametrize("form", ["png", "svg"])
def test_every_kind_of_panel_is_drawn_and_the_same_each_time(kind: str, form: Any) -> None:
    waves = Answers({"0.2": lambda _: 1.0, "0.4": lambda _: 2.0, "+Inf": lambda _: 2.5}, "le")
    source = waves if kind == "heatmap" else Answers(WAVES)
    told = board(panel(kind))
    picture = render(told, source, WINDOW, form)
    assert picture == render(told, source, WINDOW, form)
    if form == "png":
        assert opened(picture).size == (WIDTH, height(panels(told)))
    else:
        assert picture.startswith(b"<?xml")
        assert b"dc:date" not in picture


def test_a_figure_has_the_colour_of_its_threshold() -> None:
    told = panel("stat", w=6, h=4, options={"colorMode": "background"})
    well, ill = (
        opened(render(board(told), Answers({"local": lambda _, v=v: v}), WINDOW))  # type: ignore[misc]
        for v in (0.3, 0.6)
    )
    place = Place(0, 0, 6, 4)
    assert share_of(well, GREEN, place) > 0.5
    assert share_of(well, RED, place) < 0.01
    assert share_of(ill, RED, place) > 0.5


def test_a_curve_has_the_colour_of_its_override() -> None:
    override = {
        "matcher": {"id": "byRegexp", "options": "/^local/"},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": BLUE}}],
    }
    config = {"defaults": {"thresholds": {"steps": STEPS}}, "overrides": [override]}
    config["defaults"]["custom"] = {"lineWidth": 4}  # type: ignore[index]
    picture = opened(render(board(panel("timeseries", fieldConfig=config)), Answers(WAVES), WINDOW))
    assert share_of(picture, BLUE, Place(0, 0, 12, 8)) > 0.005


def test_a_panel_without_values_says_so_in_the_boards_words() -> None:
    empty = render(board(panel("stat")), Answers({}), WINDOW, "svg")
    other = render(
        board(panel("stat", defaults={"noValue": "none ended"})), Answers({}), WINDOW, "svg"
    )
    assert b"no traffic" in empty
    assert b"none ended" in other


def test_it_says_who_drew_it() -> None:
    assert MADE_BY == "preview, not Grafana"
    assert MADE_BY.encode() in render(board(), Answers({}), WINDOW, "svg")


def test_rows_and_texts_have_no_queries() -> None:
    row: dict[str, Any] = {
        "type": "row",
        "title": "a row",
        "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1},
    }
    closed = {**row, "title": "closed", "gridPos": {"x": 0, "y": 1, "w": 24, "h": 1}}
    closed |= {"panels": [panel("stat")]}
    text = panel("text", y=2, w=24, h=3)
    text |= {"targets": [], "options": {"content": "# Some **bold** [words](http://x)"}}
    source = Answers(WAVES)
    drawn = render(board(row, closed, text), source, WINDOW, "svg")
    assert source.asked == []
    assert b"closed  (1 panels)" in drawn
    assert b"Some bold words" in drawn


def test_a_panel_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="a preview draws no 'piechart'"):
        render(board(panel("piechart")), Answers(WAVES), WINDOW)


def test_annotations_are_asked_for_and_drawn() -> None:
    listed = [{"name": "Alerts", "enable": True, "expr": "ALERTS", "iconColor": RED}]
    source = Answers(WAVES)
    told = board(panel("timeseries"), annotations={"list": listed})
    with_them = render(told, source, WINDOW)
    assert source.asked[0] == "ALERTS"
    assert with_them != render(board(panel("timeseries")), source, WINDOW)


@pytest.mark.parametrize("each", boards(slo_room.load()), ids=lambda each: each.name)
def test_every_board_of_ours_is_drawn(each: Any) -> None:
    source = Answers({"0.4": lambda place: place, "+Inf": lambda _: 1.0}, "le")
    told = as_json(each)
    picture = opened(render(told, source, WINDOW))
    assert picture.size == (WIDTH, height(panels(told)))
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 20


def test_a_variable_is_at_its_opening_value_unless_it_is_chosen() -> None:
    told = panel("timeseries")
    told["targets"][0]["expr"] = "x offset $earlier"
    listed = {"list": [{"name": "earlier", "type": "custom", "query": "10m,1h"}]}
    source = Answers(WAVES)
    for chosen in ({}, {"earlier": "5m"}):
        render(board(told, templating=listed), source, WINDOW, "png", chosen)
    assert source.asked == ["x offset 10m", "x offset 5m"]
