"""Shifts of quantiles and rates: known values, properties, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from firsttoken.trials.statistics_proof import SOURCES, of_paired_shift, of_shift
from reports.shift import (
    paired_quantile_shift,
    quantile_error,
    quantile_shift,
    rank_test,
    rate_shift,
)
from reports.statistics import FloatArray


def _run(n: int, seed: int, median: float = 300.0) -> FloatArray:
    drawn: FloatArray = median * np.exp(0.4 * np.random.default_rng(seed).standard_normal(n))
    return drawn


def test_known_shift() -> None:
    found = quantile_shift(np.arange(1.0, 101.0), 2 * np.arange(1.0, 101.0), 0.5)
    assert (found.baseline, found.candidate) == (50.0, 100.0)
    assert found.absolute == 50.0
    assert found.relative == pytest.approx(1.0)
    assert (found.n_baseline, found.n_candidate) == (100, 100)
    assert found.ci_low < 1.0 < found.ci_high


def test_draws_are_those_of_resampling() -> None:
    """The short cut by ranks against the bootstrap as it is written down."""
    before, after = _run(60, 1), _run(80, 2)
    random = np.random.default_rng(9)

    def median(values: FloatArray) -> FloatArray:
        drawn = random.choice(values, (20_000, values.size))
        return np.quantile(drawn, 0.5, method="inverted_cdf", axis=1)  # type: ignore[no-any-return]

    low, high = np.quantile(median(after) / median(before) - 1.0, [0.025, 0.975])
    found = quantile_shift(before, after, 0.5, effective_baseline=60, effective_candidate=80)
    assert found.ci_low == pytest.approx(low, abs=0.015)
    assert found.ci_high == pytest.approx(high, abs=0.015)


def test_a_clear_shift_is_shown_and_none_is_not() -> None:
    before = _run(2_000, 1)
    later = quantile_shift(before, 1.2 * _run(2_000, 2), 0.5)
    assert later.p_worse < 0.001
    assert later.p_better > 0.9
    same = quantile_shift(before, _run(2_000, 3), 0.5)
    assert same.p_worse > 0.01
    assert same.ci_low < 0.0 < same.ci_high


def test_a_shift_within_what_is_allowed_is_not_shown() -> None:
    before, after = _run(5_000, 1), 1.1 * _run(5_000, 2)
    assert quantile_shift(before, after, 0.5).p_worse < 0.001
    assert quantile_shift(before, after, 0.5, beyond=0.1).p_worse > 0.05


def test_less_worth_means_wider() -> None:
    before, after = _run(1_000, 1), _run(1_000, 2)
    sharp = quantile_shift(before, after, 0.5, effective_baseline=1_000, effective_candidate=1_000)
    blunt = quantile_shift(before, after, 0.5, effective_baseline=100, effective_candidate=100)
    ratio = (blunt.ci_high - blunt.ci_low) / (sharp.ci_high - sharp.ci_low)
    assert 2.5 < ratio < 4.0


def test_a_candidate_that_never_comes() -> None:
    dead = np.full(200, math.inf)
    found = quantile_shift(_run(200, 1), dead, 0.5)
    assert found.relative == found.ci_low == found.ci_high == math.inf
    assert found.p_worse < 0.001
    both = quantile_shift(dead, dead, 0.5)
    assert (both.absolute, both.relative, both.ci_low, both.ci_high) == (0.0, 0.0, 0.0, 0.0)
    assert both.p_worse == 1.0
    assert quantile_shift(dead, _run(200, 1), 0.5).relative == -1.0


@pytest.mark.parametrize(("before", "after"), [([], [1.0]), ([1.0], []), ([math.nan], [1.0])])
def test_nothing_to_compare_is_refused(before: list[float], after: list[float]) -> None:
    for compare in (
        lambda: quantile_shift(before, after, 0.5),
        lambda: rank_test(before, after),
        lambda: paired_quantile_shift([before], [after], 0.5),
    ):
        with pytest.raises(ValueError, match="holds"):
            compare()


def test_blocks_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="2 blocks of the baseline, 1 of the candidate"):
        paired_quantile_shift([[1.0], [2.0]], [[1.0]], 0.5)
    with pytest.raises(ValueError, match="no block"):
        paired_quantile_shift([], [], 0.5)


def test_pairing_cancels_what_the_machine_did() -> None:
    random = np.random.default_rng(5)
    paces = np.exp(random.normal(0.0, 0.3, 12))
    before = [pace * _run(100, 10 + at) for at, pace in enumerate(paces)]
    after = [1.1 * pace * _run(100, 50 + at) for at, pace in enumerate(paces)]
    paired = paired_quantile_shift(before, after, 0.5)
    unpaired = quantile_shift(np.concatenate(before), np.concatenate(after), 0.5)
    assert paired.relative == unpaired.relative
    assert paired.ci_low > 0.0
    assert paired.ci_high - paired.ci_low < 0.7 * (unpaired.ci_high - unpaired.ci_low)


def test_paired_quantile_is_the_pooled_one_and_one_pair_is_two_runs() -> None:
    blocks = [np.array([1.0, 5.0]), np.array([2.0, 9.0, 4.0])]
    found = paired_quantile_shift(blocks, blocks, 0.5)
    assert (found.baseline, found.relative, found.ci_low, found.ci_high) == (4.0, 0.0, 0.0, 0.0)
    one = paired_quantile_shift([_run(50, 1)], [_run(50, 2)], 0.5)
    assert one == quantile_shift(_run(50, 1), _run(50, 2), 0.5)


def test_rank_test_known_values() -> None:
    assert rank_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.01219, abs=1e-4)
    assert rank_test([1.0] * 9, [1.0] * 9) == 1.0
    assert rank_test(_run(300, 1), [*_run(280, 2), *[math.inf] * 20]) > 0.001
    assert rank_test(_run(300, 1), 1.3 * _run(300, 2)) < 0.001


def test_error_of_a_quantile() -> None:
    values = _run(20_000, 7)
    value, error = quantile_error(values, 0.5, 20_000.0)
    assert value == pytest.approx(math.log(300.0), abs=0.02)
    known = 0.4 * math.sqrt(math.pi / 2 / 20_000)
    assert error == pytest.approx(known, rel=0.15)
    assert quantile_error([math.inf] * 9, 0.5, 9.0)[0] == math.inf


def test_newcombes_own_examples() -> None:
    """Table II of the paper, method 10, cases a and d: 56/70 less 48/80, 5/56 less 0/29."""
    a, d = rate_shift((48, 80), (56, 70)), rate_shift((0, 29), (5, 56))
    assert [a.ci_low, a.ci_high] == pytest.approx([0.0524, 0.3339], abs=5e-4)
    assert [d.ci_low, d.ci_high] == pytest.approx([-0.0381, 0.1926], abs=5e-4)


def test_p_value_of_a_rate_is_fishers() -> None:
    found = rate_shift((2, 100), (9, 100))
    table = [[9, 91], [2, 98]]
    assert found.p_worse == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)
    assert found.p_better == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)
    bursts = rate_shift((2, 100), (9, 100), effective_baseline=50, effective_candidate=50)
    assert bursts.p_worse > found.p_worse
    assert bursts.ci_high > found.ci_high
    with pytest.raises(ValueError, match="3 events of 2"):
        rate_shift((3, 2), (0, 2))


_values = st.lists(st.floats(1.0, 1e5), min_size=1, max_size=60)


@given(_values, _values, st.sampled_from([0.5, 0.95]), st.floats(0.01, 100.0), st.randoms())
def test_shift_properties(before, after, p: float, scale: float, random) -> None:  # type: ignore[no-untyped-def]
    worth = {"effective_baseline": len(before), "effective_candidate": len(after), "draws": 400}
    found = quantile_shift(before, after, p, **worth)
    assert found.ci_low <= found.ci_high
    scaled = quantile_shift(scale * np.array(before), scale * np.array(after), p, **worth)
    assert scaled.relative == pytest.approx(found.relative)
    assert scaled.ci_low == pytest.approx(found.ci_low)
    mixed = sorted(before, key=lambda _: random.random())
    assert quantile_shift(mixed, after, p, **worth) == found
    later = quantile_shift(before, 2.0 * np.array(after), p, **worth)
    assert later.relative >= found.relative
    assert later.p_worse <= found.p_worse


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name.partition(",")[0])
def test_shift_intervals_hold_the_truth(source) -> None:  # type: ignore[no-untyped-def]
    assert of_shift(source, 0.5, 1_000, draws=150).covered >= 0.91
    assert of_paired_shift(source, 0.5, 16, draws=100).covered >= 0.89


def test_two_turns_are_not_taken_for_many() -> None:
    """Nothing shifted, but each turn has a pace of its own: at 0.5 % few false alarms are left."""
    random = np.random.default_rng(11)
    alarms = 0
    for _ in range(400):
        before, after = (
            [pace * _run(60, int(random.integers(1 << 30))) for pace in paces]
            for paces in np.exp(random.normal(0.0, 0.3, (2, 2)))
        )
        found = paired_quantile_shift(before, after, 0.5, draws=200)
        alarms += found.p_better <= 0.005
    assert alarms <= 8


def test_turns_that_agree_show_a_shift() -> None:
    before = [_run(60, at) for at in range(6)]
    after = [0.5 * _run(60, 50 + at) for at in range(6)]
    found = paired_quantile_shift(before, after, 0.5)
    assert found.p_better < 0.001
    assert found.p_worse > 0.999
    never = paired_quantile_shift([[math.inf] * 5] * 3, [[1.0] * 5] * 3, 0.5)
    assert (never.p_better, never.p_worse) == (1.0, 1.0)
