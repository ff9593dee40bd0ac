"""What one rule of the gate asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is compared."""

    QUANTILE = "quantile"
    """A quantile of a latency or of a benchmark's raw rounds; the shift is relative."""
    PROPORTION = "proportion"
    """A share of events, such as errors; the shift is a difference of shares."""


DEFAULT_LEVEL = 0.005
"""Half of the 1 % of false alarms that the gate promises over all its metrics: how much a run is
worth (:mod:`reports.autocorrelation`) is itself an estimate."""

MINIMUM_EFFECT = 0.05
"""A relative shift below this is seldom worth a change."""

TAIL = 0.9
"""From this quantile on the same requests tell about half as much as of the median."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When one metric makes the gate red.

    ``minimum_effect`` and ``detectable`` are relative (0.05: five per cent slower) for quantiles,
    differences of shares (0.01: one point more) for proportions.
    """

    name: str
    """Of the metric, such as ``ttft p95``."""
    kind: Kind
    p: float = 0.5
    """Which quantile; unused by proportions."""
    minimum_effect: float = MINIMUM_EFFECT
    """A smaller worsening is never a regression, however surely it is shown."""
    detectable: float | None = None
    """Samples that would most likely have missed a worsening of this size cannot pass. None: twice
    the minimum effect, four times of a quantile from :data:`TAIL` on."""
    level: float = DEFAULT_LEVEL
    """Chance of a false alarm, over all the rules that are decided together."""
    minimum_n: int = 0
    """Fewest values of a side; fewer are INCONCLUSIVE. Never below what a two-sided interval of
    the quantile takes."""
    higher_is_better: bool = False

    @property
    def cares_for(self) -> float:
        """The worsening that must not be missed: ``detectable`` or its default."""
        if self.detectable is not None:
            return self.detectable
        tail = self.kind is Kind.QUANTILE and self.p >= TAIL
        return self.minimum_effect * (4.0 if tail else 2.0)
