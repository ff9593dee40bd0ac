"""The arithmetic of budgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.rules.model import DAY, HOUR, Severity
from dashboards.rules.objective import Objective
from dashboards.rules.windows import BENCHMARK_DAY, MONTH, SETS, Window, WindowSet
from firsttoken.core.errors import UserError


def test_the_month_has_the_factors_of_the_workbook() -> None:
    assert [MONTH.factor(each) for each in MONTH.windows] == [14.4, 6, 3, 1]
    assert [(w.long // HOUR, w.short // 60) for w in MONTH.windows] == [
        (1, 5),
        (6, 30),
        (24, 120),
        (72, 360),
    ]


def test_the_day_of_a_benchmark_keeps_the_factors_in_shorter_windows() -> None:
    assert [BENCHMARK_DAY.factor(each) for each in BENCHMARK_DAY.windows] == [14.4, 6, 3]
    assert max(BENCHMARK_DAY.spans()) < DAY


@pytest.mark.parametrize("windows", SETS.values())
def test_windows_are_in_order_and_short_ones_are_shorter(windows: WindowSet) -> None:
    factors = [windows.factor(each) for each in windows.windows]
    assert factors == sorted(factors, reverse=True)
    for each in windows.windows:
        assert each.long % each.short == 0
        assert each.short < each.long < windows.period
        assert each.hold < each.long


def test_a_threshold_is_factor_times_budget() -> None:
    objective = Objective("first token", 0.95)
    assert objective.budget == 0.05
    assert [objective.threshold(each, MONTH) for each in MONTH.windows] == [0.72, 0.3, 0.15, 0.05]


def test_an_alert_that_could_never_fire_is_refused() -> None:
    with pytest.raises(UserError, match=r"could never fire; expected a target above 0\.9306"):
        Objective("first token", 0.9).threshold(MONTH.windows[0], MONTH)


@pytest.mark.parametrize("target", [0, 1])
def test_a_target_without_a_budget_is_refused(target: float) -> None:
    objective = Objective("availability", target)
    with pytest.raises(UserError, match="leaves no budget"):
        objective.threshold(MONTH.windows[0], MONTH)
    with pytest.raises(UserError, match="leaves no budget"):
        objective.burn_rate(0.1)


def test_a_budget_lasts_its_period_at_a_rate_of_one() -> None:
    objective = Objective("availability", 0.999)
    assert objective.burn_rate(0.001) == pytest.approx(1)
    assert objective.hours_to_exhaustion(0.001, MONTH.period) == pytest.approx(720)
    assert objective.hours_to_exhaustion(0.0144, MONTH.period) == pytest.approx(50)
    assert objective.hours_to_exhaustion(0, MONTH.period) is None


@given(
    target=st.floats(0.5, 0.9999),
    share=st.floats(0.001, 0.5),
    long=st.integers(1, 72),
)
def test_a_long_window_at_the_threshold_has_used_its_share_of_the_budget(
    target: float, share: float, long: int
) -> None:
    window = Window(Severity.WARNING, long * HOUR, 300, share, 0)
    windows = WindowSet("any", 30 * DAY, (window,))
    objective = Objective("any", target)
    if windows.factor(window) * objective.budget >= 1:
        with pytest.raises(UserError):
            objective.threshold(window, windows)
        return
    bad_share = objective.threshold(window, windows)
    assert 0 < bad_share < 1
    used = bad_share * window.long / (objective.budget * windows.period)
    assert used == pytest.approx(share, rel=1e-3, abs=1e-6)
