"""A board's JSON as values with types: as much of it as a preview draws."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dashboards.preview.units import formatted

PALETTE = (
    "#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0",
    "#508642", "#cca300", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477",
)  # fmt: skip
"""For series whose colour the board leaves open."""

NAMED = {
    "green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c",
    "blue": "#5794f2", "purple": "#b877d9", "text": "#1b1f24", "transparent": "#ffffff",
}  # fmt: skip
"""Grafana's names of colours; a shade such as ``dark-red`` is taken for its colour."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel stands on the grid of 24 columns."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    ref: str
    query: str
    legend: str
    instant: bool


@dataclass(frozen=True, slots=True)
class Threshold:
    """From ``value`` on a field has ``colour``."""

    value: float
    colour: str


@dataclass(frozen=True, slots=True)
class Look:
    """How a field is shown."""

    unit: str = "short"
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    empty: str = "No data"
    colour_mode: str = "palette-classic"
    colour: str | None = None
    thresholds: tuple[Threshold, ...] = ()
    texts: Mapping[float, tuple[str, str | None]] = field(default_factory=dict)
    """By value: the words shown for it, and their colour."""
    custom: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    def text(self, value: float, now: float = 0.0) -> str:
        """Return a value as people read it; ``now`` is what ages are counted to."""
        mapped = self.texts.get(value)
        return mapped[0] if mapped else formatted(value, self.unit, self.decimals, now)

    def threshold_colour(self, value: float) -> str | None:
        """Return the colour of the highest step that the value reaches."""
        reached = [each.colour for each in self.thresholds if value >= each.value]
        return reached[-1] if reached else None

    def value_colour(self, value: float) -> str | None:
        """Return the colour of a value: that of its words, else of its step."""
        mapped = self.texts.get(value)
        if mapped and mapped[1]:
            return mapped[1]
        return self.threshold_colour(value)

    def series_colour(self, place: int, last: float | None) -> str:
        """Return the colour of a whole series, the ``place``-th of its panel."""
        if self.colour_mode == "thresholds" and last is not None:
            return self.threshold_colour(last) or PALETTE[0]
        if self.colour is None or self.colour_mode == "palette-classic":
            return PALETTE[place % len(PALETTE)]
        return self.colour

    @property
    def shaded(self) -> bool:
        """Whether series of this colour are told apart by lightness."""
        return self.colour_mode == "shades"


@dataclass(frozen=True, slots=True)
class Override:
    """Properties of the fields that a matcher picks."""

    kind: str
    value: str
    properties: tuple[tuple[str, Any], ...]

    def matches(self, name: str, ref: str) -> bool:
        """Say whether a field of this name, of the target ``ref``, is meant."""
        if self.kind == "byRegexp":
            return re.search(self.value.strip("/"), name) is not None
        return {"byName": name, "byFrameRefID": ref}.get(self.kind) == self.value


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel."""

    kind: str
    title: str
    place: Place
    targets: tuple[Target, ...] = ()
    look: Look = field(default_factory=Look)
    overrides: tuple[Override, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    transformations: tuple[Mapping[str, Any], ...] = ()
    interval: str = ""
    """The least step, as a duration."""
    inner: int = 0
    """Panels inside a row that is closed."""

    def look_of(self, name: str, ref: str) -> Look:
        """Return how a field is shown."""
        look = self.look
        for override in self.overrides:
            if override.matches(name, ref):
                for key, value in override.properties:
                    look = _changed(look, key, value)
        return look


@dataclass(frozen=True, slots=True)
class Mark:
    """One annotation of a board: when something else happened."""

    name: str
    query: str
    colour: str


def panels(board: Mapping[str, Any]) -> list[Panel]:
    """Return the panels of a board, in the order of its JSON."""
    return [_panel(each) for each in board.get("panels") or []]


def marks(board: Mapping[str, Any]) -> list[Mark]:
    """Return the annotations that are shown."""
    listed = (board.get("annotations") or {}).get("list") or []
    return [
        Mark(each["name"], each["expr"], colour_of(each.get("iconColor", "blue")))
        for each in listed
        if each.get("enable") and each.get("expr")
    ]


def colour_of(name: str) -> str:
    """Return a colour as ``#rrggbb``."""
    return name if name.startswith("#") else NAMED.get(name.rpartition("-")[2], NAMED["blue"])


def _panel(told: Mapping[str, Any]) -> Panel:
    grid = told.get("gridPos") or {}
    config = told.get("fieldConfig") or {}
    return Panel(
        kind=str(told.get("type", "")),
        title=str(told.get("title", "")),
        place=Place(*(int(grid.get(name, 0)) for name in "xywh")),
        targets=tuple(_targets(told.get("targets") or [])),
        look=_look(config.get("defaults") or {}),
        overrides=tuple(_overrides(config.get("overrides") or [])),
        options=told.get("options") or {},
        transformations=tuple(told.get("transformations") or ()),
        interval=str(told.get("interval") or ""),
        inner=len(told.get("panels") or ()),
    )


def _targets(told: Sequence[Mapping[str, Any]]) -> Iterator[Target]:
    for each in told:
        if not each.get("hide"):
            yield Target(
                ref=str(each.get("refId", "")),
                query=str(each.get("expr", "")),
                legend=str(each.get("legendFormat") or ""),
                instant=bool(each.get("instant")),
            )


def _look(defaults: Mapping[str, Any]) -> Look:
    look = Look()
    for key, value in defaults.items():
        look = _changed(look, key, value)
    custom = defaults.get("custom")
    return replace(look, custom=custom) if isinstance(custom, Mapping) else look


def _overrides(told: Sequence[Mapping[str, Any]]) -> Iterator[Override]:
    for each in told:
        matcher = each["matcher"]
        properties = tuple((item["id"], item.get("value")) for item in each["properties"])
        yield Override(str(matcher["id"]), str(matcher.get("options", "")), properties)


def _changed(look: Look, key: str, value: Any) -> Look:
    simple = {"unit": "unit", "decimals": "decimals", "min": "low", "max": "high"}
    simple |= {"noValue": "empty", "displayName": "name"}
    if key in simple:
        return replace(look, **{simple[key]: value})
    if key == "color":
        fixed = value.get("fixedColor")
        return replace(
            look,
            colour_mode=str(value.get("mode", look.colour_mode)),
            colour=colour_of(fixed) if fixed else look.colour,
        )
    if key == "thresholds":
        return replace(look, thresholds=tuple(_steps(value.get("steps") or [])))
    if key == "mappings":
        return replace(look, texts=dict(_texts(value or [])))
    if key.startswith("custom."):
        return replace(look, custom={**look.custom, key.removeprefix("custom."): value})
    return look


def _steps(told: Sequence[Mapping[str, Any]]) -> Iterator[Threshold]:
    for each in told:
        value = each.get("value")
        yield Threshold(float("-inf") if value is None else float(value), colour_of(each["color"]))


def _texts(told: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, tuple[str, str | None]]]:
    for mapping in told:
        if mapping.get("type") == "value":
            for value, shown in mapping["options"].items():
                colour = shown.get("color")
                yield float(value), (str(shown.get("text", value)), colour and colour_of(colour))
