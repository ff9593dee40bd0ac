"""Load-test comparison: the window that is shown, and the same length of time some while before."""

from __future__ import annotations

from collections.abc import Callable

from grafanalib import core as grafana

from dashboards import metrics as m
from dashboards import promql, queries, theme
from dashboards.boards import figures
from dashboards.boards.frame import Board
from dashboards.panels import About, Line, Row, stat, text, timeseries
from dashboards.promql import Query
from dashboards.rules.terms import FAILED
from dashboards.theme import TIER_COLOURS, Limits, Override, Unit, coloured, mixed
from firsttoken.core.catalogue import TokenType
from firsttoken.core.slo import Slo

EARLIER = "$earlier"
SPANS = ("10m", "30m", "1h", "3h", "6h", "12h", "1d", "7d")

Shifted = Callable[[str], Query]
"""A query for a shift back in time; an empty one is none."""


def board(slo: Slo) -> Board:
    """Return the board for these targets and thresholds."""
    return Board(
        name="comparison",
        title="Load-test comparison",
        description="Two load tests on one time axis: now, and some while before.",
        rows=[_how(), _figures(slo), _curves(slo)],
        variables=[
            grafana.Template(
                name="earlier",
                label="Compared with, before",
                type="custom",
                query=",".join(SPANS),
                default="1h",
            )
        ],
    )


def _how() -> Row:
    return Row(
        "Two load tests on one axis",
        [
            text(
                "Show the later test in the time range, and choose above how long before it the "
                "earlier one ran. Marks named *load test* show where each began and ended. This "
                "is the server's view; `firsttoken compare` judges with the client's own clock, "
                "with intervals."
            )
        ],
    )


def _figures(slo: Slo) -> Row:
    target = slo.ttft_p95_ms / 1000

    return Row(
        "Figures",
        [
            *_pair(
                "First token p95",
                About(
                    "95th percentile of the delivered first token, all tiers, five minutes.",
                    f"at most {slo.ttft_p95_ms:g} ms, and no more than earlier.",
                    "see below which tier moved.",
                ),
                lambda shift: queries.quantile(0.95, m.TTFT, shift=shift),
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
            ),
            *_pair(
                "Within the target",
                About(
                    f"Share of first tokens within {slo.ttft_p95_ms:g} ms.",
                    "95 % or more, and no less than earlier.",
                    "see below which tier moved.",
                ),
                lambda shift: queries.within(m.TTFT, target, shift=shift),
                Unit.SHARE,
                decimals=1,
                limits=theme.within_target(),
            ),
            *_pair(
                "Error rate",
                About(
                    "Share of requests without an answer, after failover.",
                    f"below {slo.error_rate:.0%}, and no more than earlier.",
                    "a faster test that fails more is no faster test.",
                ),
                lambda shift: figures.failed(shift=shift),
                Unit.SHARE,
                decimals=2,
                limits=theme.error_rate(slo),
            ),
        ],
    )


def _pair(
    title: str, about: About, query: Shifted, unit: Unit, *, decimals: int, limits: Limits
) -> list[grafana.Panel]:
    return [
        stat(
            f"{title}, {when}",
            about,
            Line(query(shift), when),
            unit,
            decimals=decimals,
            limits=limits,
        )
        for when, shift in (("now", ""), ("earlier", EARLIER))
    ]


def _curves(slo: Slo) -> Row:
    return Row(
        "Curves",
        [
            timeseries(
                "First token by tier, p95",
                About(
                    "95th percentile of the delivered first token by tier; pale: earlier.",
                    "the strong curve at or below the pale one.",
                    "load must be the same on both: compare requests a second.",
                ),
                _both(
                    lambda shift: queries.quantile(0.95, m.TTFT, "tier", shift=shift), "{{tier}} "
                ),
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
                colours=_pale(TIER_COLOURS),
            ),
            timeseries(
                "Requests by tier",
                About(
                    "Accepted requests a second by tier; pale: earlier.",
                    "the same load on both, or nothing else can be compared.",
                    "run both with the same scenario, users and seed.",
                ),
                _both(
                    lambda shift: queries.per_second(m.REQUESTS, "tier", shift=shift), "{{tier}} "
                ),
                Unit.REQUESTS_PER_SECOND,
                colours=_pale(TIER_COLOURS),
            ),
            timeseries(
                "Time per output token by tier, p95",
                About(
                    "95th percentile of the time between tokens after the first; pale: earlier.",
                    "the strong curve at or below the pale one.",
                    "an early first token bought with slow speech shows here.",
                ),
                _both(
                    lambda shift: queries.quantile(0.95, m.TPOT, "tier", shift=shift), "{{tier}} "
                ),
                Unit.SECONDS,
                decimals=1,
                colours=_pale(TIER_COLOURS),
            ),
            timeseries(
                "Output tokens a second",
                About(
                    "Output tokens a second over all backends; pale: earlier.",
                    "the strong curve at or above the pale one.",
                    "lower with the same requests: replies became shorter, or were cut off.",
                ),
                _both(_output, "tokens "),
                Unit.NUMBER,
                decimals=1,
                colours=_pale({"tokens": theme.NEUTRAL}),
            ),
            timeseries(
                "Local share",
                About(
                    "Local / (local + remote) requests that were answered; pale: earlier.",
                    "the same on both when only the engine was changed.",
                    "a faster figure with fewer local answers is a costlier one.",
                ),
                _both(figures.local_share, "local "),
                Unit.SHARE,
                decimals=1,
                colours=_pale({"local": theme.LOCAL}),
                highest=1,
            ),
            timeseries(
                "Requests that failed",
                About(
                    "Requests a second that ended as error, timeout or rejected; pale: earlier.",
                    "none on both.",
                    "see the types of error on Routing and actions, for each time range.",
                ),
                _both(_failed, "failed "),
                Unit.REQUESTS_PER_SECOND,
                decimals=3,
                colours=_pale({"failed": theme.ERROR}),
            ),
        ],
    )


def _both(query: Shifted, name: str) -> list[Line]:
    return [Line(query(""), f"{name}now"), Line(query(EARLIER), f"{name}earlier")]


def _pale(colours: dict[str, str]) -> list[Override]:
    return [
        override
        for word, colour in colours.items()
        for override in (
            coloured(f"^{word} now$", colour),
            coloured(f"^{word} earlier$", mixed(colour, 0.55)),
        )
    ]


def _output(shift: str) -> Query:
    return queries.per_second(m.TOKENS, where={"type": TokenType.OUTPUT}, shift=shift)


def _failed(shift: str) -> Query:
    return promql.total(queries.rate(m.REQUESTS, {"outcome": FAILED}, shift=shift))
