"""The decision of the gate: what is red, what passes, what cannot be told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict
from firsttoken.trials.gate_power import (
    GATE,
    JUDGES,
    RULES,
    TOLD,
    Pairs,
    red_share,
    slow_all,
    slow_tail,
)
from reports.gate.decide import Change, Comparison, Samples, decide, decide_all
from reports.gate.repeatability import between, runner_noise
from reports.gate.rule import Kind, Rule
from reports.statistics import FloatArray, holm

P50 = Rule("ttft p50", Kind.QUANTILE, p=0.5)
P95 = Rule("ttft p95", Kind.QUANTILE, p=0.95)
ERRORS = Rule("error rate", Kind.PROPORTION, minimum_effect=0.01)


def _run(n: int, seed: int, median: float = 300.0) -> FloatArray:
    drawn: FloatArray = median * np.exp(0.3 * np.random.default_rng(seed).standard_normal(n))
    return drawn


def _samples(n: int, seed: int, factor: float = 1.0) -> Samples:
    return Samples(factor * _run(n, seed), f"run {seed}")


def _errors(n: int, events: int) -> Samples:
    values = np.zeros(n)
    values[np.random.default_rng(1).choice(n, events, replace=False)] = 1.0
    return Samples(values)


def test_a_clear_regression_is_red() -> None:
    found = decide(_samples(2_000, 1), _samples(2_000, 2, 1.2), P50)
    assert (found.verdict, found.change) == (Verdict.FAIL, Change.WORSE)
    assert found.effect == pytest.approx(0.2, abs=0.04)
    assert found.ci_low < 0.2 < found.ci_high


def test_nothing_changed_passes_and_says_what_it_would_have_shown() -> None:
    found = decide(_samples(2_000, 1), _samples(2_000, 2), P50)
    assert (found.verdict, found.change) == (Verdict.PASS, Change.NONE)
    assert 0.05 < found.shown_from < 0.1


def test_an_improvement_is_told() -> None:
    found = decide(_samples(2_000, 1), _samples(2_000, 2, 0.8), P50)
    assert (found.verdict, found.change) == (Verdict.PASS, Change.BETTER)


def test_significant_but_small_is_no_regression() -> None:
    found = decide(_samples(40_000, 1), _samples(40_000, 2, 1.03), P50)
    assert found.p_worse < 0.001
    assert (found.verdict, found.change) == (Verdict.PASS, Change.NONE)
    assert "less than the minimum effect" in found.reason


def test_large_but_within_noise_is_no_regression() -> None:
    one, other = _samples(4_000, 1), _samples(4_000, 2, 1.1)
    assert decide(one, other, P50, 0.02).verdict is Verdict.FAIL
    within = decide(one, other, P50, 0.12)
    assert (within.verdict, within.change) == (Verdict.PASS, Change.NONE)
    assert within.shown_from > 0.12


def test_large_but_not_significant_cannot_be_told() -> None:
    found = decide(_samples(80, 1), _samples(80, 2, 1.05), P50)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.needed_n is not None
    assert found.needed_n > 80
    assert f"about {found.needed_n} a side" in found.reason


@pytest.mark.parametrize(("rule", "n"), [(P95, 60), (replace(P50, minimum_n=500), 400)])
def test_too_few_cannot_be_told_however_bad(rule: Rule, n: int) -> None:
    found = decide(_samples(n, 1), _samples(n, 2, 10.0), rule)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "too few" in found.reason


@pytest.mark.parametrize("empty", ["baseline", "candidate"])
def test_nothing_is_refused(empty: str) -> None:
    sides = {"baseline": _samples(100, 1), "candidate": _samples(100, 2)}
    sides[empty] = Samples(np.empty(0), "runs/x")
    with pytest.raises(UserError, match=f"ttft p50: the {empty} runs/x holds no value"):
        decide(sides["baseline"], sides["candidate"], P50)
    sides[empty] = Samples(np.array([1.0, math.nan]))
    with pytest.raises(UserError, match="not numbers"):
        decide(sides["baseline"], sides["candidate"], P50)


def test_a_candidate_that_fails_is_red() -> None:
    dead = Samples(np.full(500, math.inf))
    found = decide(_samples(500, 1), dead, P50)
    assert (found.verdict, found.effect) == (Verdict.FAIL, math.inf)


def test_higher_may_be_better() -> None:
    rule = replace(P50, higher_is_better=True)
    assert decide(_samples(2_000, 1), _samples(2_000, 2, 0.8), rule).change is Change.WORSE
    assert decide(_samples(2_000, 1), _samples(2_000, 2, 1.2), rule).change is Change.BETTER


def test_errors() -> None:
    assert decide(_errors(1_000, 5), _errors(1_000, 40), ERRORS).verdict is Verdict.FAIL
    assert decide(_errors(1_000, 5), _errors(1_000, 8), ERRORS).verdict is Verdict.PASS
    assert decide(_errors(1_000, 0), _errors(1_000, 0), ERRORS).verdict is Verdict.PASS
    assert decide(_errors(40, 0), _errors(40, 1), ERRORS).verdict is Verdict.INCONCLUSIVE
    assert decide(_errors(1_000, 60), _errors(1_000, 10), ERRORS).change is Change.BETTER
    noisy = decide(_errors(1_000, 5), _errors(1_000, 40), ERRORS, 0.05)
    assert noisy.verdict is not Verdict.FAIL


def test_a_second_measurement_has_to_show_it_too() -> None:
    base, bad, good = _samples(2_000, 1), _samples(2_000, 2, 1.2), _samples(2_000, 3)
    twice = decide(base, bad, P50, again=_samples(2_000, 4, 1.2))
    assert (twice.verdict, twice.confirmed) == (Verdict.FAIL, True)
    once = decide(base, bad, P50, again=good)
    assert (once.verdict, once.confirmed) == (Verdict.PASS, False)
    assert "not by the second" in once.reason
    # A second look at what was green changes nothing.
    assert decide(base, good, P50, again=bad).verdict is Verdict.PASS


def test_values_that_hang_together_are_worth_less() -> None:
    random = np.random.default_rng(8)
    paces = np.repeat(np.exp(random.normal(0.0, 0.3, 40)), 50)
    base = Samples(_run(2_000, 1) * paces)
    later = Samples(1.15 * _run(2_000, 2) * np.repeat(np.exp(random.normal(0.0, 0.3, 40)), 50))
    together = decide(base, later, P50)
    assert together.effective_baseline < 300
    order = random.permutation(2_000)
    apart = decide(Samples(base.values[order]), Samples(later.values[order]), P50)
    assert apart.ci_high - apart.ci_low < 0.6 * (together.ci_high - together.ci_low)


def test_holm_known_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20))
def test_holm_properties(p_values: list[float]) -> None:
    found = holm(p_values)
    assert all(before <= after <= 1.0 for before, after in zip(p_values, found, strict=True))
    order = sorted(range(len(found)), key=lambda at: p_values[at])
    assert [found[at] for at in order] == sorted(found)
    assert min(found) == pytest.approx(min(1.0, len(found) * min(p_values)))


def test_metrics_that_are_tested_together_are_corrected_together() -> None:
    base, later = _samples(2_000, 1), _samples(2_000, 2, 1.02)
    alone = decide(base, later, P50).p_worse
    many = decide_all([Comparison(replace(P50, name=f"m{at}"), base, later) for at in range(5)])
    assert many[0].p_worse == pytest.approx(min(5 * alone, 1.0))
    # One that is not tested for want of values costs the others nothing.
    few = Comparison(P95, _samples(20, 1), _samples(20, 2))
    assert decide_all([Comparison(P50, base, later), few])[0].p_worse == alone


@settings(max_examples=20, deadline=None)
@given(st.floats(1.0, 3.0), st.floats(1.0, 2.0), st.floats(0.01, 100.0))
def test_worse_is_never_judged_better(factor: float, more: float, scale: float) -> None:
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL]
    base = _samples(600, 1)

    def judged(by: float, unit: float = 1.0) -> Verdict:
        return decide(
            Samples(unit * base.values), Samples(unit * by * _run(600, 2)), P50, 0.01
        ).verdict

    if judged(factor) is Verdict.FAIL:
        assert judged(factor * more) is Verdict.FAIL
    assert order.index(judged(factor)) >= order.index(judged(1.0)) or factor > 1.05
    assert judged(factor, scale) is judged(factor)


def test_noise_is_what_sampling_does_not_explain() -> None:
    alike = [_samples(1_000, seed) for seed in range(8)]
    noise = runner_noise(alike, P50)
    assert noise is not None
    assert noise < 0.03
    paces = np.exp(np.random.default_rng(2).normal(0.0, 0.05, 8))
    unlike = [Samples(pace * run.values) for pace, run in zip(paces, alike, strict=True)]
    found = runner_noise(unlike, P50)
    known = math.expm1(stats.t.ppf(0.975, 7) * math.sqrt(2) * paces.std(ddof=1))
    assert found == pytest.approx(known, rel=0.25)
    assert runner_noise(alike[:1], P50) is None
    assert runner_noise([_errors(500, 3), _errors(500, 2)], ERRORS) == 0.0
    assert runner_noise([Samples(np.full(90, math.inf))] * 2, P50) is None
    with pytest.raises(UserError, match="holds no value"):
        runner_noise([alike[0], Samples(np.empty(0))], P50)


def test_variance_between_runs_by_hand() -> None:
    values, variances = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.5, 0.5])
    assert between(values, variances) == pytest.approx(1.0 - 0.5)
    assert between(np.array([1.0, 1.1, 0.9]), variances) == 0.0


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Six runs that hang together a little, as real ones do, and differ from each other."""
    random = np.random.default_rng(21)
    runs = []
    for _ in range(6):
        spells = np.repeat(np.exp(random.normal(0.0, 0.06, 60)), 10)
        shocks = np.exp(0.2 * random.standard_normal(600))
        runs.append(200.0 * np.exp(random.normal(0.0, 0.005)) * spells * shocks)
    return Pairs(runs)


def test_the_gate_is_seldom_red_for_nothing(pairs: Pairs) -> None:
    assert red_share(pairs, JUDGES[GATE], 1_000, 100, same_run=True) <= 0.01


def test_what_the_machine_did_between_runs_is_no_regression_once_it_is_known() -> None:
    paces = (1.0, 1.15, 0.9, 1.05, 0.95, 1.1)
    runs = Pairs([pace * _run(600, seed) for seed, pace in enumerate(paces)])
    assert red_share(runs, JUDGES[GATE], 600, 30) > 0.2
    assert red_share(runs, JUDGES[TOLD], 600, 30) == 0.0


@pytest.mark.parametrize(("how", "shift"), [(slow_all, 0.1), (slow_tail, 0.2)])
def test_the_gate_is_red_for_something(pairs: Pairs, how, shift: float) -> None:  # type: ignore[no-untyped-def]
    assert red_share(pairs, JUDGES[GATE], 3_000, 40, how=how, shift=shift, same_run=True) >= 0.95


def test_a_slow_tail_leaves_the_median() -> None:
    run = _run(1_000, 1)
    slowed = slow_tail(run, 0.2)
    assert np.median(slowed) == np.median(run)
    assert np.quantile(slowed, 0.95) == pytest.approx(1.2 * np.quantile(run, 0.95))
    assert {rule.name for rule in RULES} == {"ttft p50", "ttft p95", "error rate"}
