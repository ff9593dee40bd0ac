"""A source whose answers are made up, and boards of a few panels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dashboards.preview.source import Series, Span

Values = Mapping[str, Callable[[float], float]]
"""By the value of the label ``tier``: a function of the place in the window, 0 to 1."""

BLUE, ORANGE, GREEN, RED = "#2a7fc0", "#d9730d", "#3f9c57", "#c2453d"
STEPS = [{"color": GREEN, "value": None}, {"color": RED, "value": 0.5}]


class Answers:
    """Answers each query with the same series; remembers what was asked."""

    def __init__(self, values: Values, label: str = "tier") -> None:
        self._values = values
        self._label = label
        self.asked: list[str] = []

    def instant(self, query: str, at: float) -> list[Series]:
        """Return the values at the end."""
        self.asked.append(query)
        return [Series({self._label: n}, (at,), (f(1.0),)) for n, f in self._values.items()]

    def over(self, query: str, span: Span) -> list[Series]:
        """Return a value for each step."""
        self.asked.append(query)
        count = int((span.end - span.start) / span.step) + 1
        places = [number / (count - 1) for number in range(count)]
        times = tuple(span.start + number * span.step for number in range(count))
        return [
            Series({self._label: name}, times, tuple(curve(place) for place in places))
            for name, curve in self._values.items()
        ]


def panel(
    kind: str, x: int = 0, y: int = 0, w: int = 12, h: int = 8, **more: Any
) -> dict[str, Any]:
    """Return the JSON of a panel with one query."""
    defaults = {"unit": "s", "noValue": "no traffic", "thresholds": {"steps": STEPS}}
    target: dict[str, Any] = {
        "refId": "A",
        "expr": "up[$__rate_interval]",
        "legendFormat": "{{tier}}",
    }
    target["instant"] = kind in {"stat", "bargauge", "table"}
    return {
        "type": kind,
        "title": f"a {kind}",
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "targets": [target],
        "fieldConfig": {"defaults": {**defaults, **more.pop("defaults", {})}, "overrides": []},
        "options": {},
        **more,
    }


def board(*panels: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the JSON of a board."""
    return {"title": "a board", "panels": list(panels), **more}
