"""How often does the gate cry wolf, and how often does it sleep? On pairs resampled from real runs.

Both sides of a pair are drawn in blocks of consecutive requests (the circular block bootstrap of
Politis and Romano, "A circular block-resampling procedure for stationary data", 1992), so that
requests keep their neighbours: what made several in a row slow still does. Both sides from one run:
what differs is chance. From two runs of the same thing: what the machine did between them is in it
too; the runner's noise is then told by the runs that are left, never by what is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from firsttoken.core.words import Verdict
from reports.gate.decide import Comparison, Samples, decide_all
from reports.gate.repeatability import runner_noise
from reports.gate.rule import Kind, Rule
from reports.statistics import FloatArray, quantile_rank

Random = np.random.Generator

RULES = (
    Rule("ttft p50", Kind.QUANTILE, p=0.50),
    Rule("ttft p95", Kind.QUANTILE, p=0.95),
    Rule("error rate", Kind.PROPORTION, minimum_effect=0.01),
)
"""The gate's default rules."""

BLOCK = 50
"""Consecutive requests that stay together."""


def _at(values: FloatArray, p: float) -> float:
    rank = quantile_rank(values.size, p) - 1
    return float(np.partition(values, rank)[rank])


def slow_all(values: FloatArray, shift: float) -> FloatArray:
    """Make every first token later by a share."""
    return values * (1.0 + shift)


def slow_tail(values: FloatArray, shift: float) -> FloatArray:
    """Make only the slowest tenth later: the p95 moves by ``shift``, the median stays."""
    return np.where(values >= _at(values, 0.9), values * (1.0 + shift), values)


def resample(run: FloatArray, n: int, random: Random, block: int = BLOCK) -> FloatArray:
    """Return ``n`` values of a run in blocks of consecutive ones, its end joined to its start."""
    starts = random.integers(run.size, size=-(-n // block))
    at = (starts[:, None] + np.arange(block)) % run.size
    drawn: FloatArray = run[at.ravel()[:n]]
    return drawn


@dataclass(frozen=True, slots=True)
class Pair:
    """A baseline, a candidate and a second measurement of the candidate (a run of its own), with
    what other runs say of this runner's noise."""

    baseline: FloatArray
    candidate: FloatArray
    again: FloatArray
    noise: tuple[float | None, ...]
    """By rule of :data:`RULES`."""


class Pairs:
    """Pairs drawn from recorded runs of one and the same thing."""

    def __init__(self, runs: Sequence[FloatArray]) -> None:
        """Take at least four runs, each TTFT in ms in order of sending, ``inf``: failed."""
        self._runs = runs
        self._noise: dict[tuple[int, int], tuple[float | None, ...]] = {}

    def _noise_without(self, one: int, other: int) -> tuple[float | None, ...]:
        key = (min(one, other), max(one, other))
        if key not in self._noise:
            left = [run for at, run in enumerate(self._runs) if at not in key]
            self._noise[key] = tuple(
                runner_noise([samples(run, rule) for run in left], rule) for rule in RULES
            )
        return self._noise[key]

    def draw(self, n: int, random: Random, *, same_run: bool = False) -> Pair:
        """Draw two sides of ``n`` requests, from two different runs or from one."""
        one, other = (int(at) for at in random.choice(len(self._runs), size=2, replace=False))
        third = int(random.choice([at for at in range(len(self._runs)) if at not in {one, other}]))
        noise = self._noise_without(one, other)
        if same_run:
            other = third = one
        baseline, candidate, again = (
            resample(self._runs[at], n, random) for at in (one, other, third)
        )
        return Pair(baseline, candidate, again, noise)


def samples(values: FloatArray, rule: Rule) -> Samples:
    """Return what a rule looks at: first tokens, or whether they never came."""
    events = rule.kind is Kind.PROPORTION
    return Samples(np.isinf(values).astype(np.float64) if events else values)


Judge = Callable[[Pair], bool]
"""Whether a pair makes a gate red."""


def verdict_of(pair: Pair, *, with_noise: bool, confirm: bool = False) -> Verdict:
    """Return the worst verdict of the gate's rules."""
    found = decide_all(
        [
            Comparison(
                rule,
                samples(pair.baseline, rule),
                samples(pair.candidate, rule),
                noise if with_noise else None,
                samples(pair.again, rule) if confirm else None,
            )
            for rule, noise in zip(RULES, pair.noise, strict=True)
        ]
    )
    verdicts = {item.verdict for item in found}
    return next(
        each for each in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS) if each in verdicts
    )


def _mean(values: FloatArray) -> float:
    """Return the mean of what came: none of the peers counts what never did."""
    return float(values[np.isfinite(values)].mean())


GATE = "this gate"
TOLD = "this gate, told the runner's noise"
CONFIRMED = "this gate, told the noise, confirmed by a second run"
RATIO = "mean over 200 % of the last run's"
MEAN = "mean over 110 % of the baseline's"
THRESHOLD = "p95 not below 400 ms"

JUDGES: dict[str, Judge] = {
    GATE: lambda pair: verdict_of(pair, with_noise=False) is Verdict.FAIL,
    TOLD: lambda pair: verdict_of(pair, with_noise=True) is Verdict.FAIL,
    CONFIRMED: lambda pair: verdict_of(pair, with_noise=True, confirm=True) is Verdict.FAIL,
    RATIO: lambda pair: _mean(pair.candidate) > 2.0 * _mean(pair.baseline),
    MEAN: lambda pair: _mean(pair.candidate) > 1.1 * _mean(pair.baseline),
    THRESHOLD: lambda pair: _at(pair.candidate, 0.95) >= 400.0,
}
"""The gate, and the rules that others use: github-action-benchmark's default, the usual setting of
pytest-benchmark, and k6's example of a threshold."""


def slowed(pair: Pair, how: Callable[[FloatArray, float], FloatArray], shift: float) -> Pair:
    """Return the pair with its candidate slowed, both times."""
    candidate, again = how(pair.candidate, shift), how(pair.again, shift)
    return Pair(pair.baseline, candidate, again, pair.noise)


def red_share(
    pairs: Pairs,
    judge: Judge,
    n: int,
    count: int,
    *,
    how: Callable[[FloatArray, float], FloatArray] = slow_all,
    shift: float = 0.0,
    same_run: bool = False,
    seed: int = 1,
) -> float:
    """Return the share of ``count`` pairs that a rule calls red; the same pairs for every rule."""
    random = np.random.default_rng(seed)
    red = sum(
        judge(slowed(pairs.draw(n, random, same_run=same_run), how, shift)) for _ in range(count)
    )
    return red / count
