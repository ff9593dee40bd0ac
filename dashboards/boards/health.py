"""Exporter and loop health: can the other boards be believed, and does the loop act?"""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import promql, queries, theme
from dashboards.boards.frame import Board
from dashboards.boards.routing import ACTION_COLOURS
from dashboards.panels import About, Line, Row, stat, table, timeseries
from dashboards.promql import Query
from dashboards.theme import Limits, Unit, coloured
from firsttoken.core.catalogue import DeliveryResult
from firsttoken.core.words import Outcome

SERIES_BUDGET = 1500
"""Series that one target may have at most; more would be labels out of hand."""

DELIVERY_COLOURS: dict[str, str] = {
    DeliveryResult.ACCEPTED: theme.GOOD,
    DeliveryResult.UNAUTHORIZED: theme.ERROR,
    DeliveryResult.TOO_LARGE: theme.WARN,
    DeliveryResult.MALFORMED: theme.NEUTRAL,
}
_JOBS = [coloured("router", theme.NEUTRAL), coloured("exporter", theme.CACHE)]


def board() -> Board:
    """Return the board; its limits are our own budgets."""
    return Board(
        name="health",
        title="Exporter and loop health",
        description="Can the other boards be believed, and does the loop act?",
        rows=[_targets(), _exporter(), _loop()],
    )


def _targets() -> Row:
    return Row(
        "Scrapes",
        [
            stat(
                "Targets up",
                About(
                    "Share of the targets chosen above that Prometheus can scrape.",
                    "100 %.",
                    "a target that is down leaves gaps on every board; its page in Prometheus "
                    "says why.",
                ),
                Line(promql.total(queries.select(m.UP), how="avg"), "up"),
                Unit.SHARE,
                limits=Limits(alarm=1, low_is_bad=True),
                width=6,
                empty="no data",
            ),
            table(
                "Versions",
                About(
                    "The version that each target runs.",
                    "one version everywhere.",
                    "finish the deploy: two versions answer differently.",
                ),
                [Line(queries.highest(m.BUILD, "instance", "version"), "{{version}}", "table")],
                Unit.NUMBER,
                hidden=("Time", "Value"),
                columns={"instance": "Instance", "version": "Version"},
                width=6,
                height=4,
                empty="no data",
            ),
            timeseries(
                "Time of a scrape",
                About(
                    "How long Prometheus waited for a target's metrics.",
                    "under 100 ms.",
                    "slow: the host has no processor left, or there are too many series.",
                ),
                [Line(queries.highest(m.SCRAPE_TIME, "job"), "{{job}}")],
                Unit.SECONDS,
                decimals=1,
                colours=_JOBS,
                width=6,
                height=6,
                empty="no data",
            ),
            timeseries(
                "Series of a scrape",
                About(
                    "Series that a target brought: each is memory in Prometheus.",
                    f"flat, and below {SERIES_BUDGET:,}, the budget that is tested.",
                    "growing: a label takes values without end; tell us which.",
                ),
                [Line(queries.highest(m.SCRAPE_SERIES, "job"), "{{job}}")],
                Unit.NUMBER,
                decimals=0,
                limits=Limits(alarm=SERIES_BUDGET),
                colours=_JOBS,
                width=6,
                height=6,
                empty="no data",
            ),
        ],
    )


def _exporter() -> Row:
    return Row(
        "Exporter",
        [
            timeseries(
                "Readings that failed",
                About(
                    "Share of the exporter's readings of engine and host that failed.",
                    "zero.",
                    "what that collector shows is missing or old: check its address and whether "
                    "the engine answers.",
                ),
                [Line(_failed_readings(), "{{collector}}")],
                Unit.SHARE,
                decimals=1,
                colours=[theme.shades(theme.ERROR)],
                highest=1,
                width=8,
                empty="no data",
            ),
            timeseries(
                "Time of a reading",
                About(
                    "How long the last reading of each collector took.",
                    "well under a second.",
                    "the engine answers slowly even to small questions: it is overloaded.",
                ),
                [Line(queries.highest(m.COLLECTION_TIME, "collector"), "{{collector}}")],
                Unit.SECONDS,
                decimals=1,
                colours=[theme.shades(theme.CACHE)],
                width=8,
                empty="no data",
            ),
            timeseries(
                "Probes by outcome",
                About(
                    "The exporter's own small requests a second, by how they ended.",
                    "all success.",
                    "failures without traffic: the engine is down or asks for a key.",
                ),
                [Line(queries.per_second(m.PROBES, "outcome"), "{{outcome}}")],
                Unit.PER_SECOND,
                decimals=3,
                colours=theme.BY_OUTCOME,
                stacked=True,
                width=8,
                empty="no data",
            ),
        ],
    )


def _loop() -> Row:
    return Row(
        "The loop",
        [
            timeseries(
                "Deliveries of alerts",
                About(
                    "Calls of the alert webhook a second, by whether they were accepted.",
                    "accepted ones whenever an alert fires or ends.",
                    "unauthorized: Alertmanager has another token, or somebody is trying.",
                ),
                [Line(queries.per_second(m.DELIVERIES, "result"), "{{result}}")],
                Unit.PER_SECOND,
                decimals=3,
                colours=theme.by_word(DELIVERY_COLOURS),
                stacked=True,
                width=8,
                empty="none",
            ),
            timeseries(
                "Actions by result",
                About(
                    "Actions asked for, a second, by what became of them; duplicates are "
                    "Alertmanager's repetitions.",
                    "each alert once, the rest duplicates.",
                    "failed: the audit log and the runbook of the alert say what to do.",
                ),
                [
                    Line(
                        queries.seen(queries.per_second(m.ACTIONS, "action", "result")),
                        "{{action}} {{result}}",
                    )
                ],
                Unit.PER_SECOND,
                decimals=3,
                colours=ACTION_COLOURS,
                width=8,
                empty="none",
            ),
            table(
                "Last action",
                About(
                    "When each action was last carried out.",
                    "long ago.",
                    "often: the cause is not removed; read the audit log.",
                ),
                [Line(_last(), "{{action}}", "table")],
                Unit.AGE,
                hidden=("Time",),
                columns={"action": "Action", "Value": "Last"},
                width=8,
                empty="never",
            ),
        ],
    )


def _failed_readings() -> Query:
    failures = (Outcome.ERROR, Outcome.TIMEOUT)
    return queries.share(m.COLLECTIONS, {"outcome": failures}, "collector")


def _last() -> Query:
    # Grafana counts in milliseconds; 0 is never.
    carried_out = promql.compare(queries.highest(m.ACTION_TIME, "action"), ">", 0)
    return promql.times(carried_out, 1000)
