"""From grafanalib's shape to today's."""

from __future__ import annotations

import copy
import json
from typing import Any

from grafanalib import core as grafana
from grafanalib._gen import DashboardEncoder
from hypothesis import given
from hypothesis import strategies as st

from dashboards.modernize import SCHEMA_VERSION, modernize
from dashboards.modernize import panel as modern

_KEYS = st.sampled_from(
    ["title", "type", "fieldConfig", "defaults", "overrides", "thresholds", "steps", "value",
     "options", "legend", "displayMode", "panels", "span", "gnetId", "templating", "list",
     "custom", "useTags", "index", "fieldOptions"]
)  # fmt: skip
_LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["null", "hidden", "x"])
_ANY = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_STEP = st.fixed_dictionaries(
    {"color": st.just("red"), "value": st.none() | st.just("null") | st.floats(0, 9)},
    optional={"op": st.just("gt"), "index": st.integers(0, 3), "line": st.booleans()},
)
_PANEL = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["stat", "timeseries", "bargauge", "heatmap", "table", "text", "row"]
        )
    },
    optional={
        "title": st.text(max_size=5),
        "span": _ANY,
        "tooltip": _ANY,
        "description": _ANY,
        "targets": st.lists(st.dictionaries(_KEYS, _ANY, max_size=2), max_size=2),
        "fieldConfig": st.fixed_dictionaries(
            {},
            optional={
                "defaults": st.fixed_dictionaries(
                    {},
                    optional={
                        "thresholds": st.fixed_dictionaries(
                            {}, optional={"steps": st.lists(_STEP, max_size=3)}
                        ),
                        "custom": st.dictionaries(_KEYS, _ANY, max_size=3),
                        "noValue": _ANY,
                    },
                ),
                "overrides": st.none() | st.lists(st.dictionaries(_KEYS, _ANY), max_size=1),
            },
        ),
        "options": st.just([]) | st.dictionaries(_KEYS, _ANY, max_size=4),
    },
)
_BOARD = st.fixed_dictionaries(
    {},
    optional={
        "panels": st.lists(_PANEL, max_size=3),
        "rows": _ANY,
        "title": _ANY,
        "links": _ANY,
        "templating": st.fixed_dictionaries(
            {"list": st.lists(st.dictionaries(_KEYS, _ANY, max_size=3), max_size=2)}
        ),
    },
)


@given(_BOARD)
def test_a_second_time_changes_nothing(board: dict[str, Any]) -> None:
    once = modernize(board)
    assert modernize(once) == once


@given(_BOARD)
def test_what_it_is_given_stays_as_it_is(board: dict[str, Any]) -> None:
    before = copy.deepcopy(board)
    modernize(board)
    assert board == before


def written(panel: grafana.Panel) -> dict[str, Any]:
    board = grafana.Dashboard(title="x", panels=[panel])
    found: dict[str, Any] = modernize(
        json.loads(json.dumps(board.to_json_data(), cls=DashboardEncoder))
    )["panels"][0]
    return found


def test_a_board_of_grafanalib_loses_its_old_keys_and_its_nulls() -> None:
    plain = grafana.Dashboard(title="x").to_json_data()
    board = modernize(json.loads(json.dumps(plain, cls=DashboardEncoder)))
    assert board["schemaVersion"] == SCHEMA_VERSION
    assert not {"rows", "style", "gnetId", "__inputs", "sharedCrosshair"} & board.keys()
    assert None not in board.values()


def test_grafanalibs_thresholds_become_numbers() -> None:
    steps = [grafana.Threshold("green", 0, 0.0), grafana.Threshold("red", 1, 80.0)]
    panel = written(grafana.Stat(title="x", thresholds=steps))
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"] == [
        {"color": "green", "value": None},
        {"color": "red", "value": 80.0},
    ]


def test_a_bar_gauge_gets_the_options_of_today() -> None:
    panel = written(grafana.BarGauge(title="x"))
    assert "fieldOptions" not in panel["options"]
    assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]


def test_a_heatmap_keeps_nothing_of_before_grafana_9() -> None:
    panel = written(grafana.Heatmap(title="x"))
    assert panel["options"] == {}
    assert panel["fieldConfig"]["overrides"] == []
    assert not {"cards", "dataFormat", "xAxis", "yAxis", "heatmap"} & panel.keys()


def test_a_hidden_legend_is_hidden_in_todays_words() -> None:
    panel = written(grafana.TimeSeries(title="x", legendDisplayMode="hidden"))
    assert panel["options"]["legend"]["showLegend"] is False
    assert panel["options"]["legend"]["displayMode"] == "list"


def test_a_tables_cells_have_options_of_their_own() -> None:
    custom = written(grafana.Table(title="x", displayMode="auto"))["fieldConfig"]["defaults"]
    assert custom["custom"]["cellOptions"] == {"type": "auto"}
    assert "displayMode" not in custom["custom"]


def test_panels_of_a_collapsed_row_are_brought_up_to_date_too() -> None:
    row = modern({"type": "row", "title": "x", "panels": [{"type": "stat", "span": 4}]})
    assert "span" not in row["panels"][0]
