"""How far off is the generator's own clock? Measured against a server that knows the truth.

    python -m firsttoken.load.calibrate --url http://127.0.0.1:43117 --users 20 --seconds 4

The same client under the same event loop as in a load test asks the truth server
(``firsttoken.upstreams.truth``), which remembers when each request arrived and when it wrote each
first token. Two figures a request, joined by its id:

- **error** = the client's TTFT minus the server's = (t_first_token - t_send) - (first_token_ns -
  received_ns). It is what every TTFT of a run is too long by, on the way there and back, and the
  figure that has a budget.
- **lag** = t_first_token - first_token_ns: the way back alone, by the clock that both processes of
  a host share.

Talkers start one after the other over a second. The first reply of each is left out, as it is in
a run's warm-up: it pays for the connection. Importing this module patches the process.
"""

# ruff: noqa: E402 - patching has to come before everything that is patched
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import gc
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

import gevent

from firsttoken.core.child import die_with_parent
from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode, Outcome
from firsttoken.load.client import Limits, Line, StreamClient
from firsttoken.load.endpoint import Endpoint
from firsttoken.load.exchange import Exchange
from firsttoken.load.meter import Meter, quantile
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest

RAMP_SECONDS = 1.0
MODEL = "truth"
_MAX_TRUTH_BYTES = 64 * 1024 * 1024


def _talk(line: Line, user: int, start_ns: int, stop_ns: int, max_tokens: int) -> list[Exchange]:
    """Be one talker from ``start_ns`` on; return its exchanges."""
    client = StreamClient(line)
    exchanges: list[Exchange] = []
    run = f"calibrate-{time.time_ns()}"
    gevent.sleep(max(0, start_ns - monotonic_ns()) / NS_PER_S)
    while monotonic_ns() < stop_ns:
        exchange = Exchange(f"{run}-{user}-{len(exchanges)}", monotonic_ns())
        messages = [{"role": "user", "content": "What is the truth?"}]
        request = ChatRequest(MODEL, messages, stream=True, max_tokens=max_tokens)
        client.ask(request, exchange)
        exchanges.append(exchange)
        if exchange.outcome != Outcome.SUCCESS:
            gevent.sleep(0.1)  # a server that fails at once must not be hammered
    client.close()
    return exchanges


def _truth(url: str) -> dict[str, dict[str, Any]]:
    """Return what the server remembers, by request id.

    Raises:
        UserError: it is no truth server.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/truth?after=0", timeout=10) as reply:  # noqa: S310
            page = json.loads(reply.read(_MAX_TRUTH_BYTES))
        return {row["request_id"]: row for row in page["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{url} is no truth server: {error}") from error


def calibrate(url: str, users: int, seconds: float, max_tokens: int = 24) -> dict[str, Any]:
    """Measure for ``seconds`` with ``users`` talkers; return the figures that are printed.

    Raises:
        UserError: a number is out of range, the server does not answer or is no truth server, or
            not one reply was left to compare.
    """
    if not (1 <= users <= 10_000 and 0 < seconds <= 3600 and max_tokens >= 1):
        raise UserError("--users is 1 to 10000, --seconds up to 3600, --max-tokens 1 or more")
    line = Line(Endpoint.resolve(url), dialects.get("openai"), limits=Limits())
    _truth(url)
    gc.collect()
    gc.freeze()
    meter = Meter()
    cpu_ns = time.process_time_ns()
    begin_ns = monotonic_ns()
    stop_ns = begin_ns + int((RAMP_SECONDS + seconds) * NS_PER_S)
    ramp_ns = int(RAMP_SECONDS * NS_PER_S)
    talkers = [
        gevent.spawn(_talk, line, user, begin_ns + ramp_ns * user // users, stop_ns, max_tokens)
        for user in range(users)
    ]
    gevent.joinall(talkers, raise_error=True)
    cpu_ns = time.process_time_ns() - cpu_ns
    hygiene = meter.take()
    meter.close()
    replies = [exchange for talker in talkers for exchange in talker.value[1:]]
    tokens = sum(exchange.token_events for talker in talkers for exchange in talker.value)
    failed = next((reply for reply in replies if reply.outcome != Outcome.SUCCESS), None)
    if failed is not None:
        raise UserError(f"the truth server failed a request: {failed.message}")
    error_ms, lag_ms = _compare(replies, _truth(url))
    if not error_ms:
        raise UserError("no reply was left to compare: give it more --seconds")
    return {
        "users": users,
        "requests": len(error_ms),
        **_quantiles("error", error_ms),
        **_quantiles("lag", lag_ms),
        "cpu_us_per_token": round(cpu_ns / 1000 / max(tokens, 1), 2),
        "generator_cpu": round(hygiene.cpu_share, 4),
        "loop_lag_p99_ms": round(hygiene.lag_p99_ms, 3),
        "tokens": tokens,
    }


def _compare(
    replies: Sequence[Exchange], truth: dict[str, dict[str, Any]]
) -> tuple[list[float], list[float]]:
    """Return error and delivery lag of each reply that the server remembers, milliseconds."""
    error_ms: list[float] = []
    lag_ms: list[float] = []
    for reply in replies:
        row = truth.get(reply.request_id)
        if row is None or reply.t_first_token_ns is None or reply.ttft_ms is None:
            continue
        true_ttft_ms = (row["first_token_ns"] - row["received_ns"]) / NS_PER_MS
        error_ms.append(reply.ttft_ms - true_ttft_ms)
        lag_ms.append((reply.t_first_token_ns - row["first_token_ns"]) / NS_PER_MS)
    return error_ms, lag_ms


def _quantiles(name: str, values: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": round(quantile(values, 0.50) or 0.0, 4),
        f"{name}_p99_ms": round(quantile(values, 0.99) or 0.0, 4),
        f"{name}_max_ms": round(max(values), 4),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Calibrate as asked on the command line, print one JSON line; return the exit code."""
    die_with_parent()
    parser = argparse.ArgumentParser(
        "python -m firsttoken.load.calibrate", description="Measure the load generator's own error."
    )
    parser.add_argument("--url", required=True, help="base URL of a running truth server")
    parser.add_argument("--users", type=int, default=20, help="talkers (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="after a ramp of one second")
    parser.add_argument("--max-tokens", type=int, default=24, help="length of a reply")
    options = parser.parse_args(argv)
    try:
        print(
            json.dumps(calibrate(options.url, options.users, options.seconds, options.max_tokens))
        )
    except UserError as error:
        print(f"firsttoken: {error}", file=sys.stderr)
        return int(ExitCode.USAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
