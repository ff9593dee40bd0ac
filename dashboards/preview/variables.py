"""The variables of a query, put in as Grafana does: a board's own, and those of time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_DURATION = re.compile(r"(\d+)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600)
"""Seconds between two points, as far as Grafana's own choice goes."""

EVERYTHING = ".+"


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as ``90s`` or ``1h30m``; 0 where it is none."""
    return sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))


def duration(seconds: float) -> str:
    """Return a duration as PromQL reads it, in whole seconds or, below one, milliseconds."""
    return f"{seconds:.0f}s" if seconds >= 1 else f"{max(1, round(seconds * 1000))}ms"


def step(range_s: float, points: int, least_s: float) -> float:
    """Return the seconds between two points: no more than ``points``, none closer than
    ``least_s``."""
    wanted = max(range_s / max(1, points), least_s)
    return next((float(each) for each in _STEPS if each >= wanted), wanted)


def rate_window(step_s: float, scrape_s: float) -> float:
    """Return ``$__rate_interval``: the step and one scrape, at least four scrapes; seconds."""
    return max(step_s + scrape_s, 4 * scrape_s)


def of_time(range_s: float, step_s: float, scrape_s: float) -> dict[str, str]:
    """Return the variables that Grafana makes of a time range."""
    return {
        "__rate_interval": duration(rate_window(step_s, scrape_s)),
        "__interval": duration(step_s),
        "__range": duration(range_s),
        "__range_s": f"{range_s:.0f}",
    }


def of_board(board: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a board at the values it opens with."""
    listed = (board.get("templating") or {}).get("list") or []
    return {each["name"]: _opening(each) for each in listed if each.get("type") != "datasource"}


def _opening(variable: Mapping[str, Any]) -> str:
    current = (variable.get("current") or {}).get("value")
    value = current[0] if isinstance(current, list) and current else current
    if value in (None, "", "$__all", "All") and variable.get("includeAll"):
        return str(variable.get("allValue") or EVERYTHING)
    if value not in (None, ""):
        return str(value)
    options = variable.get("options") or []
    if options:
        return str(options[0].get("value", ""))
    first = str(variable.get("query") or "").split(",")[0]
    return first.rpartition(":")[2].strip()


def put_in(query: str, values: Mapping[str, str]) -> str:
    """Return the query with its variables replaced; one that is not known stays as it is."""

    def value(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2], match[0])

    return _VARIABLE.sub(value, query)
