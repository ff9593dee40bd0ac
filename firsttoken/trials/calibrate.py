"""How far off is the generator's own clock, on this machine, now?"""

from __future__ import annotations

import json
import sys

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.records import Calibration
from firsttoken.core.slo import Slo


def calibrate(users: int, seconds: float, slo: Slo, when: str) -> Calibration:
    """Measure the truth server with the client of the load test at ``users`` talkers.

    Raises:
        UserError: a child did not run to its end.
    """
    with Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]) as truth:
        argv = [sys.executable, "-m", "firsttoken.load.calibrate", "--url", truth.url]
        argv += ["--users", str(users), "--seconds", str(seconds)]
        with Child.start(argv, ready_timeout_s=None) as generator:
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
    )
