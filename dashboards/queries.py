"""The queries of boards: :mod:`dashboards.promql` with the boards' variables put in.

Every selector bears the matchers of the variables that its metric has a label for, every rate is
taken over Grafana's own window, every ratio is of two sums, and where there is no traffic there is
no value rather than NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboards import metrics, promql
from dashboards.promql import Like, Matcher, Part, Query
from firsttoken.core.catalogue import Metric

WINDOW = "$__rate_interval"
"""Grafana's window for rates: at least four scrapes."""

Where = Mapping[str, Matcher]

VARIABLES = {name: Like(f"${name}") for name in ("job", "instance", "backend", "model")}
_ALWAYS = ("job", "instance")


def select(metric: Metric, where: Where | None = None, part: Part = "", shift: str = "") -> Query:
    """Select the series of a metric that the board's variables leave in.

    ``shift`` moves the selection back in time: a duration, or a variable that holds one.
    """
    chosen = {
        name: pattern
        for name, pattern in VARIABLES.items()
        if name in _ALWAYS or name in metric.labels
    }
    selected = promql.series(metric, {**chosen, **(where or {})}, part=part)
    return Query(f"{selected.text} offset {shift}") if shift else selected


def rate(metric: Metric, where: Where | None = None, part: Part = "", shift: str = "") -> Query:
    """Return the increase per second of a counter, for each series."""
    windowed = promql.over("rate", select(metric, where, part), WINDOW).text
    return Query(f"{windowed.removesuffix(')')} offset {shift})" if shift else windowed)


def increase(metric: Metric, where: Where | None = None) -> Query:
    """Return the increase of a counter over the window, for each series."""
    return promql.over("increase", select(metric, where), WINDOW)


def per_second(
    metric: Metric, *by: str, where: Where | None = None, part: Part = "", shift: str = ""
) -> Query:
    """Return the summed rate of a counter for each set of the labels ``by``."""
    return promql.total(rate(metric, where, part, shift), *by)


def seen(query: Query) -> Query:
    """Leave out what is at zero: of dozens of series of a counter few ever move."""
    return promql.compare(query, ">", 0)


def share(metric: Metric, part: Where, *by: str, of: Where | None = None, shift: str = "") -> Query:
    """Return the rate of the series ``part`` over that of the series ``of``; of 1."""
    whole = per_second(metric, *by, where=of, shift=shift)
    return promql.ratio(per_second(metric, *by, where={**(of or {}), **part}, shift=shift), whole)


def quantile(
    q: float, metric: Metric, *by: str, where: Where | None = None, shift: str = ""
) -> Query:
    """Return the quantile ``q`` of a histogram for each set of the labels ``by``."""
    return promql.quantile(
        q, per_second(metric, "le", *by, where=where, part="_bucket", shift=shift)
    )


def backend_quantile(q: float, metric: Metric) -> Query:
    """Return the quantile ``q`` for each backend, with its tier, of a metric without tiers."""
    buckets = with_tier(rate(metric, part="_bucket"))
    return promql.quantile(q, promql.total(buckets, "le", "tier", "backend"))


def mean(metric: Metric, *by: str, where: Where | None = None, shift: str = "") -> Query:
    """Return the mean of what a histogram observed."""
    return promql.ratio(
        per_second(metric, *by, where=where, part="_sum", shift=shift),
        per_second(metric, *by, where=where, part="_count", shift=shift),
    )


def within(
    metric: Metric, seconds: float, *by: str, where: Where | None = None, shift: str = ""
) -> Query:
    """Return the share of observations of at most ``seconds``: exact, since a bucket ends there.

    Raises:
        UserError: no bucket does.
    """
    below: Where = {**(where or {}), "le": promql.edge(metric, seconds)}
    return promql.ratio(
        per_second(metric, *by, where=below, part="_bucket", shift=shift),
        per_second(metric, *by, where=where, part="_count", shift=shift),
    )


def highest(metric: Metric, *by: str, where: Where | None = None) -> Query:
    """Return the highest series of a gauge for each set of the labels ``by``: what two exporters
    say of one host is not added up."""
    return promql.total(select(metric, where), *by, how="max")


def with_tier(query: Query) -> Query:
    """Give a query with the labels job, instance and backend the label ``tier``."""
    # A backend that was moved to another tier keeps its old series, at 0.
    information = promql.compare(select(metrics.BACKEND_INFO), "==", 1)
    matching = "* on (job, instance, backend) group_left (tier)"
    return Query(f"{query.operand()} {matching} {information.operand()}", compound=True)


def coded(metric: Metric, label: str, values: Sequence[str], *by: str) -> Query:
    """Return one number for a one-hot metric: the place in ``values`` of the state that is 1.

    Of two routers, the one in the later state counts.
    """
    # A state that is not 1 drops out by the comparison; the first is 0 times 1.
    parts = [
        promql.times(
            promql.compare(highest(metric, *by, where={label: value}), "==", 1), place
        ).operand()
        for place, value in enumerate(values)
    ]
    return Query(" or ".join(reversed(parts)), compound=True)
