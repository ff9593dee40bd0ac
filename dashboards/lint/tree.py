"""Walks the tree of a PromQL query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser as promql

Parents = tuple[Any, ...]


def children(node: Any) -> list[Any]:
    """Return the nodes below ``node``."""
    match node:
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.AggregateExpr():
            return [each for each in (node.param, node.expr) if each is not None]
        case promql.Call():
            return list(node.args)
        case promql.MatrixSelector():
            return [node.vector_selector]
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return [node.expr]
        case _:
            return []


def walk(node: Any, parents: Parents = ()) -> Iterator[tuple[Any, Parents]]:
    """Yield every node with the nodes above it, the nearest last."""
    yield node, parents
    for child in children(node):
        yield from walk(child, (*parents, node))


def selectors(node: Any) -> Iterator[tuple[Any, Parents]]:
    """Yield every selector of series with the nodes above it."""
    for each, parents in walk(node):
        if isinstance(each, promql.VectorSelector):
            yield each, parents


def matchers(selector: Any) -> dict[str, tuple[str, str]]:
    """Return label -> operator and value of a selector's matchers."""
    return {each.name: (_sign(each.op), each.value) for each in selector.matchers.matchers}


def _sign(operator: Any) -> str:
    # The parser's enumeration cannot be hashed, so a table by it is a list of pairs.
    signs = (
        (promql.MatchOp.Equal, "="),
        (promql.MatchOp.NotEqual, "!="),
        (promql.MatchOp.Re, "=~"),
        (promql.MatchOp.NotRe, "!~"),
    )
    return next(sign for each, sign in signs if each == operator)


def grouping(node: Any) -> list[str]:
    """Return the labels that an aggregation or a join names."""
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql.AggregateExpr):
        return list(modifier.labels) if modifier is not None else []
    if isinstance(node, promql.BinaryExpr) and modifier is not None:
        matching = modifier.matching
        return [*(matching.labels if matching is not None else ()), *(modifier.group_labels or ())]
    return []
