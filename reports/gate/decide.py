"""Is the candidate worse than the baseline? The decision of the gate, pure.

A metric is a regression only if its worsening is

1. significant: its one-sided p-value, at the number of independent values that the autocorrelated
   samples are worth, is within the level after Holm's correction for all metrics tested together;
2. at least the rule's minimum effect;
3. larger than the runner's own noise, where that is known: what two runs of one and the same
   version differ by here beyond the chance of their samples (:mod:`reports.gate.repeatability`).
   It is the null hypothesis of the test, not just a bar for the estimate: shown is "worse than
   noise"; and
4. shown again by the second measurement, where one is given.

No regression is not yet a pass: the samples have to be such that a worsening of the size that the
rule cares for would most likely have been shown, or its interval has to exclude one; otherwise the
finding is INCONCLUSIVE and says how many values it takes. A baseline or a candidate without values
is refused: a comparison that was not made must not read as a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from scipy import stats

from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict
from reports.gate.effect import effect_of
from reports.gate.rule import Kind, Rule
from reports.statistics import CONFIDENCE, FloatArray, holm, minimum_n

POWER = 0.95
"""How likely a worsening of the rule's ``detectable`` has to be shown for a pass to be one."""


class Change(StrEnum):
    """What is shown of a metric."""

    WORSE = "worse"
    BETTER = "better"
    NONE = "none"
    """Nothing beyond chance, the minimum effect and the runner's noise."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The raw values of one metric of one run."""

    values: FloatArray = field(repr=False)
    """In order of sending, without NaN. Of a latency in ms, ``inf`` where it never came; of a rate
    1.0 for an event and 0.0 for none; of a benchmark seconds."""
    source: str = ""
    """The run, as a person would name it."""

    @property
    def n(self) -> int:
        """How many values."""
        return int(self.values.size)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found."""

    rule: Rule
    baseline: float
    """Value of the metric; so is ``candidate``."""
    candidate: float
    effect: float
    """Relative shift, of a rate the difference: candidate against baseline."""
    ci_low: float
    """Lower end of the 95 % interval of ``effect``."""
    ci_high: float
    n_baseline: int
    n_candidate: int
    effective_baseline: float
    """How many independent values it is worth; likewise ``effective_candidate``."""
    effective_candidate: float
    p_worse: float
    """One-sided p-value of a worsening; corrected for all metrics once decided."""
    p_better: float
    noise: float | None
    """What runs of one version differ by on this runner; None: not known."""
    shown_from: float
    """The smallest worsening that these samples show with the chance :data:`POWER`."""
    needed_n: int | None
    """Values a side that it takes to show the rule's ``detectable``, by what was seen here; None
    where that cannot be told."""
    change: Change = Change.NONE
    verdict: Verdict = Verdict.INCONCLUSIVE
    reason: str = ""
    """Why, in a few words."""
    confirmed: bool | None = None
    """Whether a second measurement showed the regression too; None: none was needed or given."""

    @property
    def worsening(self) -> float:
        """The effect, positive where the candidate is worse."""
        return -self.effect if self.rule.higher_is_better else self.effect

    @property
    def worst_case(self) -> float:
        """The end of the interval on the side where the candidate is worse, as a worsening."""
        return -self.ci_low if self.rule.higher_is_better else self.ci_high


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of a pair of runs; ``again``: of a second measurement of the candidate."""

    rule: Rule
    baseline: Samples
    candidate: Samples
    noise: float | None = None
    again: Samples | None = None


def fewest(rule: Rule) -> int:
    """Return how many independent values a side must be worth before the rule says anything."""
    return minimum_n(rule.p) if rule.kind is Kind.QUANTILE else 1


def measure(baseline: Samples, candidate: Samples, rule: Rule, noise: float | None) -> Finding:
    """Return what was found, not yet decided.

    Raises:
        UserError: a side holds no value, or values that are none.
    """
    for side, name in ((baseline, "baseline"), (candidate, "candidate")):
        where = f"{name} {side.source}".strip()
        if side.n == 0:
            raise UserError(f"{rule.name}: the {where} holds no value: there is nothing to compare")
        if np.isnan(side.values).any():
            raise UserError(f"{rule.name}: the {where} holds values that are not numbers")
    found = effect_of(baseline.values, candidate.values, rule, noise or 0.0)
    error = (found.ci_high - found.ci_low) / (2.0 * _z(1.0 - (1.0 - CONFIDENCE) / 2.0))
    reach = (_z(1.0 - rule.level) + _z(POWER)) * error
    shown_from = max(reach + (noise or 0.0), rule.minimum_effect + _z(POWER) * error)
    smaller = min(baseline.n, candidate.n)
    needed = (
        math.ceil(smaller * (reach / rule.cares_for) ** 2)
        if math.isfinite(reach) and rule.cares_for > 0.0
        else None
    )
    tails = found.p_higher, found.p_lower
    p_worse, p_better = reversed(tails) if rule.higher_is_better else tails
    return Finding(
        rule=rule,
        baseline=found.baseline,
        candidate=found.candidate,
        effect=found.size,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        n_baseline=baseline.n,
        n_candidate=candidate.n,
        effective_baseline=found.effective_baseline,
        effective_candidate=found.effective_candidate,
        p_worse=p_worse,
        p_better=p_better,
        noise=noise,
        shown_from=shown_from if math.isfinite(reach) else math.inf,
        needed_n=needed,
    )


def _z(level: float) -> float:
    return float(stats.norm.ppf(level))


def too_few(finding: Finding) -> bool:
    """Whether a side holds too few values for the rule to say anything."""
    rule = finding.rule
    if min(finding.n_baseline, finding.n_candidate) < rule.minimum_n:
        return True
    return min(finding.effective_baseline, finding.effective_candidate) < fewest(rule)


def settle(finding: Finding) -> Finding:
    """Return the finding with its change, verdict and reason, by the rules of this module.

    Its p-values are taken as corrected.
    """
    rule, noise = finding.rule, finding.noise
    if too_few(finding):
        needed = max(rule.minimum_n, fewest(rule))
        worth = min(finding.effective_baseline, finding.effective_candidate)
        reason = f"too few values: worth {worth:.0f} independent ones, {needed} needed"
        return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)
    size = abs(finding.effect)
    # Written so that an infinite effect, a candidate that never gets there, counts.
    large = size >= rule.minimum_effect
    worse = finding.worsening > 0.0 and finding.p_worse <= rule.level
    better = finding.worsening < 0.0 and finding.p_better <= rule.level
    if worse and large:
        return replace(
            finding,
            change=Change.WORSE,
            verdict=Verdict.FAIL,
            reason="significant, beyond the minimum effect"
            + ("" if noise is None else " and the runner's noise"),
        )
    if better and large:
        reason = "significantly better"
        return replace(finding, change=Change.BETTER, verdict=Verdict.PASS, reason=reason)
    if _blind(finding):
        needed_n = "more values" if finding.needed_n is None else f"about {finding.needed_n} a side"
        reason = f"no regression shown, but one could have been missed: {needed_n} needed"
        return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)
    reason = "worse, but by less than the minimum effect" if worse else "no regression shown"
    return replace(finding, verdict=Verdict.PASS, reason=reason)


def _blind(finding: Finding) -> bool:
    """Whether the samples can neither show nor exclude the worsening the rule cares for.

    Of sampling error alone: noise between runs is no reason to ask for more requests; what a pass
    is worth with it stands in ``shown_from``.
    """
    if finding.worst_case <= finding.rule.cares_for:
        return False
    if finding.needed_n is None:
        return True
    return finding.needed_n > min(finding.n_baseline, finding.n_candidate)


def _decided(found: Sequence[Finding]) -> list[Finding]:
    """Correct what was tested together, then settle each."""
    # One that has too few values is no test: whether it is, its values do not say.
    tested = [at for at, item in enumerate(found) if not too_few(item)]
    worse = holm([found[at].p_worse for at in tested])
    better = holm([found[at].p_better for at in tested])
    corrected = list(found)
    for at, p_worse, p_better in zip(tested, worse, better, strict=True):
        corrected[at] = replace(found[at], p_worse=p_worse, p_better=p_better)
    return [settle(item) for item in corrected]


def decide_all(comparisons: Sequence[Comparison]) -> list[Finding]:
    """Decide all metrics of a pair of runs together; a finding each, in the order given.

    A regression that a second measurement was taken of stands only if that shows it too: otherwise
    the second's finding is returned, with ``confirmed`` False.

    Raises:
        UserError: a side holds no value, or values that are none.
    """
    first = _decided(
        [measure(each.baseline, each.candidate, each.rule, each.noise) for each in comparisons]
    )
    red = any(
        one.verdict is Verdict.FAIL and each.again is not None
        for one, each in zip(first, comparisons, strict=True)
    )
    if not red:
        return first
    second = _decided(
        [
            measure(each.baseline, each.again or each.candidate, each.rule, each.noise)
            for each in comparisons
        ]
    )
    return [
        _confirmed(one, other) if each.again is not None else one
        for each, one, other in zip(comparisons, first, second, strict=True)
    ]


def _confirmed(first: Finding, second: Finding) -> Finding:
    if first.verdict is not Verdict.FAIL:
        return first
    if second.verdict is Verdict.FAIL:
        return replace(first, confirmed=True, reason=f"{first.reason}, twice")
    reason = f"a regression was shown, but not by the second measurement: {second.reason}"
    return replace(second, confirmed=False, reason=reason)


def decide(
    baseline: Samples,
    candidate: Samples,
    rule: Rule,
    noise: float | None = None,
    again: Samples | None = None,
) -> Finding:
    """Decide one metric alone; :func:`decide_all` takes those of a pair together.

    Args:
        baseline: what was.
        candidate: what is.
        rule: what is asked.
        noise: what runs of one version differ by on this runner; None: not known.
        again: a second measurement of the candidate.

    Raises:
        UserError: a side holds no value, or values that are none.
    """
    return decide_all([Comparison(rule, baseline, candidate, noise, again)])[0]
