"""What became of one figure of one arm at one step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from reports.text import Unit


class Direction(StrEnum):
    """What became of a figure."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "none"
    """No difference was shown, which does not show that there is none."""
    UNKNOWN = "unknown"
    """Too few requests for any claim."""


NO_DIFFERENCE = "no difference shown"
TOO_FEW = "too few"


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of one arm at one step, on both sides. Milliseconds and shares, rounded."""

    arm: str
    step_users: int
    tier: str | None
    """None: all tiers."""
    measure: str
    """Such as ``ttft`` or ``error_rate``; ``quantile`` is None for a rate."""
    quantile: float | None
    label: str
    """Such as ``TTFT p95``."""
    unit: Unit
    reference: float | None
    candidate: float | None
    absolute: float | None
    """Candidate minus reference, in ``unit``."""
    relative: float | None
    """Candidate divided by reference, minus 1; None for a rate."""
    ci_low: float | None
    """95 % interval: of ``relative`` for a delay, of ``absolute`` for a rate; None: too few."""
    ci_high: float | None
    n_reference: int
    n_candidate: int
    worth_reference: int
    """How many independent requests they are worth, since neighbours resemble each other."""
    worth_candidate: int
    paired: bool
    direction: Direction
    word: str
    small: bool
    """Whether a shown difference is below the gate's minimum effect, and so seldom worth a
    change."""

    @property
    def shift(self) -> float | None:
        """What the interval is of."""
        return self.absolute if self.quantile is None else self.relative


class Place(NamedTuple):
    """Where a change was seen."""

    arm: str
    step_users: int
    tier: str | None
