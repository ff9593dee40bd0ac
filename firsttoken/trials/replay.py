"""How long the replay of a trace takes."""

from __future__ import annotations

from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.core.trace import read_trace

LONGEST_SECONDS = 86_400.0
"""Of a block; the load generator plans no longer one."""
SHORTEST_SECONDS = 1.0
"""Of a block, for a trace whose rows all come at once."""


def replay_seconds(file: Path, speed: float, most_seconds: float | None) -> float:
    """Return the seconds that the trace in ``file`` takes, ``speed`` times as fast as it was, or
    ``most_seconds`` where that is less: its rows after that are left out.

    Raises:
        UserError: the trace cannot be read, or takes over a day.
    """
    seconds = max(read_trace(file).seconds / speed, SHORTEST_SECONDS)
    if most_seconds is not None:
        return min(seconds, most_seconds)
    if seconds > LONGEST_SECONDS:
        raise UserError(
            f"{file} takes {seconds / 3600:,.0f} hours at --speed {speed:g}; expected a day at "
            "most: give --step-seconds to replay its beginning, or a larger --speed"
        )
    return seconds
