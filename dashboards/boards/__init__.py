"""The boards: one file each, a function from targets and thresholds to what is shown."""

from __future__ import annotations

from dashboards.boards import (
    comparison,
    engine,
    experience,
    health,
    latency,
    overview,
    routing,
)
from dashboards.boards.frame import Board
from firsttoken.core.slo import Slo


def boards(slo: Slo) -> tuple[Board, ...]:
    """Return every board, in the order in which a reader needs them.

    Raises:
        UserError: the first token's target is no edge of the histogram's buckets.
    """
    return (
        overview.board(slo),
        latency.board(slo),
        engine.board(slo),
        routing.board(slo),
        experience.board(),
        comparison.board(slo),
        health.board(),
    )
