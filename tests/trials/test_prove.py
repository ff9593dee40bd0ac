"""The soak's table follows the report's rule: a failed request is late, not left out."""

from __future__ import annotations

import pandas as pd

from firsttoken.core.clock import NS_PER_S
from firsttoken.trials.prove import by_minute


def test_failures_are_late_and_counted_in_their_minute() -> None:
    sent_s = [0, 10, 50, 61, 70, 5]
    requests = pd.DataFrame(
        {
            "phase": ["steady"] * 5 + ["warmup"],
            "t_send_ns": [second * NS_PER_S for second in sent_s],
            "t_end_ns": [(second + 1) * NS_PER_S for second in sent_s],
            "ttft_ms": [100.0, 200.0, 300.0, 150.0, 160.0, 9000.0],
            "outcome": ["success", "success", "success", "success", "error", "success"],
        }
    )
    assert by_minute(requests, 400.0) == [
        ("1", "3", "200", "300", "0"),
        ("2", "2", "150", "never", "1"),
    ]
