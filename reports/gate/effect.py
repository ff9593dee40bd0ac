"""By how much two sides of a metric differ, and how surely: what the gate decides on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from reports.autocorrelation import effective_n, variance_inflation
from reports.gate.rule import Kind, Rule
from reports.shift import quantile_shift, rate_shift
from reports.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Effect:
    """A candidate against a baseline. Whether higher is better is not looked at here."""

    baseline: float
    candidate: float
    size: float
    """Relative shift of a quantile, difference of two shares."""
    ci_low: float
    """Lower end of the 95 % interval of ``size``."""
    ci_high: float
    effective_baseline: float
    """How many independent values it is worth; likewise ``effective_candidate``."""
    effective_candidate: float
    p_higher: float
    """One-sided p-value against "higher by no more than the noise"; ``p_lower`` likewise."""
    p_lower: float


def _quantile(baseline: FloatArray, candidate: FloatArray, p: float, noise: float) -> Effect:
    worth = effective_n(baseline, p), effective_n(candidate, p)
    shift = quantile_shift(
        baseline,
        candidate,
        p,
        effective_baseline=worth[0],
        effective_candidate=worth[1],
        beyond=noise,
    )
    return Effect(
        baseline=shift.baseline,
        candidate=shift.candidate,
        size=shift.relative,
        ci_low=shift.ci_low,
        ci_high=shift.ci_high,
        effective_baseline=worth[0],
        effective_candidate=worth[1],
        p_higher=shift.p_worse,
        p_lower=shift.p_better,
    )


def _proportion(baseline: FloatArray, candidate: FloatArray, _p: float, noise: float) -> Effect:
    sides = baseline, candidate
    worth = [side.size / variance_inflation(side)[0] for side in sides]
    events = [int(np.count_nonzero(side)) for side in sides]
    shift = rate_shift(
        (events[0], baseline.size),
        (events[1], candidate.size),
        effective_baseline=worth[0],
        effective_candidate=worth[1],
    )
    # Fisher's test knows no other null than "alike": the interval has to clear the noise as well.
    higher, lower = shift.ci_low > noise or noise == 0.0, shift.ci_high < -noise or noise == 0.0
    return Effect(
        baseline=shift.baseline,
        candidate=shift.candidate,
        size=shift.absolute,
        ci_low=shift.ci_low,
        ci_high=shift.ci_high,
        effective_baseline=worth[0],
        effective_candidate=worth[1],
        p_higher=shift.p_worse if higher else 1.0,
        p_lower=shift.p_better if lower else 1.0,
    )


_EFFECTS: Mapping[Kind, Callable[[FloatArray, FloatArray, float, float], Effect]] = {
    Kind.QUANTILE: _quantile,
    Kind.PROPORTION: _proportion,
}


def effect_of(baseline: FloatArray, candidate: FloatArray, rule: Rule, noise: float) -> Effect:
    """Return the effect of a metric.

    Args:
        baseline: in order of sending, at least one value, no NaN; likewise ``candidate``.
        candidate: see there.
        rule: its kind and quantile.
        noise: the null hypothesis of the p-values: a shift of up to this size either way.
    """
    return _EFFECTS[rule.kind](baseline, candidate, rule.p, noise)
