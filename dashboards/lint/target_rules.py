"""Checks of queries, under the ids of Grafana's dashboard-linter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import promql_parser as promql

from dashboards.lint.tree import matchers, selectors, walk
from dashboards.lint.view import RATE_INTERVAL_SECONDS, Panel, Target, View

RATES = frozenset({"rate", "irate", "increase"})
_LOGQL_SELECTOR = re.compile(r'\{\s*\w+\s*(=|!=|=~|!~)\s*"[^"]*"')
_LOGQL_RANGE = re.compile(r"\[([^\]]*)\]")


def target_promql(board: View) -> Iterator[str]:
    """Queries can be read by Prometheus."""
    for panel, target in _prometheus(board):
        if target.parsed is None:
            yield f"{panel.title}: {target.query!r} is no PromQL"


def target_rate_interval(board: View) -> Iterator[str]:
    """Rates are taken over ``$__rate_interval``, which fits the scrapes and the picture."""
    wanted = timedelta(seconds=RATE_INTERVAL_SECONDS)
    for panel, target in _prometheus(board):
        for node, parents in walk(target.parsed):
            if not isinstance(node, promql.MatrixSelector) or not parents:
                continue
            call = parents[-1]
            if isinstance(call, promql.Call) and call.func.name in RATES and node.range != wanted:
                yield f"{panel.title}: {call.func.name}() is not over $__rate_interval"


def target_job(board: View) -> Iterator[str]:
    """Every selector obeys the variable ``job``."""
    yield from _matched(board, "job")


def target_instance(board: View) -> Iterator[str]:
    """Every selector obeys the variable ``instance``."""
    yield from _matched(board, "instance")


def target_counter_agg(board: View) -> Iterator[str]:
    """A counter is shown as a rate or an increase: its value says when the process began."""
    for panel, target in _prometheus(board):
        for node, parents in selectors(target.parsed):
            if not (node.name or "").endswith("_total"):
                continue
            ranged = len(parents) > 1 and isinstance(parents[-1], promql.MatrixSelector)
            call = parents[-2] if ranged else None
            if not isinstance(call, promql.Call) or call.func.name not in RATES:
                yield f"{panel.title}: the counter {node.name} is not under rate or increase"


def target_logql(board: View) -> Iterator[str]:
    """Queries for Loki select a stream. Our boards have none; this looks at their form alone."""
    for panel, target in _loki(board):
        if not _LOGQL_SELECTOR.search(target.query) or not _balanced(target.query):
            yield f"{panel.title}: {target.query!r} is no LogQL"


def target_logql_auto(board: View) -> Iterator[str]:
    """Ranges in queries for Loki are ``$__auto``."""
    for panel, target in _loki(board):
        for match in _LOGQL_RANGE.finditer(target.query):
            if match[1] != "$__auto":
                yield f"{panel.title}: the range [{match[1]}] is not [$__auto]"


def _prometheus(board: View) -> Iterator[tuple[Panel, Target]]:
    return ((panel, target) for panel, target in board.targets() if target.kind != "loki")


def _loki(board: View) -> Iterator[tuple[Panel, Target]]:
    return ((panel, target) for panel, target in board.targets() if target.kind == "loki")


def _matched(board: View, label: str) -> Iterator[str]:
    wanted = ("=~", f"${label}")
    for panel, target in _prometheus(board):
        for node, _ in selectors(target.parsed):
            if matchers(node).get(label) != wanted:
                yield f'{panel.title}: {node.name} lacks {label}=~"${label}"'


def _balanced(query: str) -> bool:
    bare = re.sub(r'"[^"]*"', "", query)
    return all(bare.count(left) == bare.count(right) for left, right in ("()", "{}", "[]"))
