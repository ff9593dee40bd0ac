"""The figures that rules are about, as queries: what counts as failed, late, local."""

from __future__ import annotations

from functools import reduce

from dashboards.metrics import (
    ATTEMPTS,
    BACKEND_TTFT,
    CONVERSATIONS_ENDED,
    CPU_LIMIT,
    FALLBACKS,
    FEEDBACK,
    MEMORY_LIMIT,
    MEMORY_UNRECLAIMABLE,
    PROCESS_CPU,
    REQUESTS,
    TOKENS,
    TTFT,
)
from dashboards.promql import (
    Except,
    Query,
    edge,
    either,
    less,
    of_tier,
    over,
    plus,
    quantile,
    ratio,
    renamed,
    series,
    total,
)
from firsttoken.core.catalogue import ConversationEnd, Rating, TokenType
from firsttoken.core.words import Outcome, Tier

ROUTER_JOB = "firsttoken-router"
EXPORTER_JOB = "firsttoken-exporter"

FAILED = (Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED)
"""Outcomes that fail the user; a cancelled request is nobody's failure."""

COUNTED = Except((Outcome.CANCELLED,))
"""Outcomes of which the failed ones are a share."""


def local_response_time(seconds: int) -> Query:
    """First token of the local engine, 95th percentile of its attempts; seconds."""
    buckets = over("rate", series(BACKEND_TTFT, part="_bucket"), seconds)
    return quantile(0.95, total(of_tier(total(buckets, "backend", "le"), Tier.LOCAL), "le"))


def local_first_tokens(seconds: int) -> Query:
    """Number of local attempts that had a first token."""
    return total(_local(over("increase", series(BACKEND_TTFT, part="_count"), seconds)))


def local_throughput(seconds: int) -> Query:
    """Output tokens a second of the local engine."""
    return total(_local(over("rate", series(TOKENS, {"type": TokenType.OUTPUT}), seconds)))


def local_attempts(seconds: int) -> Query:
    """Number of local attempts that were not cancelled."""
    return total(_local(over("increase", series(ATTEMPTS, {"outcome": COUNTED}), seconds)))


def local_error_rate(seconds: int) -> Query:
    """Share of local attempts that failed, before any failover."""
    failed = total(_local(over("rate", series(ATTEMPTS, {"outcome": FAILED}), seconds)))
    tried = total(_local(over("rate", series(ATTEMPTS, {"outcome": COUNTED}), seconds)))
    return ratio(failed, tried)


def memory_share() -> Query:
    """Memory that cannot be reclaimed as a share of the limit."""
    return total(ratio(series(MEMORY_UNRECLAIMABLE), series(MEMORY_LIMIT)), how="max")


def cpu_share(seconds: int) -> Query:
    """Processor time of the engine as a share of what it may use."""
    spent = over("rate", series(PROCESS_CPU, {"component": "engine"}), seconds)
    used = total(spent, "job", "instance")
    return total(ratio(used, total(series(CPU_LIMIT), "job", "instance", how="max")), how="max")


def local_share(seconds: int) -> Query:
    """Requests answered locally as a share of those answered by any model."""
    local = over("rate", series(REQUESTS, {"tier": Tier.LOCAL}), seconds)
    models = over("rate", series(REQUESTS, {"tier": (Tier.LOCAL, Tier.REMOTE)}), seconds)
    return ratio(total(local), total(models))


def answered_by_models(seconds: int) -> Query:
    """Number of requests answered by any model."""
    return total(over("increase", series(REQUESTS, {"tier": (Tier.LOCAL, Tier.REMOTE)}), seconds))


def satisfaction(seconds: int) -> Query:
    """Mean rating, 1 to 5: the mean is the sum over k of the share of ratings of k or more."""
    ratings = tuple(Rating)
    # A rating that was never given may have no series, and nothing plus a number is nothing.
    at_least = [
        either(
            total(over("increase", series(FEEDBACK, {"rating": ratings[index:]}), seconds)),
            Query("vector(0)"),
        )
        for index in range(len(ratings))
    ]
    return ratio(reduce(plus, at_least), rated(seconds))


def rated(seconds: int) -> Query:
    """Number of ratings."""
    return total(over("increase", series(FEEDBACK), seconds))


def first_response_time(seconds: int) -> Query:
    """First token as delivered, 95th percentile over all tiers; seconds."""
    buckets = over("rate", series(TTFT, part="_bucket"), seconds)
    return quantile(0.95, total(buckets, "le"))


def first_tokens(seconds: int) -> Query:
    """Number of delivered first tokens."""
    return total(over("increase", series(TTFT, part="_count"), seconds))


def completion_rate(seconds: int) -> Query:
    """Conversations that ended well as a share of those that ended."""
    well = over(
        "increase", series(CONVERSATIONS_ENDED, {"end": ConversationEnd.COMPLETED}), seconds
    )
    return ratio(total(well), ended(seconds))


def ended(seconds: int) -> Query:
    """Number of conversations that ended."""
    return total(over("increase", series(CONVERSATIONS_ENDED), seconds))


def within_target(target_seconds: float, seconds: int) -> Query:
    """Share of first tokens within the target, by job: exact, as the target is a bucket's edge."""
    early = over("rate", _early(target_seconds), seconds)
    return ratio(
        total(early, "job"), total(over("rate", series(TTFT, part="_count"), seconds), "job")
    )


def late(target_seconds: float, seconds: int) -> Query:
    """Number of first tokens after the target, by job."""
    every = over("increase", series(TTFT, part="_count"), seconds)
    early = over("increase", _early(target_seconds), seconds)
    return less(total(every, "job"), total(early, "job"))


def failed_share(seconds: int) -> Query:
    """Share of requests that failed the user, after every failover, by job."""
    failed = over("rate", series(REQUESTS, {"outcome": FAILED}), seconds)
    counted = over("rate", series(REQUESTS, {"outcome": COUNTED}), seconds)
    return ratio(total(failed, "job"), total(counted, "job"))


def failed(seconds: int) -> Query:
    """Number of requests that failed the user, by job."""
    return total(over("increase", series(REQUESTS, {"outcome": FAILED}), seconds), "job")


def local_fallbacks(seconds: int) -> Query:
    """Number of moves away from a failed local attempt, by backend."""
    moves = over("increase", series(FALLBACKS), seconds)
    return of_tier(total(renamed(moves, "from", "backend"), "backend"), Tier.LOCAL)


def local_attempts_by_backend(seconds: int) -> Query:
    """Number of local attempts that were not cancelled, by backend."""
    return _local(over("increase", series(ATTEMPTS, {"outcome": COUNTED}), seconds))


def _local(query: Query) -> Query:
    return of_tier(total(query, "backend"), Tier.LOCAL)


def _early(target_seconds: float) -> Query:
    return series(TTFT, {"le": edge(TTFT, target_seconds)}, part="_bucket")
