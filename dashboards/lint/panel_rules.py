"""Checks of panels, under the ids of Grafana's dashboard-linter, for every type that has data."""

from __future__ import annotations

from collections.abc import Iterator

from dashboards.lint.view import Panel, View

UNITS = frozenset(
    {
        "none", "string", "short", "percent", "percentunit", "sci", "locale",
        "bytes", "decbytes", "bits", "decbits", "kbytes", "mbytes", "gbytes",
        "Bps", "binBps", "bps", "binbps", "pps", "KBs", "MBs", "GBs",
        "dateTimeAsIso", "dateTimeAsSystem", "dateTimeAsLocal", "dateTimeFromNow",
        "hertz", "ns", "µs", "ms", "s", "m", "h", "d", "dtdurationms", "dtdurations", "dthms",
        "dtdhms", "cps", "ops", "reqps", "rps", "wps", "iops", "cpm", "opm", "rpm", "wpm",
        "currencyUSD", "currencyEUR", "currencyCNY", "currencyGBP", "currencyJPY", "celsius",
        "watt", "watth", "bool", "bool_yes_no", "bool_on_off",
    }
)  # fmt: skip
"""Units that Grafana knows by these ids: those a board of ours may ever need."""


def with_data(board: View) -> list[Panel]:
    """Return the panels that show data."""
    return [panel for panel in board.panels if panel.type != "text"]


def panel_datasource(board: View) -> Iterator[str]:
    """Panels take their data from the source that the reader chose."""
    names = {f"${{{source.get('name')}}}" for source in board.sources}
    names |= {f"${source.get('name')}" for source in board.sources}
    for panel in with_data(board):
        if panel.datasource not in names:
            yield f"{panel.title}: the data source is {panel.datasource!r}, no variable"


def panel_title_description(board: View) -> Iterator[str]:
    """Panels say what they are."""
    for panel in with_data(board):
        if not panel.title or not panel.description:
            yield f"{panel.title or panel.json.get('id')}: title or description is missing"


def panel_units(board: View) -> Iterator[str]:
    """Panels have a unit that Grafana knows."""
    for panel in with_data(board):
        units = [panel.defaults.get("unit")] + [
            each.get("value")
            for override in panel.overrides
            for each in override.get("properties", [])
            if each.get("id") == "unit"
        ]
        strange = [unit for unit in units if unit not in UNITS]
        if strange:
            yield f"{panel.title}: the unit {strange[0]!r} is not known"


def panel_no_targets(board: View) -> Iterator[str]:
    """Panels ask for something."""
    for panel in with_data(board):
        if not panel.targets:
            yield f"{panel.title}: there is no query"
