"""How far off is the generator's own clock, on this machine, now?"""

from __future__ import annotations

import json
import sys

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.records import Calibration
from firsttoken.core.slo import Slo
from firsttoken.trials.pinning import Pinning, keep_to

MAX_TOKENS = 24


def calibrate(
    users: int,
    seconds: float,
    slo: Slo,
    when: str,
    *,
    pinning: Pinning | None = None,
    max_tokens: int = MAX_TOKENS,
) -> Calibration:
    """Measure the truth server with the client of the load test at ``users`` talkers.

    A token comes every 20 ms. The longer the replies, of ``max_tokens``, the nearer the talkers
    come to 50 tokens a second each, and the fewer first tokens there are to compare. ``pinning``
    keeps client and truth server to the cores that client and servers have in the run.

    Raises:
        UserError: a child did not run to its end.
    """
    with Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]) as truth:
        if pinning is not None:
            keep_to(truth.pid, pinning.servers)
        argv = [sys.executable, "-m", "firsttoken.load.calibrate", "--url", truth.url]
        argv += ["--users", str(users), "--seconds", str(seconds), "--max-tokens", str(max_tokens)]
        with Child.start(argv, ready_timeout_s=None) as generator:
            if pinning is not None:
                keep_to(generator.pid, pinning.generator)
            lines = list(generator.lines())
            code = generator.wait(seconds + 60)
            if code != 0 or not lines:
                raise UserError(
                    f"the calibration ended with code {code}: {generator.last_error_line()}"
                )
    found = json.loads(lines[-1])
    return Calibration(
        users=users,
        requests=int(found["requests"]),
        error_p50_ms=float(found["error_p50_ms"]),
        error_p99_ms=float(found["error_p99_ms"]),
        error_max_ms=float(found["error_max_ms"]),
        budget_p99_ms=slo.calibration_p99_ms(users) or 0.0,
        cpu_us_per_token=float(found["cpu_us_per_token"]),
        when=when,
        lag_p50_ms=float(found["lag_p50_ms"]),
        lag_p99_ms=float(found["lag_p99_ms"]),
        generator_cpu=float(found["generator_cpu"]),
    )
