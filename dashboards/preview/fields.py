"""What the queries of a panel gave, as fields with a name and a look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dashboards.preview import variables
from dashboards.preview.model import Look, Panel, Target
from dashboards.preview.source import Series, Source, Span
from firsttoken.core.errors import UserError

MOST_FIELDS = 60
"""Of one panel; what comes after is not drawn."""

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Field:
    """One series of a panel."""

    name: str
    ref: str
    """Of the target that gave it."""
    series: Series
    look: Look

    @property
    def last(self) -> float:
        """The newest value."""
        return self.series.values[-1]

    def reduced(self, how: str) -> float:
        """Return one number for the series: ``last``, ``mean``, ``max``, ``min`` or ``sum``.

        Raises:
            UserError: the board asks for another one.
        """
        values = self.series.values
        known = {
            "last": values[-1],
            "lastNotNull": values[-1],
            "mean": sum(values) / len(values),
            "max": max(values),
            "min": min(values),
            "sum": sum(values),
        }
        if how not in known:
            raise UserError(f"{how}: a preview cannot reduce to it; expected {', '.join(known)}")
        return known[how]


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a preview shows; Unix seconds."""

    start: float
    end: float
    scrape_s: float = 5.0
    """Between two scrapes: what ``$__rate_interval`` is made of."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start


def span(panel: Panel, window: Window, points: int) -> Span:
    """Return when a panel asks for values: ``points`` at most, none closer than it allows."""
    least = max(variables.seconds_of(panel.interval), window.scrape_s)
    step = variables.step(window.seconds, points, least)
    return Span(window.start, window.end, step)


def ask(
    panel: Panel, source: Source, window: Window, values: Mapping[str, str], points: int
) -> list[Field]:
    """Ask the queries of a panel; return its fields in Grafana's order.

    Args:
        panel: whose queries are asked.
        source: whom.
        window: about which time.
        values: the board's variables.
        points: of each series at most.

    Raises:
        UserError: a query is refused, or nobody answers.
    """
    asked = span(panel, window, points)
    known = {**variables.of_time(window.seconds, asked.step, window.scrape_s), **values}

    def answers(target: Target) -> list[Series]:
        query = variables.put_in(target.query, known)
        if target.instant:
            return source.instant(query, window.end)
        return source.over(query, asked)

    return list(_fields(panel, ((each, answers(each)) for each in panel.targets)))[:MOST_FIELDS]


def _fields(panel: Panel, told: Iterable[tuple[Target, Sequence[Series]]]) -> Iterator[Field]:
    for target, series in told:
        for each in sorted(series, key=lambda one: sorted(one.labels.items())):
            name = named(target.legend, each)
            look = panel.look_of(name, target.ref)
            yield Field(look.name or name, target.ref, each, look)


def named(legend: str, series: Series) -> str:
    """Return the name of a series: ``{{label}}`` of the legend replaced, or all of its labels."""
    if not legend or legend == "__auto":
        return series.name
    return _LABEL.sub(lambda match: series.labels.get(match[1], ""), legend)


def colours(fields: Sequence[Field]) -> list[str]:
    """Return the colour of each field; fields of one shaded colour differ in lightness."""
    found: list[str] = []
    shades: dict[str, int] = {}
    for place, field in enumerate(fields):
        colour = field.look.series_colour(place, field.last)
        if field.look.shaded:
            number = shades.get(colour, 0)
            shades[colour] = number + 1
            colour = shade(colour, number)
        found.append(colour)
    return found


def shade(colour: str, number: int) -> str:
    """Return the ``number``-th shade of ``#rrggbb``: itself, then lighter and darker in turn."""
    share = (0.0, 0.45, -0.35, 0.65, -0.55)[number % 5]
    towards = 255 if share > 0 else 0
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part + (towards - part) * abs(share)):02x}" for part in parts)


@dataclass(frozen=True, slots=True)
class Table:
    """What a table panel shows: texts, and the colour of a cell where it has one."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(panel: Panel, fields: Sequence[Field], now: float) -> Table:
    """Lay out instant values as a table: the transformations ``merge`` and ``organize``.

    Rows of several queries are one where their labels are the same.
    """
    refs = list(dict.fromkeys(field.ref for field in fields))
    value_of = {ref: "Value" if len(refs) == 1 else f"Value #{ref}" for ref in refs}
    labels = list(dict.fromkeys(name for field in fields for name in field.series.labels))
    hidden, renamed, order = _organized(panel)
    kept = [each for each in (*labels, *value_of.values()) if each not in hidden]
    shown = sorted(kept, key=lambda name: order.get(name, len(order) + kept.index(name)))
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for field in fields:
        told = {name: field.series.labels.get(name, "") for name in labels}
        # What is hidden tells no rows apart.
        key = tuple(value for name, value in told.items() if name not in hidden)
        column = value_of[field.ref]
        look = panel.look_of(renamed.get(column) or column, field.ref)
        rows.setdefault(key, told)[column] = look.text(field.last, now)
    return Table(
        tuple(renamed.get(name) or name for name in shown),
        tuple(tuple(row.get(name, "") for name in shown) for row in rows.values()),
    )


def _organized(panel: Panel) -> tuple[set[str], Mapping[str, str], Mapping[str, int]]:
    hidden = {"Time", "__name__"}
    renamed: dict[str, str] = {}
    order: dict[str, int] = {}
    for each in panel.transformations:
        if each.get("id") == "organize":
            options = each.get("options") or {}
            hidden |= {name for name, out in (options.get("excludeByName") or {}).items() if out}
            renamed |= options.get("renameByName") or {}
            order |= options.get("indexByName") or {}
    return hidden, renamed, order
