"""Locust's own table and web UI, kept honest: rows TTFT, TTFS, TPOT and E2E at 1 ms.

Locust keeps response times to two digits: 404 ms becomes 400 and meets a target of 400. And each
request event counts as a request: firing four of them a reply would show four times the rate. So
the bucket is set to 1 ms, E2E alone is fired as a request, with its failure if it had one, and the
other three are rows beside it that count only replies that succeeded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import locust.stats

from firsttoken.core.words import Outcome
from firsttoken.load.exchange import Exchange

if TYPE_CHECKING:
    from locust.env import Environment

METHOD = "LLM"


class RequestFailedError(Exception):
    """What Locust's list of failures shows: outcome and error type, so that equal ones add up."""

    def __repr__(self) -> str:
        return str(self)


def keep_milliseconds() -> None:
    """Have Locust keep response times to 1 ms instead of two digits, in the whole process."""
    locust.stats.bucket_response_time = round  # type: ignore[assignment]


def show(environment: Environment, exchange: Exchange) -> None:
    """Count one finished exchange in Locust's statistics.

    E2E of a request that never left (no connection) is the time it was tried for.
    """
    failure: RequestFailedError | None = None
    if exchange.outcome == Outcome.SUCCESS:
        stats = environment.stats
        for name in ("TTFT", "TTFS", "TPOT"):
            value: float | None = getattr(exchange, f"{name.lower()}_ms")
            if value is not None:
                stats.get(name, METHOD).log(value, 0)  # type: ignore[arg-type]
    else:
        failure = RequestFailedError(f"{exchange.outcome} ({exchange.error_type})")
    start_ns = exchange.t_send_ns or exchange.t_sched_ns
    environment.events.request.fire(
        request_type=METHOD,
        name="E2E",
        response_time=((exchange.t_end_ns or start_ns) - start_ns) / 1e6,
        response_length=0,
        exception=failure,
        context={},
        response=None,
    )
