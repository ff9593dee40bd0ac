"""Figures that several boards show, under the definitions that the rules have too."""

from __future__ import annotations

from functools import reduce

from dashboards import metrics as m
from dashboards import promql, queries
from dashboards.promql import Matcher, Query
from dashboards.rules.terms import COUNTED, FAILED
from firsttoken.core.catalogue import ConversationEnd, Rating, TokenType
from firsttoken.core.words import Outcome, Tier

RARE = "1h"
"""Window of what comes seldom: ratings, ends of conversations, fees."""

MODELS: Matcher = (Tier.LOCAL, Tier.REMOTE)
SECONDS_PER_HOUR = 3600


def failed(*by: str, shift: str = "") -> Query:
    """Return the share of requests without an answer, after failover; cancelled ones left out."""
    return queries.share(m.REQUESTS, {"outcome": FAILED}, *by, of={"outcome": COUNTED}, shift=shift)


def availability() -> Query:
    """Return the share of requests that succeeded; cancelled ones left out."""
    return queries.share(m.REQUESTS, {"outcome": Outcome.SUCCESS}, of={"outcome": COUNTED})


def by_outcome() -> Query:
    """Return the share of each outcome among all requests."""
    whole = promql.compare(queries.per_second(m.REQUESTS), ">", 0)
    return Query(
        f"{queries.per_second(m.REQUESTS, 'outcome').text} / on () group_left () {whole.operand()}",
        compound=True,
    )


def local_share(shift: str = "") -> Query:
    """Return the share of the local tier among requests answered by a model."""
    return queries.share(m.REQUESTS, {"tier": Tier.LOCAL}, of={"tier": MODELS}, shift=shift)


def memory_share() -> Query:
    """Return memory that cannot be reclaimed over its limit."""
    return promql.total(
        promql.ratio(queries.select(m.MEMORY_UNRECLAIMABLE), queries.select(m.MEMORY_LIMIT)),
        how="max",
    )


def cpu_share() -> Query:
    """Return processor time of the engine over what it may use."""
    used = queries.per_second(m.PROCESS_CPU, "job", "instance", where={"component": "engine"})
    limit = queries.highest(m.CPU_LIMIT, "job", "instance")
    return promql.total(promql.ratio(used, limit), how="max")


def attempts_failed() -> Query:
    """Return the share of attempts at each backend that failed, before failover."""
    return promql.ratio(
        _of_backends(queries.rate(m.ATTEMPTS, {"outcome": FAILED})),
        _of_backends(queries.rate(m.ATTEMPTS, {"outcome": COUNTED})),
    )


def tokens_per_second(kind: TokenType) -> Query:
    """Return tokens a second of each backend."""
    return _of_backends(queries.rate(m.TOKENS, {"type": kind}))


def attempts_per_second() -> Query:
    """Return attempts a second at each backend."""
    return _of_backends(queries.rate(m.ATTEMPTS))


def in_flight() -> Query:
    """Return attempts under way at each backend."""
    return _of_backends(queries.select(m.IN_FLIGHT))


def up() -> Query:
    """Return the share of routers that send requests to each backend."""
    return promql.total(
        queries.with_tier(queries.select(m.BACKEND_UP)), "tier", "backend", how="avg"
    )


def cost_per_hour() -> Query:
    """Return fees of each backend, in USD an hour at the present rate."""
    return promql.times(_of_backends(queries.rate(m.COST)), SECONDS_PER_HOUR)


def satisfaction() -> Query:
    """Return the mean rating, 1 to 5.

    It is the sum over k of the share of ratings of k or more.
    """
    ratings = tuple(Rating)
    # A rating that was never given may have no series, and nothing plus a number is nothing.
    at_least = [
        promql.either(
            queries.per_second(m.FEEDBACK, where={"rating": ratings[place:]}), Query("vector(0)")
        )
        for place in range(len(ratings))
    ]
    return promql.ratio(reduce(promql.plus, at_least), queries.per_second(m.FEEDBACK))


def completion() -> Query:
    """Return the share of ended conversations that were completed."""
    return queries.share(m.CONVERSATIONS_ENDED, {"end": ConversationEnd.COMPLETED})


def fallback_tax() -> Query:
    """Return the median delivered first token minus that of attempts; at least 0, seconds.

    Medians of two histograms, so a hint and no measurement of single requests: the load test's
    report has those.
    """
    models: dict[str, Matcher] = {"tier": MODELS}
    delivered = queries.quantile(0.5, m.TTFT, where=models)
    tried = queries.quantile(0.5, m.BACKEND_TTFT)
    return Query(f"clamp_min({promql.less(delivered, tried).text}, 0)")


def _of_backends(query: Query) -> Query:
    return promql.total(queries.with_tier(query), "tier", "backend")
