"""Variables of a board and of time, put into a query."""

from __future__ import annotations

import pytest

from dashboards.preview import variables


def test_the_variables_of_time_are_grafanas() -> None:
    step = variables.step(900, 400, 5)
    assert step == 5
    assert variables.of_time(900, step, 5) == {
        "__rate_interval": "20s",
        "__interval": "5s",
        "__range": "900s",
        "__range_s": "900",
    }


@pytest.mark.parametrize(
    ("step", "scrape", "window"), [(5, 15, 60), (300, 15, 315), (1, 1, 4), (60, 5, 65)]
)
def test_a_rate_looks_over_four_scrapes_or_a_step_and_one(
    step: float, scrape: float, window: float
) -> None:
    assert variables.rate_window(step, scrape) == window


def test_steps_are_round_and_no_closer_than_allowed() -> None:
    assert variables.step(3600, 300, 1) == 15
    assert variables.step(60, 300, 5) == 5
    assert variables.step(10**9, 10, 1) == 10**8


def test_put_in() -> None:
    query = 'rate(x{job=~"$job", a="${b}", c="${d:regex}"}[$__rate_interval]) $other'
    values = {"job": ".+", "b": "1", "d": "2", "__rate_interval": "20s"}
    assert variables.put_in(query, values) == ('rate(x{job=~".+", a="1", c="2"}[20s]) $other')


def test_a_board_opens_with_its_own_values() -> None:
    listed = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "job", "type": "query", "includeAll": True, "allValue": ".+"},
        {"name": "all", "type": "query", "includeAll": True, "current": {"value": ["$__all"]}},
        {"name": "one", "type": "query", "current": {"value": ["a", "b"]}},
        {"name": "span", "type": "custom", "query": "10m,1h", "options": []},
        {"name": "named", "type": "custom", "query": "Ten : 10m,1h"},
        {"name": "chosen", "type": "custom", "options": [{"value": "5m"}, {"value": "1d"}]},
    ]
    assert variables.of_board({"templating": {"list": listed}}) == {
        "job": ".+",
        "all": ".+",
        "one": "a",
        "span": "10m",
        "named": "10m",
        "chosen": "5m",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), (">5m", 300), ("", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert variables.seconds_of(text) == seconds
