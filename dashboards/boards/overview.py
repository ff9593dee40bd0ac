"""Overview: are we meeting the goal? The first row answers; the rest says where to look next."""

from __future__ import annotations

from dashboards import metrics as m
from dashboards import promql, queries, theme
from dashboards.boards import figures
from dashboards.boards.frame import Board
from dashboards.panels import About, Line, Row, stat, timeline, timeseries
from dashboards.theme import Unit
from firsttoken.core.catalogue import TokenType
from firsttoken.core.slo import Slo


def board(slo: Slo) -> Board:
    """Return the board for these targets and thresholds."""
    return Board(
        name="overview",
        title="Overview",
        description="Are first tokens in time, and if not, where to look next.",
        rows=[_goal(slo), _users(slo), _traffic(slo), _state()],
    )


def _goal(slo: Slo) -> Row:
    target = slo.ttft_p95_ms
    return Row(
        "Are we meeting the goal?",
        [
            stat(
                "First token, p95",
                About(
                    "95th percentile of the time from reading a request to handing over its "
                    "first token, over all tiers, cache included, for the last five minutes "
                    "(recorded as first_response_time).",
                    f"at most {target:g} ms.",
                    "open the board Latency: it says which tier is late, and in which phase.",
                ),
                Line(queries.quantile(0.95, m.TTFT), "p95"),
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
            ),
            stat(
                "Within the target",
                About(
                    f"Share of first tokens that came within {target:g} ms. Exact, since a bucket "
                    "of the histogram ends there; the percentile beside it is interpolated.",
                    "95 % or more.",
                    "compare the tiers on the board Latency.",
                ),
                Line(queries.within(m.TTFT, target / 1000), "within"),
                Unit.SHARE,
                decimals=1,
                limits=theme.within_target(),
            ),
            stat(
                "Error rate",
                About(
                    "Share of accepted requests that the user got no answer to (error, timeout, "
                    "rejected), after failover.",
                    f"below {slo.error_rate:.0%}.",
                    "open Routing and actions: errors by backend and type.",
                ),
                Line(figures.failed(), "errors"),
                Unit.SHARE,
                decimals=2,
                limits=theme.error_rate(slo),
            ),
            stat(
                "Availability",
                About(
                    "Successes over accepted requests, those cancelled by the user left out.",
                    f"{slo.availability:.1%} or more; under about "
                    f"{slo.minimum_samples.availability:,} requests one failure "
                    "weighs more than the target allows.",
                    "see which backends were up, on Routing and actions.",
                ),
                Line(figures.availability(), "available"),
                Unit.SHARE,
                decimals=2,
                limits=theme.availability(slo),
            ),
            stat(
                "Local share",
                About(
                    "Local / (local + remote) requests that were answered (recorded as "
                    "local_vs_remote_ratio). Answers from the cache are neither.",
                    "what your priorities ask for; a fall means fees and slower first tokens.",
                    "see the reasons of routing decisions on Routing and actions.",
                ),
                Line(figures.local_share(), "local"),
                Unit.SHARE,
                decimals=1,
            ),
            stat(
                "Memory",
                About(
                    "Memory that cannot be reclaimed over the limit (recorded as memory_usage). "
                    "Mapped model files are not part of it: the kernel can drop them.",
                    f"below {slo.memory_share:.0%}.",
                    "open Engine and host; fewer slots or a smaller context need less.",
                ),
                Line(figures.memory_share(), "memory"),
                Unit.SHARE,
                decimals=1,
                limits=theme.memory(slo),
                empty="no data",
            ),
        ],
    )


def _users(slo: Slo) -> Row:
    return Row(
        "What users get",
        [
            stat(
                "Satisfaction",
                About(
                    "Mean of the ratings of the last hour, 1 to 5 stars (recorded as "
                    "user_satisfaction_score).",
                    "4 or more, over at least 20 ratings: see how many on Experience and cost.",
                    "compare with the time of first tokens and with the local share.",
                ),
                Line(figures.satisfaction(), "stars"),
                Unit.NUMBER,
                decimals=1,
                window=figures.RARE,
                width=6,
                empty="no ratings",
            ),
            stat(
                "Conversations completed",
                About(
                    "Completed over ended conversations of the last hour (recorded as "
                    "conversation_completion_rate). Open ones are not counted.",
                    "steady; a fall says that people hang up or get no answer.",
                    "see how conversations end on Experience and cost.",
                ),
                Line(figures.completion(), "completed"),
                Unit.SHARE,
                decimals=1,
                window=figures.RARE,
                width=6,
                empty="none ended",
            ),
            stat(
                "Attempts in flight",
                About(
                    "Attempts under way at all backends now.",
                    f"up to {slo.concurrent_talkers}, the number of talkers that the targets "
                    "are promised for.",
                    "more than the slots of the engine means waiting: see Engine and host.",
                ),
                Line(promql.total(queries.select(m.IN_FLIGHT)), "in flight"),
                Unit.NUMBER,
                limits=theme.Limits(warn=slo.concurrent_talkers + 1),
                width=6,
                empty="no data",
            ),
            stat(
                "Mode",
                About(
                    "What the router does: normal; local only (set so); hybrid (local is slow, "
                    "its share moves); reduced local (processor busy); remote only.",
                    "normal, or local only where hybrid mode is off.",
                    "see since when on Routing and actions; the breaker closes by probes alone.",
                ),
                Line(queries.coded(m.MODE, "mode", theme.MODES), "mode"),
                Unit.NUMBER,
                width=6,
                empty="no data",
                mappings=theme.states(theme.MODES, theme.MODE_COLOURS),
            ),
        ],
    )


def _traffic(slo: Slo) -> Row:
    return Row(
        "Rate, errors, duration",
        [
            timeseries(
                "First token by tier, p95",
                About(
                    "95th percentile of the delivered first token, each tier by itself: one "
                    "percentile over a fast and a slow tier describes neither.",
                    f"below {slo.ttft_p95_ms:g} ms; dashed lines are the target and the alert.",
                    "local late: Engine and host. Remote late: the provider, or the way there.",
                ),
                [Line(queries.quantile(0.95, m.TTFT, "tier"), "{{tier}}")],
                Unit.SECONDS,
                decimals=1,
                limits=theme.first_token(slo),
                colours=theme.BY_TIER,
            ),
            timeseries(
                "Requests by tier",
                About(
                    "Accepted requests a second by the tier that produced the answer; none: "
                    "nobody did.",
                    "what your devices send; none stays at zero.",
                    "none above zero: errors by type on Routing and actions.",
                ),
                [Line(queries.per_second(m.REQUESTS, "tier"), "{{tier}}")],
                Unit.REQUESTS_PER_SECOND,
                colours=theme.BY_TIER,
                stacked=True,
            ),
            timeseries(
                "Share of requests by outcome",
                About(
                    "How accepted requests ended, of all requests; each is counted once.",
                    "all success; cancelled where users interrupt the voice.",
                    "timeout: the engine or the way to it is slow. Rejected: more talkers than "
                    "slots and queue take. Error: see errors by type.",
                ),
                [Line(figures.by_outcome(), "{{outcome}}")],
                Unit.SHARE,
                colours=theme.BY_OUTCOME,
                highest=1,
            ),
            timeseries(
                "Attempts that failed, by backend",
                About(
                    "Share of attempts at a backend that ended as error, timeout or rejected, "
                    "before failover; of the local tier recorded as local_model_error_rate.",
                    "near zero; the dashed red line is the alert on the local tier.",
                    "failover hides it from users and costs them time: see the fallback tax on "
                    "Latency.",
                ),
                [Line(figures.attempts_failed(), "{{tier}} {{backend}}")],
                Unit.SHARE,
                limits=theme.error_rate(slo),
                colours=theme.by_backend(),
            ),
        ],
    )


def _state() -> Row:
    return Row(
        "State",
        [
            timeline(
                "Circuits",
                About(
                    "State of each backend's circuit breaker: open while no requests are sent "
                    "there, half open while probes decide.",
                    "closed.",
                    "the type of errors on Routing and actions says why it opened.",
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
                "Tokens a second by backend",
                About(
                    "Output tokens a second as the backends counted them; of the local tier "
                    "recorded as local_model_throughput.",
                    "local near what the engine reaches in a capacity run.",
                    "low with requests waiting: the engine is out of processors, see Engine and "
                    "host.",
                ),
                [Line(figures.tokens_per_second(TokenType.OUTPUT), "{{tier}} {{backend}}")],
                Unit.NUMBER,
                decimals=1,
                colours=theme.by_backend(),
                height=6,
            ),
        ],
    )
