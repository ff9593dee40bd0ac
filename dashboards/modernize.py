"""Bring what grafanalib writes to the shape that current Grafanas read.

grafanalib writes boards of schema version 12 with panels of several generations, which Grafana
rewrites at every load and a schema check refuses. :func:`modernize` is a function from JSON to
JSON; applied twice it changes nothing more.
"""

from __future__ import annotations

from typing import Any

SCHEMA_VERSION = 42
"""Version of the board's shape: nothing is left for Grafana 12 to migrate."""

_LEGACY_BOARD = frozenset(
    {"__inputs", "gnetId", "hideControls", "id", "rows", "sharedCrosshair", "style"}
)
_LEGACY_PANEL = frozenset(
    {
        "cacheTimeout", "cards", "color", "columns", "dataFormat", "editable", "error", "fontSize",
        "heatmap", "height", "hideTimeOverride", "hideZeroBuckets", "highlightCards", "legend",
        "mappings", "maxPerRow", "minSpan", "repeat", "repeatDirection", "reverseYBuckets", "span",
        "thresholds", "tooltip", "xAxis", "xBucketNumber", "xBucketSize", "yAxis", "yBucketBound",
        "yBucketNumber", "yBucketSize",
    }
)  # fmt: skip
_LEGACY_VARIABLE = frozenset(
    {"auto", "auto_count", "auto_min", "tagValuesQuery", "tagsQuery", "useTags"}
)
_LEGACY_STEP = frozenset({"index", "line", "op", "yaxis"})
_ROW_HAS_NOT = frozenset(
    {"datasource", "fieldConfig", "links", "maxDataPoints", "options", "targets", "transformations"}
)
_TEXT_HAS_NOT = frozenset({"datasource", "fieldConfig", "maxDataPoints", "targets"})
_REDUCED = {"calcs": ["lastNotNull"], "fields": "", "values": False}

_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "percentChangeColorMode": "standard",
        "showPercentChange": False,
        "wideLayout": True,
    },
    "bargauge": {
        "maxVizHeight": 300,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "reduceOptions": _REDUCED,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    },
    "table": {"cellHeight": "sm", "showHeader": True},
    "text": {"mode": "markdown"},
}
"""Options that a type of panel has today and grafanalib does not write."""


def modernize(board: dict[str, Any]) -> dict[str, Any]:
    """Return the board in today's shape; what it is given stays as it is."""
    kept = {key: value for key, value in board.items() if key not in _LEGACY_BOARD}
    kept["schemaVersion"] = SCHEMA_VERSION
    kept["panels"] = [panel(each) for each in board.get("panels") or []]
    variables = (board.get("templating") or {}).get("list") or []
    kept["templating"] = {"list": [_without(_LEGACY_VARIABLE, variable) for variable in variables]}
    return {key: _pruned(value) for key, value in kept.items() if value is not None}


def panel(old: dict[str, Any]) -> dict[str, Any]:
    """Return one panel in today's shape."""
    kept = _without(_LEGACY_PANEL, old)
    kind = kept.get("type", "")
    if kind == "row":
        inner = [panel(each) for each in kept.get("panels") or []]
        return _without(_ROW_HAS_NOT, kept) | {"panels": inner}
    config = dict(kept.get("fieldConfig") or {})
    config["defaults"] = _defaults(config.get("defaults") or {})
    config["overrides"] = config.get("overrides") or []
    kept["fieldConfig"] = config
    options = kept.get("options")
    kept["options"] = _options(kind, options if isinstance(options, dict) else {})
    if kind == "text":
        kept = _without(_TEXT_HAS_NOT, kept)
    return kept


def _defaults(old: dict[str, Any]) -> dict[str, Any]:
    defaults = dict(old)
    thresholds = dict(defaults.get("thresholds") or {})
    steps = thresholds.get("steps") or []
    defaults["thresholds"] = {
        "mode": thresholds.get("mode") or "absolute",
        "steps": [_step(place, step) for place, step in enumerate(steps)],
    }
    custom = defaults.get("custom")
    if isinstance(custom, dict) and "displayMode" in custom:
        # A table's cell has options of its own since Grafana 10.
        shown = custom["displayMode"]
        defaults["custom"] = _without({"displayMode"}, custom) | {"cellOptions": {"type": shown}}
    return defaults


def _step(place: int, old: dict[str, Any]) -> dict[str, Any]:
    step = _without(_LEGACY_STEP, old)
    value = step.get("value")
    # The first step reaches from minus infinity, which JSON writes as null.
    step["value"] = None if place == 0 or value in (None, "null") else float(value)
    return step


def _options(kind: str, old: dict[str, Any]) -> dict[str, Any]:
    options = {**_OPTIONS.get(kind, {}), **_without({"fieldOptions"}, old)}
    if kind == "bargauge":
        options = _without({"showThresholdLabels", "showThresholdMarkers"}, options)
    legend = options.get("legend")
    if isinstance(legend, dict) and "displayMode" in legend:
        hidden = legend["displayMode"] == "hidden"
        options["legend"] = {
            "calcs": legend.get("calcs") or [],
            "displayMode": "list" if hidden else legend["displayMode"],
            "placement": legend.get("placement") or "bottom",
            "showLegend": legend.get("showLegend", True) and not hidden,
        }
    return options


def _without(keys: frozenset[str] | set[str], old: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in old.items() if key not in keys}


def _pruned(value: Any, *, step: bool = False) -> Any:
    """Drop what is null, but for the value of a threshold's first step."""
    if isinstance(value, dict):
        return {
            key: _pruned(each, step=key == "steps" or step)
            for key, each in value.items()
            if each is not None or (step and key == "value")
        }
    if isinstance(value, list):
        return [_pruned(each, step=step) for each in value]
    return value
