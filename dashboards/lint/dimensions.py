"""The dimension of a query, from the units of the metrics in it: seconds, tokens a second..."""

from __future__ import annotations

from collections import Counter
from typing import Any

import promql_parser as promql

from dashboards.lint.known import histogram_or_self
from dashboards.lint.tree import children, walk
from dashboards.theme import Unit
from firsttoken.core.catalogue import Kind

Dimension = tuple[tuple[str, int], ...]
"""Unit -> power, those with power 0 left out, in order of name."""

NONE: Dimension = ()
_BASE = {"seconds": "s", "bytes": "B", "usd": "USD", "tokens": "token"}
"""Units of the catalogue that are more than a plain count; ratios and cores are numbers."""
_A_SECOND: Dimension = (("s", -1),)

ALLOWED: dict[str, frozenset[Dimension]] = {
    Unit.SECONDS: frozenset({(("s", 1),)}),
    Unit.AGE: frozenset({(("s", 1),)}),
    Unit.SHARE: frozenset({NONE}),
    Unit.REQUESTS_PER_SECOND: frozenset({_A_SECOND}),
    Unit.PER_SECOND: frozenset({_A_SECOND}),
    Unit.BYTES: frozenset({(("B", 1),)}),
    # Dollars, dollars an hour, dollars for so many tokens: the panel's title says which.
    Unit.USD: frozenset({(("USD", 1),), (("USD", 1), ("s", -1)), (("USD", 1), ("token", -1))}),
    Unit.NUMBER: frozenset({NONE, (("s", -1), ("token", 1))}),
}
"""What each unit of a panel may show."""

_PER_SECOND = frozenset({"rate", "irate", "deriv"})


def dimension(node: Any) -> Dimension:
    """Return the dimension of a query's tree."""
    match node:
        case promql.VectorSelector():
            return _of_metric(node.name or "")
        case promql.Call():
            return _of_call(node)
        case promql.BinaryExpr():
            return _of_operation(node)
        case promql.AggregateExpr() if str(node.op) in ("count", "group"):
            return NONE
        case _:
            # What is left passes on the dimension of the one thing below it.
            below = children(node)
            return dimension(below[-1]) if below else NONE


def _of_metric(name: str) -> Dimension:
    metric = histogram_or_self(name)
    if metric is None or (metric.kind is Kind.HISTOGRAM and not name.endswith("_sum")):
        return NONE
    base = _BASE.get(metric.unit)
    return ((base, 1),) if base else NONE


def _of_call(node: Any) -> Dimension:
    name = node.func.name
    if name == "histogram_quantile":
        for each, _ in walk(node.args[1]):
            metric = histogram_or_self(getattr(each, "name", None) or "")
            if metric is not None and metric.kind is Kind.HISTOGRAM:
                return ((_BASE[metric.unit], 1),)
        return NONE
    inner = dimension(node.args[0]) if node.args else NONE
    return _product(inner, _A_SECOND) if name in _PER_SECOND else inner


def _of_operation(node: Any) -> Dimension:
    left, right = dimension(node.lhs), dimension(node.rhs)
    match str(node.op):
        case "*":
            return _product(left, right)
        case "/":
            return _product(left, tuple((unit, -power) for unit, power in right))
        case _:
            return left


def _product(left: Dimension, right: Dimension) -> Dimension:
    powers = Counter(dict(left))
    for unit, power in right:
        powers[unit] += power
    return tuple(sorted((unit, power) for unit, power in powers.items() if power))
