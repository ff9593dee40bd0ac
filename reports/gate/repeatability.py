"""By how much two runs of one and the same version differ on a runner, beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from firsttoken.core.errors import UserError
from reports.autocorrelation import effective_n, variance_inflation
from reports.gate.decide import Samples
from reports.gate.rule import Kind, Rule
from reports.shift import quantile_error
from reports.statistics import CONFIDENCE, FloatArray


def between(values: FloatArray, variances: FloatArray) -> float:
    """Return the variance between runs that their own sampling errors leave unexplained.

    Source: DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials
    7, 1986.

    Args:
        values: an estimate of each run.
        variances: of each estimate, above 0.
    """
    weights = 1.0 / variances
    total = weights.sum()
    spread = float((weights * (values - (weights * values).sum() / total) ** 2).sum())
    scale = float(total - (weights**2).sum() / total)
    return max(spread - (values.size - 1), 0.0) / scale


def runner_noise(runs: Sequence[Samples], rule: Rule) -> float | None:
    """Return the figure to store for a runner: the repeatability limit of one metric.

    Nineteen in twenty pairs of runs of one version differ by less, their sampling errors apart
    (ISO 5725-6, section 4.1; with a t quantile, since the spread is estimated from few runs):
    relative for quantiles, a difference of shares for proportions. Two runs tell little of it,
    five or more are a fair number.

    Args:
        runs: of one version on one machine.
        rule: which metric.

    Returns:
        None with fewer than two runs, or where a quantile of one never came.

    Raises:
        UserError: a run holds no value.
    """
    if any(run.n == 0 for run in runs):
        raise UserError(f"{rule.name}: a run holds no value: its noise cannot be told")
    if len(runs) < 2:
        return None
    found = [_estimate(run.values, rule) for run in runs]
    estimates = np.array([value for value, _ in found])
    variances = np.array([variance for _, variance in found])
    if not (np.isfinite(estimates).all() and np.isfinite(variances).all()):
        return None
    spread = math.sqrt(2.0 * between(estimates, np.maximum(variances, 1e-12)))
    limit = float(stats.t.ppf((1.0 + CONFIDENCE) / 2.0, len(runs) - 1)) * spread
    return math.expm1(limit) if rule.kind is Kind.QUANTILE else limit


def _estimate(run: FloatArray, rule: Rule) -> tuple[float, float]:
    """Return the logarithm of a quantile, or a share, with its sampling variance."""
    if rule.kind is Kind.QUANTILE:
        value, error = quantile_error(run, rule.p, effective_n(run, rule.p))
        return value, error**2
    worth = run.size / variance_inflation(run)[0]
    # One event more and one less: a run without any is not known to be without error.
    share = (float(run.mean()) * worth + 1.0) / (worth + 2.0)
    return float(run.mean()), share * (1.0 - share) / worth
