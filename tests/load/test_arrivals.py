"""Planned starts: as many as asked, where they belong, and the same whenever they are drawn."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_S
from firsttoken.load.schedules.arrivals import planned_offsets, starts_of
from firsttoken.load.schedules.options import Arrivals

KINDS = st.sampled_from(list(Arrivals))


@given(
    rate=st.floats(0.01, 200),
    warmup=st.floats(0, 5),
    steady=st.floats(0.1, 10),
    seed=st.text(max_size=5),
    kind=KINDS,
    burstiness=st.floats(0.05, 10),
)
def test_each_part_holds_as_many_starts_as_its_rate_says(
    rate: float, warmup: float, steady: float, seed: str, kind: Arrivals, burstiness: float
) -> None:
    offsets = planned_offsets(rate, (warmup, steady), seed, kind, burstiness)
    steady_ns = int(warmup * NS_PER_S)
    assert list(offsets) == sorted(offsets)
    assert sum(offset < steady_ns for offset in offsets) == starts_of(rate, warmup)
    assert sum(offset >= steady_ns for offset in offsets) == starts_of(rate, steady)
    assert all(0 <= offset < steady_ns + int(steady * NS_PER_S) for offset in offsets)
    assert offsets == planned_offsets(rate, (warmup, steady), seed, kind, burstiness)


def test_another_seed_draws_other_starts() -> None:
    one, other = (planned_offsets(5, (0, 20), seed, Arrivals.POISSON, 1) for seed in ("1", "2"))
    assert len(one) == len(other) == 100
    assert one != other


@pytest.mark.parametrize(
    ("kind", "burstiness", "expected"),
    [
        (Arrivals.CONSTANT, 1.0, 0.0),
        (Arrivals.POISSON, 1.0, 1.0),
        (Arrivals.POISSON, 5.0, 1.0),
        (Arrivals.GAMMA, 0.3, 0.3),
        (Arrivals.GAMMA, 1.0, 1.0),
        (Arrivals.GAMMA, 3.0, 3.0),
    ],
)
def test_the_gaps_vary_as_asked(kind: Arrivals, burstiness: float, expected: float) -> None:
    offsets = planned_offsets(100, (0, 400), "1", kind, burstiness)
    gaps = [later - earlier for earlier, later in pairwise(offsets)]
    assert fmean(gaps) == pytest.approx(NS_PER_S / 100, rel=0.01)
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(expected, rel=0.08, abs=1e-6)


def test_constant_gaps_stay_constant_from_the_warm_up_to_the_steady_part() -> None:
    offsets = planned_offsets(4, (3, 10), "7", Arrivals.CONSTANT, 1)
    gaps = {round((later - earlier) / 1e6) for earlier, later in pairwise(offsets)}
    assert gaps == {250}
    firsts = {planned_offsets(4, (3, 10), str(seed), Arrivals.CONSTANT, 1)[0] for seed in range(9)}
    assert len(firsts) == 9, "where in the first gap the first start falls is drawn"
    assert all(0 <= first < NS_PER_S / 4 for first in firsts)
