"""Checks that Grafana's linter does not have: what our boards promise beyond it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dashboards import theme
from dashboards.lint.dimensions import ALLOWED, dimension
from dashboards.lint.known import histogram_or_self, labels
from dashboards.lint.panel_rules import with_data
from dashboards.lint.tree import grouping, matchers, selectors, walk
from dashboards.lint.view import View
from dashboards.panels import COLUMNS
from firsttoken.core.words import Tier

PANELS_AT_MOST = 20
_PARTS_OF_DESCRIPTION = ("\n\n**Good:** ", "\n\n**Otherwise:** ")
_LEGEND_LABEL = re.compile(r"\{\{(\w+)\}\}")
_NAMED_BY_TIER = {Tier.LOCAL: theme.LOCAL, Tier.REMOTE: theme.REMOTE}


def metric_known(board: View) -> Iterator[str]:
    """Every metric is in the catalogue, or Prometheus' own."""
    for panel, target in board.targets():
        for node, _ in selectors(target.parsed):
            if histogram_or_self(node.name or "") is None:
                yield f"{panel.title}: there is no metric {node.name}"


def label_known(board: View) -> Iterator[str]:
    """Every label in a matcher, a grouping or a legend belongs to a metric of the query."""
    for panel, target in board.targets():
        everywhere: set[str] = set()
        for node, _ in selectors(target.parsed):
            has = labels(node.name or "")
            everywhere |= has
            for label in matchers(node).keys() - has:
                yield f"{panel.title}: {node.name} has no label {label}"
        named = {label for node, _ in walk(target.parsed) for label in grouping(node)}
        named |= set(_LEGEND_LABEL.findall(str(target.json.get("legendFormat", ""))))
        for label in sorted(named - everywhere):
            yield f"{panel.title}: no metric of the query has the label {label}"


def bucket_edge_kept(board: View) -> Iterator[str]:
    """A quantile is made of buckets that kept their edge."""
    for panel, target in board.targets():
        for node, _ in walk(target.parsed):
            if getattr(getattr(node, "func", None), "name", "") != "histogram_quantile":
                continue
            sums = [each for each, _ in walk(node.args[1]) if grouping(each) and _sums(each)]
            if any("le" not in grouping(each) for each in sums):
                yield f"{panel.title}: the buckets lose le before histogram_quantile()"


def unit_fits(board: View) -> Iterator[str]:
    """The unit of a panel is that of its queries: no seconds on an axis of shares."""
    for panel, target in board.targets():
        unit = str(panel.defaults.get("unit"))
        shown = dimension(target.parsed)
        if shown not in ALLOWED.get(unit, frozenset()):
            yield f"{panel.title}: the unit {unit} does not show {dict(shown) or 'a number'}"


def description_complete(board: View) -> Iterator[str]:
    """A description says what is shown, what is good, and what to do otherwise."""
    for panel in with_data(board):
        if any(part not in panel.description for part in _PARTS_OF_DESCRIPTION):
            yield f"{panel.title}: the description lacks what is good or what to do otherwise"


def field_defaults(board: View) -> Iterator[str]:
    """Decimals, minimum, words for no data and thresholds are set, none left to Grafana."""
    for panel in with_data(board):
        missing = {"decimals", "min", "noValue", "thresholds"} - panel.defaults.keys()
        if missing:
            yield f"{panel.title}: {', '.join(sorted(missing))} not set"
        steps = panel.defaults.get("thresholds", {}).get("steps", [])
        if not steps or steps[0].get("value") is not None or not _rising(steps):
            yield f"{panel.title}: the thresholds do not rise from one without a value"


def tier_colours(board: View) -> Iterator[str]:
    """Local is blue and remote orange wherever series bear the name of their tier."""
    for panel, target in board.targets():
        by_tier = str(target.json.get("legendFormat", "")).startswith("{{tier}}")
        if not by_tier or panel.type != "timeseries":
            continue
        for tier, colour in _NAMED_BY_TIER.items():
            found = {
                each["value"]["fixedColor"]
                for override in panel.overrides
                if str(override["matcher"]["options"]).startswith(f"/^{tier}\\b")
                or str(override["matcher"]["options"]).startswith(f"/^{tier} ")
                for each in override["properties"]
                if each["id"] == "color"
            }
            if not found & _shades(colour):
                yield f"{panel.title}: {tier} is not drawn in its colour"


def no_datasource_literal(board: View) -> Iterator[str]:
    """No data source is named by its own uid anywhere: the board works on every Grafana."""
    for path, value in _datasources(board.json, "board"):
        uid = value.get("uid") if isinstance(value, dict) else value
        if uid != "${datasource}":
            yield f"{path}: the data source is {uid!r}"


def layout(board: View) -> Iterator[str]:
    """Panels do not overlap, fit the grid, have ids of their own, and are few enough to read."""
    if len(with_data(board)) > PANELS_AT_MOST:
        yield f"{len(with_data(board))} panels; at most {PANELS_AT_MOST} can be read"
    taken: dict[tuple[int, int], Any] = {}
    for json in board.json.get("panels", []):
        place, title = json["gridPos"], json.get("title") or json.get("type")
        if place["x"] + place["w"] > COLUMNS:
            yield f"{title}: reaches past column {COLUMNS}"
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        if cells & taken.keys():
            yield f"{title}: lies over {taken[min(cells & taken.keys())]}"
        taken |= dict.fromkeys(cells, title)
    ids = [json.get("id") for json in board.json.get("panels", [])]
    if len(set(ids)) != len(ids):
        yield "two panels have one id"


def frame(board: View) -> Iterator[str]:
    """The board has a fixed uid and tags, shares its crosshair, and links to the others."""
    expected: dict[str, bool] = {
        "uid": bool(board.json.get("uid")),
        "tags": bool(board.json.get("tags")),
        "graphTooltip": board.json.get("graphTooltip") == 1,
        "links": any(each.get("includeVars") for each in board.json.get("links", [])),
        "annotations": bool(board.json.get("annotations", {}).get("list")),
        "backend and model variables": all(map(board.variable, ("backend", "model"))),
    }
    for key, found in expected.items():
        if not found:
            yield f"{key} not set"


def _sums(node: Any) -> bool:
    return str(getattr(node, "op", "")) == "sum"


def _rising(steps: list[dict[str, Any]]) -> bool:
    values = [step["value"] for step in steps[1:]]
    return all(isinstance(value, float | int) for value in values) and values == sorted(values)


def _shades(colour: str) -> set[str]:
    shares = (*theme.QUANTILES.values(), 0.0)
    return {theme.mixed(colour, share) for share in shares}


def _datasources(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "datasource":
                yield path, each
            else:
                yield from _datasources(each, f"{path}.{key}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _datasources(each, f"{path}[{place}]")
