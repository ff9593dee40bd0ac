"""Every query of every board and rule, asked of a Prometheus that has seen it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import promql_parser
import pytest

from dashboards.boards import boards
from dashboards.boards.frame import as_json
from dashboards.lint.tree import selectors
from dashboards.metrics import PROMETHEUS_OWN
from dashboards.preview import variables
from dashboards.preview.source import Prometheus, Series, Span
from dashboards.rules import alerts, recording
from dashboards.rules.model import QUICK, Alert, Recording
from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.catalogue import CATALOGUE, Kind
from firsttoken.core.errors import UserError
from tests.dashboards.live import EARLIER, RATE_WINDOW, WINDOWS, Live

SETTINGS = settings_room.load(None, environ={})
SLO = slo_room.load(None, SETTINGS)
BOARDS = {board.name: as_json(board) for board in boards(SLO)}
pytestmark = pytest.mark.timeout(240)  # the first test waits for the whole life

PARTS = ("_bucket", "_count", "_sum")


class Asked(NamedTuple):
    """One query and where it stands."""

    where: str
    query: str


def of_board(board: dict[str, Any]) -> Iterator[Asked]:
    """Yield every query of a board, its variables put in: panels, annotations, lists of values."""
    values = variables.of_board(board)
    values |= {"__rate_interval": RATE_WINDOW, "__interval": "1s", "earlier": EARLIER}
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            where = f"{panel['title']} {target['refId']}"
            yield Asked(where, variables.put_in(target["expr"], values))
    for each in board["annotations"]["list"]:
        yield Asked(f"annotation {each['name']}", variables.put_in(each["expr"], values))
    for each in board["templating"]["list"]:
        query = each["query"]
        if isinstance(query, str) and query.startswith("label_values("):
            chosen, _, label = query.removeprefix("label_values(").removesuffix(")").rpartition(",")
            listed = f"count by ({label.strip()}) ({variables.put_in(chosen, values)})"
            yield Asked(f"variable {each['name']}", listed)


def of_rules() -> dict[str, list[Asked]]:
    """Return the queries of rules by group, at the pace of the live run."""
    groups = (
        *recording.groups(SLO, WINDOWS, QUICK),
        *alerts.groups(SLO, SETTINGS, WINDOWS, QUICK),
    )
    return {
        group.name: [Asked(f"{_kind(rule)} {rule.name}", rule.query.text) for rule in group.rules]
        for group in groups
        if group.rules
    }


def _kind(rule: Recording | Alert) -> str:
    labels = dict(rule.labels) if isinstance(rule, Alert) else {}
    return f"alert{labels or ''}" if isinstance(rule, Alert) else "recording"


RULES = of_rules()
EVERYTHING = [
    *chain.from_iterable(of_board(board) for board in BOARDS.values()),
    *chain.from_iterable(RULES.values()),
]


def answered(live: Live, query: str) -> list[Series]:
    """Return what the query gave over the whole life; values that are not finite are left out."""
    with Prometheus(live.prometheus) as source:
        return source.over(query, Span(live.start, live.end, 1.0))


def silent(live: Live, queries: Iterable[Asked]) -> list[str]:
    """Return what is wrong with queries: refused, or without a finite value at any time."""
    wrong = []
    for asked in queries:
        try:
            found = answered(live, asked.query)
        except UserError as error:
            wrong.append(f"{asked.where}: {error}")
        else:
            if not found:
                wrong.append(f"{asked.where}: no finite value: {asked.query}")
    return wrong


def names(query: str) -> set[str]:
    """Return the names of the series that a query selects."""
    return {selector.name for selector, _ in selectors(promql_parser.parse(query))}


def unknown(queries: Iterable[Asked], exported: Iterable[str]) -> list[str]:
    """Return the names that queries use and nobody exposes or records."""
    recorded = {name.split()[1] for group in RULES.values() for name, _ in group}
    known = {*exported, *recorded, *PROMETHEUS_OWN}
    used = {name: asked.where for asked in queries for name in names(asked.query)}
    return [f"{where}: {name}" for name, where in used.items() if name not in known]


def exposed(name: str) -> set[str]:
    """Return the names under which the samples of a metric of the catalogue are exposed."""
    metric = CATALOGUE[name]
    return {name + part for part in PARTS} if metric.kind is Kind.HISTOGRAM else {name}


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_a_board_has_a_finite_value(live: Live, name: str) -> None:
    assert silent(live, of_board(BOARDS[name])) == []


@pytest.mark.parametrize("group", RULES)
def test_every_rule_has_a_finite_value(live: Live, group: str) -> None:
    assert silent(live, RULES[group]) == []


def test_what_queries_use_is_exported(live: Live) -> None:
    assert unknown(EVERYTHING, live.exported) == []


def test_what_is_exported_stands_in_the_catalogue(live: Live) -> None:
    ours = {name for name in live.exported if name.startswith("llm_")}
    assert ours <= set().union(*(exposed(name) for name in CATALOGUE))


USED = sorted(
    {name for asked in EVERYTHING for name in names(asked.query)}
    & {sample for name in CATALOGUE for sample in exposed(name)}
)


@pytest.mark.parametrize("name", USED)
def test_a_metric_that_is_renamed_is_noticed(live: Live, name: str) -> None:
    renamed = live.exported - {name} | {f"{name}_renamed"}
    assert any(name in line for line in unknown(EVERYTHING, renamed))


def test_a_query_for_a_renamed_metric_is_silent(live: Live) -> None:
    wrong = "sum(rate(llm_request_total[10s]))"
    assert silent(live, [Asked("x", wrong)]) == [f"x: no finite value: {wrong}"]


def test_a_query_that_cannot_be_parsed_is_refused(live: Live) -> None:
    assert "parse error" in silent(live, [Asked("x", "sum(rate(")])[0]
