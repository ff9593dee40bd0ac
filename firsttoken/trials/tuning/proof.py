"""Whether the leader is shown to be sooner than the reference. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firsttoken.trials.tuning.looks import Seen
from reports.gate.decide import Change, Samples, decide
from reports.gate.rule import Kind, Rule
from reports.shift import Shift, paired_quantile_shift
from reports.statistics import minimum_n

RULE = Rule(name="ttft p95", kind=Kind.QUANTILE, p=0.95, minimum_n=minimum_n(0.95))
"""The gate's rule for the figure that the acceptance target speaks of."""
ERROR_RULE = Rule(name="error_rate", kind=Kind.PROPORTION, minimum_effect=0.01)
"""Likewise for what must not be the price."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The leader against the reference, by the gate's test of TTFT p95 over the proving looks."""

    turns: int
    """Looks at each that were tested."""
    effect: float
    """Relative shift of the p95; -0.9: a tenth of the reference's."""
    ci_low: float
    ci_high: float
    test: str
    """``pooled``: the gate's test of two runs; ``turn by turn``: its paired form, where requests
    that waited in one queue are worth too few independent ones."""
    change: Change
    reason: str
    errors_change: Change
    """Whether more, or fewer, requests failed."""

    @property
    def factor(self) -> float:
        """The reference's p95 divided by the leader's; infinite: more than 1 in 20 of the
        reference's requests failed, and not of the leader's."""
        return times(self.effect)


def times(effect: float) -> float:
    """Return a relative shift as how many times sooner: -0.9 is ten times."""
    return 1.0 / (1.0 + effect) if effect > -1.0 else math.inf


def prove(reference: Sequence[Seen], winner: Sequence[Seen]) -> Proof | None:
    """Test the leader's proving looks against the reference's; None: there are none of both.

    Of all requests at once, and where that shows nothing, of whole turns: each of the two tests
    is allowed one false alarm in 200 comparisons, so both together one in 100.
    """
    turns = min(len(reference), len(winner))
    before = [item.delays for item in reference[:turns]]
    after = [item.delays for item in winner[:turns]]
    if not turns or not all(side.size for side in (*before, *after)):
        return None
    failed_before, failed_after = (
        np.concatenate([item.failures for item in side[:turns]]) for side in (reference, winner)
    )
    errors = Change.NONE
    if failed_before.size and failed_after.size:
        errors = decide(Samples(failed_before), Samples(failed_after), ERROR_RULE).change
    pooled = decide(Samples(np.concatenate(before)), Samples(np.concatenate(after)), RULE)
    if pooled.change is not Change.NONE or turns < 2:
        return Proof(
            turns, pooled.effect, pooled.ci_low, pooled.ci_high, "pooled", pooled.change,
            pooled.reason, errors,
        )  # fmt: skip
    shift = paired_quantile_shift(before, after, RULE.p)
    change = _in_turns(shift, sum(map(len, before)), sum(map(len, after)))
    reason = {
        Change.BETTER: "significantly better in turns",
        Change.WORSE: "significantly worse in turns",
        Change.NONE: f"{pooled.reason}; nor do the turns agree enough",
    }[change]
    return Proof(
        turns, shift.relative, shift.ci_low, shift.ci_high, "turn by turn", change, reason, errors
    )


def _in_turns(shift: Shift, *counts: int) -> Change:
    """Return what a shift in turns shows, by the level and the minimum effect of the gate."""
    if min(counts) < RULE.minimum_n or abs(shift.relative) < RULE.minimum_effect:
        return Change.NONE
    if shift.relative < 0 and shift.p_better <= RULE.level:
        return Change.BETTER
    if shift.relative > 0 and shift.p_worse <= RULE.level:
        return Change.WORSE
    return Change.NONE
