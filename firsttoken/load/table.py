"""Locust's own table and web UI, kept honest: rows TTFT, TTFS, TPOT and E2E at 1 ms.

Locust keeps response times to two digits: 404 ms becomes 400 and meets a target of 400. And each
request event counts as a request: firing four of them a reply would show four times the rate. So
the bucket is set to 1 ms and E2E alone is fired as a request: "Aggregated", Locust's charts and its
rates are those of E2E, and nothing is mixed or counted twice. The other three are rows beside it.
TTFT counts a failed request as a failure without a time, as E2E does with one; TTFS and TPOT are of
replies that had them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import locust.stats
from locust.runners import WorkerRunner
from locust.stats import StatsCSVFileWriter

from firsttoken.core.clock import NS_PER_MS
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


def keep_the_last_second() -> None:
    """Have Locust's CSV files tell the end of the run, in the whole process.

    It writes them once a second and closes them as they are: the replies of the last second, the
    slow ones that were waited for, would be missing.
    """
    close = StatsCSVFileWriter.close_files

    def close_files(self: StatsCSVFileWriter) -> None:
        for file, writer, write in (
            (self.requests_csv_filehandle, self.requests_csv_writer, self.requests_csv),
            (self.failures_csv_filehandle, self.failures_csv_writer, self.failures_csv),
        ):
            file.seek(0)
            write(writer)
            file.truncate()
        close(self)

    StatsCSVFileWriter.close_files = close_files  # type: ignore[method-assign]


def tell_the_master_before_stopping(runner: WorkerRunner) -> None:
    """Have a worker send its last figures before it says that it has stopped.

    Locust has it say so first, and the master then throws away what comes from a worker that is
    gone: up to three seconds of replies. After that it sleeps as long as it could have waited for
    replies, and hears neither ``quit`` nor the next start; its talkers have ended by then.
    """
    stop = runner.stop

    def stop_and_tell() -> None:
        stop()
        data: dict[str, Any] = {}
        runner.environment.events.report_to_master.fire(client_id=runner.client_id, data=data)
        runner.send_message("stats", data)
        # The next start brings it anew.
        runner.environment.stop_timeout = 0.0

    runner.stop = stop_and_tell  # type: ignore[method-assign]


def show(environment: Environment, exchange: Exchange) -> None:
    """Count one finished exchange in Locust's statistics.

    E2E of a request that never left (no connection) is the time it was tried for. A reply that the
    person interrupted has its first token, but no end: E2E counts the request without a time.
    """
    stats = environment.stats
    if exchange.outcome in {Outcome.SUCCESS, Outcome.CANCELLED}:
        failure = None
        for name in ("TTFT", "TTFS", "TPOT"):
            value: float | None = getattr(exchange, f"{name.lower()}_ms")
            if value is not None:
                stats.get(name, METHOD).log(value, 0)  # type: ignore[arg-type]
    else:
        failure = RequestFailedError(f"{exchange.outcome} ({exchange.error_type})")
        first = stats.get("TTFT", METHOD)
        first.log(None, 0)  # type: ignore[arg-type]
        first.log_error(failure)
    environment.events.request.fire(
        request_type=METHOD,
        name="E2E",
        response_time=_e2e_ms(exchange),
        response_length=0,
        exception=failure,
        context={"exchange": exchange},
        response=None,
    )


def _e2e_ms(exchange: Exchange) -> float | None:
    if exchange.outcome == Outcome.CANCELLED:
        return None
    start_ns = exchange.t_send_ns or exchange.t_sched_ns
    return ((exchange.t_end_ns or start_ns) - start_ns) / NS_PER_MS
