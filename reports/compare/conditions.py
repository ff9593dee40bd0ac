"""What differs between two sides before a single figure is compared, the gravest first."""

from __future__ import annotations

from reports.compare import observed, stated
from reports.compare.difference import Difference
from reports.compare.sides import Match

PARTS = (
    observed.trust,
    stated.conditions,
    stated.tables,
    observed.calibration,
    observed.load,
    observed.steps,
    stated.same_run,
)
"""Each yields differences of one kind; of equal weight, in this order."""


def differences(match: Match) -> tuple[Difference, ...]:
    """Return in what two sides differ, what disturbs the comparison most first.

    A difference that several arms share is told once.
    """
    found = dict.fromkeys(item for part in PARTS for item in part(match))
    return tuple(sorted(found, key=lambda item: -item.weight))
