"""Numbers with units, as Grafana writes them."""

from __future__ import annotations

import pytest

from dashboards.preview.units import formatted, needed


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.341, "s", None, "341 ms"),
        (0.341, "s", 1, "341.0 ms"),
        (1.826, "s", 2, "1.83 s"),
        (0.0000004, "s", 0, "400 ns"),
        (0.000004, "s", 0, "4 µs"),
        (0.0, "s", 3, "0 s"),
        (90.0, "s", 1, "1.5 min"),
        (3600.0, "s", 0, "1 hour"),
        (7200.0, "s", 0, "2 hours"),
        (172_800.0, "s", 0, "2 days"),
        (0.9512, "percentunit", 1, "95.1%"),
        (1.0, "percentunit", None, "100%"),
        (12.345, "reqps", 2, "12.35 req/s"),
        (2500.0, "reqps", 1, "2.5 K req/s"),
        (1536.0, "bytes", 1, "1.5 KiB"),
        (8 * 1024**3, "bytes", 0, "8 GiB"),
        (0.0123, "currencyUSD", 2, "$0.01"),
        (1_500_000.0, "short", 1, "1.5 Mil"),
        (-0.0001, "short", 1, "0.0"),
        (3.0, "cores", 0, "3 cores"),
    ],
)
def test_values(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert formatted(value, unit, decimals) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (1, "a few seconds ago"),
        (30, "30 seconds ago"),
        (61, "1 minute ago"),
        (7300, "2 hours ago"),
        (200_000, "2 days ago"),
    ],
)
def test_ages(ago: float, text: str) -> None:
    assert formatted((1e9 - ago) * 1000, "dateTimeFromNow", now=1e9) == text


def test_digits_behind_the_point() -> None:
    assert [needed(value) for value in (0.0, 4.0, 341.2, 12.3, 1.83, 0.0123)] == [0, 0, 0, 1, 2, 4]
