"""What a comparison found."""

from __future__ import annotations

from dataclasses import dataclass, field

from firsttoken.core.words import Arm, Verdict
from reports.compare.change import Change, Direction
from reports.compare.difference import Difference
from reports.compare.sides import Match, Side


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate beside the reference."""

    match: Match = field(repr=False)
    differences: tuple[Difference, ...]
    changes: tuple[Change, ...]
    rounds: int
    """In how many rounds the two took turns at each step, at the least; 0: they did not."""

    @property
    def shown(self) -> tuple[Change, ...]:
        """The changes over all tiers."""
        return tuple(item for item in self.changes if item.tier is None)

    @property
    def claims(self) -> bool:
        """Whether any figure had requests enough for a claim."""
        return any(item.direction is not Direction.UNKNOWN for item in self.changes)

    @property
    def method(self) -> str:
        """How the two were measured beside each other, in one sentence."""
        if self.rounds:
            return (
                f"paired: the two took turns in {self.rounds} rounds, so what the machine did in a "
                "round falls on both"
            )
        if self.match.same_run:
            return "unpaired: two arms of one run that did not take turns"
        anchors = [
            side.report.data.manifest.anchor.wall_unix_ns
            for side in (self.match.reference, self.match.candidate)
        ]
        minutes = abs(anchors[1] - anchors[0]) / 60e9
        apart = f"{minutes:.0f} minutes" if minutes < 180 else f"{minutes / 60:.0f} hours"
        return (
            f"unpaired: the two runs began {apart} apart, and what the machine did meanwhile falls "
            "on one of them only"
        )

    @property
    def headline(self) -> Change | None:
        """The change told first: TTFT p95 of the arm that is judged at the largest step that both
        sides have; the p50 where the p95 had too few."""
        first = [item for item in self.shown if item.measure in ("ttft", "ttft_user")]
        arms = [item.arm for item in first]
        arm = next((lane for lane in arms if lane.startswith(Arm.HYBRID)), arms[0] if arms else "")
        mine = [item for item in first if item.arm == arm and item.quantile in (0.5, 0.95)]
        if not mine:
            return None
        known = [item for item in mine if item.direction is not Direction.UNKNOWN] or mine
        return max(
            known, key=lambda item: (item.step_users, item.measure == "ttft_user", item.quantile)
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs, or two arms of one, side by side; the first is the reference."""

    pairs: tuple[Compared, ...]
    target_ms: float

    @property
    def sides(self) -> tuple[Side, ...]:
        """The reference, then each candidate."""
        return (self.pairs[0].match.reference, *(pair.match.candidate for pair in self.pairs))

    @property
    def verdict(self) -> Verdict:
        """PASS: a comparison was made. INCONCLUSIVE: nothing could be compared."""
        return Verdict.PASS if any(pair.claims for pair in self.pairs) else Verdict.INCONCLUSIVE
