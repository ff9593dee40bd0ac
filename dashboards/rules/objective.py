"""Service-level objectives as arithmetic: what may go wrong, and how fast it does."""

from __future__ import annotations

from dataclasses import dataclass

from dashboards.rules.windows import Window, WindowSet
from firsttoken.core.errors import UserError


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of events that must be good."""

    name: str
    target: float
    """Share of 1."""

    @property
    def budget(self) -> float:
        """Return the share of events that may be bad."""
        return round(1 - self.target, 9)

    def burn_rate(self, bad_share: float) -> float:
        """Return how many times faster than allowed the budget burns: bad share / budget.

        Raises:
            UserError: the objective leaves no budget.
        """
        self._check_budget()
        return bad_share / self.budget

    def hours_to_exhaustion(self, bad_share: float, period: int) -> float | None:
        """Return after how long a full budget of ``period`` seconds is gone; None: never."""
        rate = self.burn_rate(bad_share)
        return period / rate / 3600 if rate > 0 else None

    def threshold(self, window: Window, windows: WindowSet) -> float:
        """Return the share of bad events over which ``window`` fires: factor x budget.

        Raises:
            UserError: the threshold is 1 or more, so that the alert could never fire, or there
                is no budget at all.
        """
        self._check_budget()
        factor = windows.factor(window)
        threshold = round(factor * self.budget, 9)
        if threshold >= 1:
            raise UserError(
                f"{self.name}: an alert at {factor:g} times a budget of {self.budget:g} would need "
                f"{threshold:.0%} bad events and could never fire; expected a target above "
                f"{1 - 1 / factor:.4g} or a set of windows with smaller factors"
            )
        return threshold

    def _check_budget(self) -> None:
        if not 0 < self.budget < 1:
            raise UserError(
                f"{self.name}: a target of {self.target:g} leaves no budget to burn; "
                "expected a share between 0 and 1, both excluded"
            )
