"""Routing and actions: who answers and why, what failed, what was done about it."""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import queries, theme
from dashboards.boards import figures
from dashboards.boards.frame import Board
from dashboards.panels import About, Line, Row, timeline, timeseries
from dashboards.theme import Unit, coloured
from firsttoken.core.catalogue import ActionResult, CacheCheck, CacheResult, HedgeResult
from firsttoken.core.slo import Slo

HEDGE_COLOURS: dict[str, str] = {
    HedgeResult.WON: theme.GOOD,
    HedgeResult.LOST: theme.NOBODY,
    HedgeResult.FAILED: theme.ERROR,
    HedgeResult.DENIED: theme.WARN,
}
CHECK_COLOURS: dict[str, str] = {
    CacheCheck.AGREED: theme.GOOD,
    CacheCheck.DIFFERED: theme.ERROR,
    CacheCheck.FAILED: theme.NOBODY,
}
ACTION_COLOURS = [
    coloured(f" {ActionResult.SUCCEEDED}$", theme.GOOD),
    coloured(f" {ActionResult.FAILED}$", theme.ERROR),
    coloured(f" {ActionResult.REFUSED}$", theme.WARN),
    coloured(f" {ActionResult.DRY_RUN}$", theme.LOCAL),
]


def board(slo: Slo) -> Board:
    """Return the board for these targets and thresholds."""
    return Board(
        name="routing",
        title="Routing and actions",
        description="Who answers and why, what failed, and what was done about it.",
        rows=[_decisions(), _failures(slo), _extras(), _state()],
    )


def _decisions() -> Row:
    return Row(
        "Decisions",
        [
            timeseries(
                "Decisions by reason",
                About(
                    "Accepted requests a second by the tier that was chosen first, and why.",
                    "the reasons that your rules are written for.",
                    "much local_slow, local_unhealthy or queue_full: the engine is the limit, "
                    "see Engine and host.",
                ),
                [
                    Line(
                        queries.seen(queries.per_second(m.DECISIONS, "tier", "reason")),
                        "{{tier}} {{reason}}",
                    )
                ],
                Unit.REQUESTS_PER_SECOND,
                colours=theme.by_backend(),
                stacked=True,
            ),
            timeseries(
                "Local share",
                About(
                    "Local / (local + remote) requests that were answered (recorded as "
                    "local_vs_remote_ratio).",
                    "what your priorities ask for.",
                    "see which reason grew when it fell.",
                ),
                [Line(figures.local_share(), "local")],
                Unit.SHARE,
                decimals=1,
                colours=theme.BY_TIER,
                highest=1,
            ),
        ],
    )


def _failures(slo: Slo) -> Row:
    return Row(
        "Failures",
        [
            timeseries(
                "Attempts by backend",
                About(
                    "Attempts a second at each backend, hedges and failovers included.",
                    "the sum near the rate of requests.",
                    "well above it: every request costs several attempts.",
                ),
                [Line(figures.attempts_per_second(), "{{tier}} {{backend}}")],
                Unit.REQUESTS_PER_SECOND,
                colours=theme.by_backend(),
                stacked=True,
                width=8,
            ),
            timeseries(
                "Share of attempts that failed",
                About(
                    "Error, timeout or rejected over all attempts but the cancelled ones, before "
                    "failover.",
                    "near zero; dashed lines are the target for users and the alert.",
                    "see the types of error beside it.",
                ),
                [Line(figures.attempts_failed(), "{{tier}} {{backend}}")],
                Unit.SHARE,
                limits=theme.error_rate(slo),
                colours=theme.by_backend(),
                width=8,
            ),
            timeseries(
                "Errors by backend and type",
                About(
                    "Attempts a second that did not succeed, by why.",
                    "none, but for client_gone where users interrupt.",
                    "connect: the engine is down. auth: the key. rate_limited: the provider's "
                    "limit. context_overflow: num_ctx is too small for the prompts.",
                ),
                [
                    Line(
                        queries.seen(queries.per_second(m.ERRORS, "backend", "error_type")),
                        "{{backend}} {{error_type}}",
                    )
                ],
                Unit.PER_SECOND,
                colours=[theme.shades(theme.ERROR)],
                stacked=True,
                width=8,
                empty="none",
            ),
            timeseries(
                "Fallbacks",
                About(
                    "Moves a second from a failed attempt to the next backend.",
                    "none.",
                    "each one costs its user the time that the failed attempt took: see the "
                    "fallback tax on Latency.",
                ),
                [
                    Line(
                        queries.seen(queries.per_second(m.FALLBACKS, "from", "to")),
                        "{{from}} to {{to}}",
                    )
                ],
                Unit.PER_SECOND,
                colours=[theme.shades(theme.ERROR)],
                stacked=True,
                empty="none",
            ),
            timeseries(
                "Fallbacks by why",
                About(
                    "Moves a second to the next backend, by why the attempt before failed.",
                    "none.",
                    "first_token_timeout: the backend's timeout is what its users wait; lower it "
                    "or relieve the backend.",
                ),
                [
                    Line(
                        queries.seen(queries.per_second(m.FALLBACKS, "error_type")),
                        "{{error_type}}",
                    )
                ],
                Unit.PER_SECOND,
                colours=[theme.shades(theme.ERROR)],
                stacked=True,
                empty="none",
            ),
        ],
    )


def _extras() -> Row:
    return Row(
        "Hedges and caches",
        [
            timeseries(
                "Hedges",
                About(
                    "Second attempts that were due while the first still ran, by what became of "
                    "them.",
                    "few, most of them won.",
                    "many lost: the delay before a hedge is too short. Denied: the budget for "
                    "extra load is spent.",
                ),
                [Line(queries.per_second(m.HEDGES, "result"), "{{result}}")],
                Unit.PER_SECOND,
                colours=theme.by_word(HEDGE_COLOURS),
                stacked=True,
                width=8,
            ),
            timeseries(
                "Share of lookups that hit",
                About(
                    "Hits over lookups of the exact and the semantic cache.",
                    "what your users repeat; an answer from a cache comes within milliseconds.",
                    "no data while caches are off, or no request may be cached.",
                ),
                [
                    Line(
                        queries.share(m.CACHE_LOOKUPS, {"result": CacheResult.HIT}, "cache"),
                        "{{cache}}",
                    )
                ],
                Unit.SHARE,
                decimals=1,
                colours=[
                    coloured("^exact", theme.CACHE),
                    coloured("^semantic", theme.mixed(theme.CACHE, 0.5)),
                ],
                highest=1,
                width=8,
                empty="no lookups",
            ),
            timeseries(
                "Checks of semantic hits",
                About(
                    "Hits of the semantic cache that were checked against a model afterwards.",
                    "all agreed.",
                    "differed: raise the cache's threshold; its false-hit ratio is in the metrics.",
                ),
                [Line(queries.per_second(m.CACHE_CHECKS, "result"), "{{result}}")],
                Unit.PER_SECOND,
                decimals=3,
                colours=theme.by_word(CHECK_COLOURS),
                stacked=True,
                width=8,
            ),
        ],
    )


def _state() -> Row:
    return Row(
        "State and actions",
        [
            timeline(
                "Mode",
                About(
                    "What the router does with local traffic: normal, set to local only, hybrid, "
                    "reduced, remote only.",
                    "normal, or local only where hybrid mode is off.",
                    "the mode follows the engine's response time, load and health.",
                ),
                [Line(queries.coded(m.MODE, "mode", theme.MODES), "mode")],
                theme.states(theme.MODES, theme.MODE_COLOURS),
            ),
            timeline(
                "Circuits",
                About(
                    "State of each backend's circuit breaker: open while no requests are sent "
                    "there, half open while probes decide.",
                    "closed.",
                    "it closes by probes that succeed, never because an alert is resolved.",
                ),
                [
                    Line(
                        queries.coded(m.CIRCUIT, "state", theme.CIRCUIT_STATES, "backend"),
                        "{{backend}}",
                    )
                ],
                theme.states(theme.CIRCUIT_STATES, theme.CIRCUIT_COLOURS),
            ),
            timeseries(
                "Backends up",
                About(
                    "Share of routers that send requests to the backend.",
                    "1 for each.",
                    "0: its circuit is open; see errors by type.",
                ),
                [Line(figures.up(), "{{tier}} {{backend}}")],
                Unit.SHARE,
                decimals=0,
                colours=theme.by_backend(),
                highest=1,
                height=6,
                empty="no data",
            ),
            timeseries(
                "Actions",
                About(
                    "Remedial actions a second, by what became of them.",
                    "none; dry_run while actions are not switched on.",
                    "failed: read the audit log. refused: a cool-down, a limit, an interlock or "
                    "the kill switch forbade it.",
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
                height=6,
                empty="none",
            ),
        ],
    )
