"""The search for the largest load: it finds the truth, spends little, and says what it knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.words import Verdict
from reports.capacity import Ended, carried, isotonic
from reports.search import Look, Search, decide, level_of

SEARCH = Search(target_ms=400, error_target=0.02, minimum=72, start=4, cap=200)
MOST_PROBES = 40


def look(load: float, p95_ms: float, n: int = 120, failed: int = 0, **more: object) -> Look:
    """A probe whose delays lie closely around a p95."""
    delays = np.concatenate([np.full(n - failed, p95_ms), np.full(failed, np.inf)])
    return Look(load=load, delays=delays, accepted=n, failed=failed, **more)  # type: ignore[arg-type]


def search_with(probe: Callable[[float], Look], search: Search) -> list[Look]:
    history: list[Look] = []
    while (load := decide(history, search)) is not None:
        assert len(history) < MOST_PROBES, [item.load for item in history]
        history.append(probe(load))
    return history


class Machine:
    """A target whose p95 rises with the load, seen through noise within and between probes."""

    def __init__(self, capacity: float, steepness: float, seed: int, drift: float) -> None:
        self._capacity = capacity
        self._steepness = steepness
        self._drift = drift
        self._random = np.random.default_rng(seed)

    def probe(self, load: float) -> Look:
        sigma = 0.3
        p95 = 400 * (load / self._capacity) ** self._steepness
        p95 *= np.exp(self._random.normal(0, self._drift))
        median = p95 / np.exp(1.645 * sigma)
        return Look(load, self._random.lognormal(np.log(median), sigma, 120), 120, 0)


def test_the_truth_lies_within_the_interval() -> None:
    """Over 200 machines of any capacity and steepness, at least 90 in 100 intervals are right."""
    random = np.random.default_rng(7)
    right = probes = 0
    for seed in range(200):
        capacity = float(random.uniform(1.5, 120))
        machine = Machine(capacity, float(random.uniform(1, 4)), seed, drift=0.02)
        history = search_with(machine.probe, SEARCH)
        found = carried("target", history, SEARCH, in_time=True)
        assert found.fails is not None
        right += (found.holds or 0) <= capacity <= found.fails
        probes += len(history)
    assert right >= 180
    assert probes / 200 < 20


@settings(max_examples=60, deadline=None)
@given(capacity=st.integers(1, 199), start=st.integers(1, 199))
def test_without_noise_it_is_found_to_the_resolution(capacity: int, start: int) -> None:
    search = Search(target_ms=400, error_target=0.02, minimum=72, start=start, cap=200)
    history = search_with(lambda load: look(load, 300 if load <= capacity else 600, 200), search)
    found = carried("target", history, search, in_time=True)
    assert found.ended is Ended.FOUND
    assert found.holds is not None
    assert found.fails is not None
    assert found.holds <= capacity < found.fails
    assert found.fails - found.holds <= max(1, search.resolution * found.fails)
    assert found.estimate is not None
    assert found.holds <= found.estimate <= found.fails


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_it_ends_whatever_is_seen(data: st.DataObject) -> None:
    def probe(load: float) -> Look:
        p95 = data.draw(st.sampled_from([100.0, 390.0, 410.0, 5_000.0, np.inf]))
        n = data.draw(st.sampled_from([0, 10, 120]))
        disturbed = ("steal",) if data.draw(st.booleans()) and p95 == 100.0 else ()
        settled = data.draw(st.sampled_from([None, True, False]))
        return look(load, p95, n, settled=settled, disturbed=disturbed)

    search = Search(400, 0.02, 72, start=4, cap=40)
    history: list[Look] = []
    while (load := decide(history, search)) is not None:
        assert search.unit <= load <= search.cap
        history.append(probe(load))
        assert len(history) <= 40 * search.looks_in_all
    found = carried("target", history, search, in_time=True)
    assert found.holds is None or found.fails is None or found.holds < found.fails


def test_nothing_holds_where_one_device_fails() -> None:
    found = carried(
        "target",
        search_with(lambda load: look(load, 900, 200), SEARCH),
        SEARCH,
        in_time=True,
    )
    assert (found.holds, found.fails) == (0, 1)


def test_a_cap_that_holds_is_said() -> None:
    history = search_with(lambda load: look(load, 100, 200), SEARCH)
    found = carried("target", history, SEARCH, in_time=True)
    assert (found.holds, found.fails, found.ended) == (200, None, Ended.CAP)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_rates_are_found_in_fractions() -> None:
    search = Search(400, 0.02, 72, start=1, cap=50, unit=0.05)
    history = search_with(lambda rate: look(rate, 300 if rate <= 7.3 else 600, 200), search)
    found = carried("target", history, search, in_time=True)
    assert found.holds is not None
    assert found.fails is not None
    assert found.holds <= 7.3 < found.fails
    assert found.fails - found.holds <= 0.05 * found.fails + 1e-9


def test_errors_alone_end_it() -> None:
    history = search_with(lambda n: look(n, 100, 200, 0 if n < 12 else 20), SEARCH)
    found = carried("target", history, SEARCH, in_time=True)
    assert (found.holds, found.fails) == (11, 12)


@pytest.mark.parametrize(
    ("p95_ms", "n", "failed", "settled", "verdict"),
    [
        (300, 200, 0, None, Verdict.PASS),
        (300, 200, 0, False, Verdict.INCONCLUSIVE),
        (500, 200, 0, False, Verdict.FAIL),
        (500, 60, 0, False, Verdict.INCONCLUSIVE),
        (500, 200, 0, True, Verdict.FAIL),
        (300, 120, 0, None, Verdict.INCONCLUSIVE),
        (300, 200, 4, None, Verdict.INCONCLUSIVE),
        (300, 200, 30, None, Verdict.FAIL),
        (np.inf, 200, 200, None, Verdict.FAIL),
        (300, 0, 0, None, Verdict.INCONCLUSIVE),
    ],
)
def test_a_level_is_judged_by_its_intervals(
    p95_ms: float, n: int, failed: int, settled: bool | None, verdict: Verdict
) -> None:
    level = level_of(8, [look(8, p95_ms, n, failed, settled=settled)], SEARCH)
    assert level.verdict is verdict


def test_looks_at_one_load_are_pooled() -> None:
    level = level_of(8, [look(8, 300), look(8, 300)], SEARCH)
    assert (level.p95.n, level.looks, level.verdict) == (240, 2, Verdict.PASS)


def test_a_disturbed_machine_is_not_believed() -> None:
    history = search_with(lambda n: look(n, 100, disturbed=("steal 9 %",)), SEARCH)
    assert len(history) == SEARCH.most_looks
    found = carried("target", history, SEARCH, in_time=True)
    assert (found.ended, found.verdict) == (Ended.DISTURBED, Verdict.UNTRUSTED)


def test_falling_figures_are_shown() -> None:
    history = [look(4, 350, 200), look(8, 200, 200), look(16, 900, 200)]
    found = carried("target", history, SEARCH, in_time=False)
    assert found.ended is Ended.BUDGET
    assert found.violations == ("p95 at 4 was 350.0 ms, at 8 only 200.0 ms",)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e3), st.floats(0.1, 10)),
        min_size=1,
        max_size=20,
    )
)
def test_the_monotone_fit_rises_and_keeps_the_mean(pairs: list[tuple[float, float]]) -> None:
    values, weights = (np.array(side) for side in zip(*pairs, strict=True))
    fitted = isotonic(values, weights)
    assert (np.diff(fitted) >= -1e-9).all()
    assert np.dot(fitted, weights) == pytest.approx(np.dot(values, weights), abs=1e-6)
    assert isotonic(np.sort(values), weights) == pytest.approx(np.sort(values))
