"""Names, looks and colours of series, and tables made of them."""

from __future__ import annotations

import math

import pytest

from dashboards.preview.fields import (
    Field,
    Window,
    ask,
    colours,
    named,
    shade,
    span,
    table,
)
from dashboards.preview.model import Look, Panel, Place, Target, Threshold, colour_of, marks, panels
from dashboards.preview.source import Series
from firsttoken.core.errors import UserError
from tests.dashboards.preview.answers import BLUE, GREEN, ORANGE, RED, Answers, board, panel

SERIES = Series({"__name__": "x", "tier": "local", "backend": "b"}, (1.0, 2.0), (0.2, 0.6))
COLOUR = {"id": "color", "value": {"mode": "fixed", "fixedColor": BLUE}}


def only(told: dict[str, object]) -> Panel:
    return panels(board(told))[0]


def test_names() -> None:
    assert named("{{tier}} {{ backend }} p95 {{none}}", SERIES) == "local b p95 "
    assert named("", SERIES) == 'x{tier="local", backend="b"}'


def test_an_override_takes_the_fields_that_its_matcher_picks() -> None:
    overrides = [
        {"matcher": {"id": "byRegexp", "options": "/^local\\b.*/"}, "properties": [COLOUR]},
        {
            "matcher": {"id": "byName", "options": "limit"},
            "properties": [
                {"id": "unit", "value": "bytes"},
                {"id": "custom.lineWidth", "value": 5},
            ],
        },
        {
            "matcher": {"id": "byFrameRefID", "options": "B"},
            "properties": [{"id": "displayName", "value": "renamed"}],
        },
    ]
    config = {"defaults": {"unit": "s"}, "overrides": overrides}
    read = only(panel("timeseries", fieldConfig=config))
    assert read.look_of("local one", "A").colour == BLUE
    assert read.look_of("locality", "A").colour is None
    assert read.look_of("limit", "A").unit == "bytes"
    assert read.look_of("limit", "A").custom["lineWidth"] == 5
    assert read.look_of("limit", "B").name == "renamed"


def test_the_colour_of_a_value_is_that_of_the_step_it_reaches() -> None:
    look = only(panel("stat")).look
    assert [look.value_colour(value) for value in (-1.0, 0.4, 0.5, 9.0)] == [GREEN, GREEN, RED, RED]
    assert Look().value_colour(1.0) is None


def test_words_stand_for_values() -> None:
    options = {"0": {"text": "closed", "color": GREEN}, "2": {"text": "open"}}
    mapping = {"type": "value", "options": options}
    look = only(panel("state-timeline", defaults={"mappings": [mapping]})).look
    assert look.text(0) == "closed"
    assert look.value_colour(0) == GREEN
    assert look.text(2) == "open"


def test_a_series_has_the_colour_that_the_board_asks_for() -> None:
    steps = (Threshold(-math.inf, GREEN), Threshold(0.5, RED))
    assert Look(colour_mode="thresholds", thresholds=steps).series_colour(0, 0.6) == RED
    assert Look(colour_mode="fixed", colour=BLUE).series_colour(3, 0.6) == BLUE
    assert Look().series_colour(0, 1) != Look().series_colour(1, 1)
    assert colour_of("dark-red") == colour_of("red")
    assert colour_of("no-such") == colour_of("blue")


def test_one_tiers_backends_differ_in_lightness() -> None:
    shaded = Look(colour_mode="shades", colour=ORANGE)
    fields = [Field(name, "A", SERIES, shaded) for name in ("remote a", "remote b", "remote c")]
    assert colours(fields)[0] == ORANGE
    assert len(set(colours(fields))) == 3
    assert shade("#000000", 1) == "#737373"


@pytest.mark.parametrize(
    ("how", "value"), [("last", 0.6), ("mean", 0.4), ("max", 0.6), ("min", 0.2), ("sum", 0.8)]
)
def test_reductions(how: str, value: float) -> None:
    assert Field("x", "A", SERIES, Look()).reduced(how) == pytest.approx(value)


def test_a_reduction_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match="stdDev: a preview cannot reduce to it"):
        Field("x", "A", SERIES, Look()).reduced("stdDev")


def test_a_query_is_asked_with_its_variables_put_in() -> None:
    source = Answers({"local": lambda _: 1.0})
    told = only(panel("timeseries", interval="30s"))
    window = Window(0, 600, 5)
    fields = ask(told, source, window, {}, 300)
    assert source.asked == ["up[35s]"]
    assert [field.name for field in fields] == ["local"]
    assert span(told, window, 300).step == 30


def test_hidden_queries_are_not_asked() -> None:
    hidden = {"refId": "B", "expr": "secret", "hide": True}
    told = panel("stat")
    told["targets"].append(hidden)
    assert [target.ref for target in only(told).targets] == ["A"]


def test_annotations_that_are_shown() -> None:
    listed = [
        {"name": "Alerts", "enable": True, "expr": "ALERTS", "iconColor": RED},
        {"name": "off", "enable": False, "expr": "x"},
        {"name": "built in", "enable": True},
    ]
    told = marks(board(annotations={"list": listed}))
    assert [(mark.name, mark.colour) for mark in told] == [("Alerts", RED)]


def _value(ref: str, value: float, **labels: str) -> Field:
    return Field("", ref, Series(labels, (1.0,), (value,)), Look())


TABLE = Panel(
    "table",
    "",
    Place(0, 0, 12, 8),
    targets=(Target("A", "", "", instant=True),),
    look=Look(unit="percentunit", decimals=0),
    transformations=(
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True, "job": True},
                "renameByName": {"tier": "Tier", "Value #B": "Share"},
                "indexByName": {"Value #B": 0},
            },
        },
    ),
)


def test_a_table_merges_queries_and_hides_and_renames() -> None:
    made = table(
        TABLE,
        [
            _value("A", 0.5, tier="local", job="x"),
            _value("A", 0.25, tier="remote", job="x"),
            _value("B", 1.0, tier="local", job="x"),
        ],
        0,
    )
    assert made.header == ("Share", "Tier", "Value #A")
    assert made.rows == (("100%", "local", "50%"), ("", "remote", "25%"))


def test_a_table_of_one_query_has_one_column_of_values() -> None:
    made = table(TABLE, [_value("A", 0.5, tier="local")], 0)
    assert made.header == ("Tier", "Value")
