"""Checks of a board's variables, under the ids of Grafana's dashboard-linter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dashboards.lint.view import View, parsed

_VARIABLE_QUERY = re.compile(r"(\w+)\((.+)\)")
_VARIABLE_FUNCTIONS = frozenset({"label_names", "label_values", "metrics", "query_result"})
_ON_TIME_RANGE_CHANGE = 2


def template_datasource(board: View) -> Iterator[str]:
    """One variable chooses the data source, under the name and label that people know."""
    if len(board.sources) != 1:
        yield f"{len(board.sources)} variables choose a data source; expected one"
    for source in board.sources:
        kind = str(source.get("query", ""))
        if source.get("name") not in ("datasource", f"{kind}_datasource"):
            yield f"the variable {source.get('name')!r} should be named 'datasource'"
        if source.get("label") not in ("Data source", f"{kind.title()} data source"):
            yield f"the label {source.get('label')!r} should be 'Data source'"


def template_job(board: View) -> Iterator[str]:
    """A variable ``job`` restricts what is shown."""
    yield from _restricts(board, "job")


def template_instance(board: View) -> Iterator[str]:
    """A variable ``instance`` restricts what is shown."""
    yield from _restricts(board, "instance")


def template_label_promql(board: View) -> Iterator[str]:
    """The queries that fill variables can be read by Prometheus."""
    for variable in _queried(board):
        query = _text(variable)
        match = _VARIABLE_QUERY.fullmatch(query)
        if match is None or match[1] not in _VARIABLE_FUNCTIONS:
            yield f"variable {variable['name']}: {query!r} is no label_values() or the like"
            continue
        selector = match[2].rpartition(",")[0] or match[2]
        if parsed(selector) is None:
            yield f"variable {variable['name']}: {selector!r} is no PromQL"


def template_on_time_change_reload(board: View) -> Iterator[str]:
    """Variables are filled anew when the time range changes."""
    for variable in _queried(board):
        if variable.get("refresh") != _ON_TIME_RANGE_CHANGE:
            yield f"variable {variable['name']}: refresh is {variable.get('refresh')}, not 2"


def uneditable_dashboard(board: View) -> Iterator[str]:
    """The board is changed in its source, not in the browser."""
    if board.json.get("editable") is not False:
        yield "editable is not false"


def _restricts(board: View, name: str) -> Iterator[str]:
    variable = board.variable(name)
    if variable is None:
        yield f"the variable {name} is missing"
        return
    source = variable.get("datasource") or {}
    expected: dict[str, tuple[Any, Any]] = {
        "data source": (source.get("uid"), "${datasource}"),
        "type": (variable.get("type"), "query"),
        "label": (variable.get("label"), name.title()),
        "multi": (variable.get("multi"), True),
        "allValue": (variable.get("allValue"), ".+"),
    }
    for key, (found, wanted) in expected.items():
        if found != wanted:
            yield f"the variable {name}: {key} is {found!r}, not {wanted!r}"


def _queried(board: View) -> list[dict[str, Any]]:
    return [each for each in board.variables if each.get("type") == "query"]


def _text(variable: dict[str, Any]) -> str:
    query = variable.get("query", "")
    return str(query.get("query", "") if isinstance(query, dict) else query)
