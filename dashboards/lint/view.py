"""A board as its checks see it: JSON with names for its parts, and its queries parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import promql_parser

RATE_INTERVAL_SECONDS = 24_793
"""Stands for ``$__rate_interval`` while a query is parsed: no person would write it."""

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Target:
    """One query of a panel."""

    json: dict[str, Any]

    @property
    def query(self) -> str:
        """The query as it stands on the board."""
        return str(self.json.get("expr", ""))

    @property
    def kind(self) -> str:
        """The type of its data source: ``prometheus``, ``loki``..."""
        return _reference(self.json)["type"]

    @cached_property
    def parsed(self) -> Any | None:
        """The query's tree, or None if it cannot be parsed."""
        return parsed(self.query)


@dataclass(frozen=True)
class Panel:
    """One panel of a board."""

    json: dict[str, Any]

    @property
    def type(self) -> str:
        """``stat``, ``timeseries``..."""
        return str(self.json.get("type", ""))

    @property
    def title(self) -> str:
        """Its title, or an empty string."""
        return str(self.json.get("title", ""))

    @property
    def description(self) -> str:
        """Its description, or an empty string."""
        return str(self.json.get("description", ""))

    @property
    def datasource(self) -> str:
        """The uid of its data source."""
        return _reference(self.json)["uid"]

    @property
    def defaults(self) -> dict[str, Any]:
        """What holds for all its fields."""
        config = self.json.get("fieldConfig", {})
        return dict(config.get("defaults", {}))

    @property
    def overrides(self) -> list[dict[str, Any]]:
        """What holds for some of its fields."""
        return list(self.json.get("fieldConfig", {}).get("overrides", []))

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Its queries."""
        return tuple(Target(each) for each in self.json.get("targets", []))


@dataclass(frozen=True)
class View:
    """One board."""

    json: dict[str, Any]

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.json.get("title", ""))

    @cached_property
    def panels(self) -> tuple[Panel, ...]:
        """Its panels with those of collapsed rows, without the rows themselves."""
        flat: list[dict[str, Any]] = []
        for each in self.json.get("panels", []):
            flat += each.get("panels", []) if each.get("type") == "row" else [each]
        return tuple(Panel(each) for each in flat)

    def targets(self) -> Iterator[tuple[Panel, Target]]:
        """Yield every query with its panel."""
        for panel in self.panels:
            for target in panel.targets:
                yield panel, target

    @property
    def variables(self) -> list[dict[str, Any]]:
        """Its template variables."""
        return list(self.json.get("templating", {}).get("list", []))

    def variable(self, name: str) -> dict[str, Any] | None:
        """Return the variable of this name."""
        return next((each for each in self.variables if each.get("name") == name), None)

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Its variables that choose a data source."""
        return [each for each in self.variables if each.get("type") == "datasource"]


def _reference(json: dict[str, Any]) -> dict[str, str]:
    source = json.get("datasource")
    if isinstance(source, dict):
        return {"type": str(source.get("type", "")), "uid": str(source.get("uid", ""))}
    return {"type": "", "uid": str(source or "")}


def parsed(query: str) -> Any | None:
    """Return the tree of a query whose variables stand for durations, or None.

    Variables inside quotes are left as they are: to the parser they are text.
    """
    places: list[str] = []
    last = 0
    for match in _QUOTED.finditer(query):
        places += [_VARIABLE.sub(_duration, query[last : match.start()]), match.group()]
        last = match.end()
    text = "".join([*places, _VARIABLE.sub(_duration, query[last:])])
    try:
        return promql_parser.parse(text)
    except ValueError:
        return None


def _duration(match: re.Match[str]) -> str:
    return f"{RATE_INTERVAL_SECONDS}s" if match[1] == "__rate_interval" else "1h"
