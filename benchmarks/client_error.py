"""How far off the load generator's own clock is, at several numbers of talkers.

    python benchmarks/client_error.py --users 20,100,200 --rounds 3 --seconds 8

Each round starts a truth server, which knows when it wrote each first token, and measures it with
the client of the load tests in a process of its own. Error is the client's TTFT minus the server's,
a request; ``firsttoken.load.calibrate`` says how it is defined. Results go to standard output as a
Markdown table with what the machine was doing meanwhile: on a busy machine the error is the
machine's. The last column is the p99 we want on a machine with two cores and nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError

TARGET_P99_MS = {20: 3.0, 100: 5.0, 200: 15.0}
"""Error p99 wanted on an otherwise idle machine with two cores; shown beside, not asserted."""


def measure(users: int, seconds: float, token_interval_ms: float) -> dict[str, Any]:
    """Return the figures of one calibration.

    Raises:
        UserError: a child failed.
    """
    truth_argv = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    truth_argv += ["--token-interval-ms", str(token_interval_ms)]
    with Child.start(truth_argv) as truth:
        argv = [sys.executable, "-m", "firsttoken.load.calibrate", "--url", truth.url]
        argv += ["--users", str(users), "--seconds", str(seconds)]
        with Child.start(argv, ready_timeout_s=None) as generator:
            lines = list(generator.lines())
            if generator.wait(30) != 0 or not lines:
                raise UserError(f"the calibration failed: {generator.last_error_line()}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Error of the load generator's own clock.")
    parser.add_argument("--users", default="20,100,200", help="numbers of talkers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--token-interval-ms", type=float, default=20.0)
    options = parser.parse_args(argv)
    print(f"cores {os.cpu_count()}, rounds {options.rounds}, {options.seconds:g} s each\n")
    print(
        "| users | n | p50 ms | p99 ms | max ms | lag p99 | CPU us/token | core | load | target |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for users in (int(text) for text in options.users.split(",")):
        target = TARGET_P99_MS.get(users)
        for _ in range(options.rounds):
            found = measure(users, options.seconds, options.token_interval_ms)
            print(
                f"| {users} | {found['requests']} | {found['error_p50_ms']:.2f}"
                f" | {found['error_p99_ms']:.2f} | {found['error_max_ms']:.2f}"
                f" | {found['lag_p99_ms']:.2f} | {found['cpu_us_per_token']:.0f}"
                f" | {found['generator_cpu']:.1%} | {os.getloadavg()[0]:.1f}"
                f" | {'' if target is None else f'{target:g}'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
