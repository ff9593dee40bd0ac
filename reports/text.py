"""Numbers as text: one rounding and one spelling for page, terminal and Markdown.

Figures are rounded once, when a report is built (:func:`round_ms`, :func:`round_share`); what is
shown has exactly the digits that ``report.json`` holds.
"""

from __future__ import annotations

import math
from typing import Literal

from firsttoken.core.words import Verdict
from reports.statistics import Estimate

Unit = Literal["ms", "share"]

MISSING = "–"
NEVER = "never"

SYMBOL: dict[Verdict, str] = {
    Verdict.PASS: "✔",
    Verdict.FAIL: "✘",
    Verdict.INCONCLUSIVE: "?",
    Verdict.UNTRUSTED: "⚠",
}
"""So that a verdict can be told without its colour."""


def round_ms(value: float | None) -> float | None:
    """Round milliseconds to 0.1; None for None and NaN, infinity stays."""
    if value is None or math.isnan(value):
        return None
    return value if math.isinf(value) else round(float(value), 1)


def round_share(value: float | None) -> float | None:
    """Round a share in [0, 1] to 0.0001 (0.01 %); None for None and NaN."""
    return None if value is None or math.isnan(value) else round(float(value), 4)


def rounded(estimate: Estimate, unit: Unit) -> Estimate:
    """Return the estimate as it is reported."""
    to = round_ms if unit == "ms" else round_share
    return Estimate(to(estimate.value), to(estimate.ci_low), to(estimate.ci_high), estimate.n)


def number(value: float | None, unit: Unit) -> str:
    """Return a figure without its unit: ``465.2``; a share in percent: ``1.25``."""
    if value is None:
        return MISSING
    if math.isinf(value):
        return NEVER
    return f"{value:.1f}" if unit == "ms" else f"{value * 100:.2f}"


def quantity(value: float | None, unit: Unit, *, short: bool = False) -> str:
    """Return a figure with its unit; ``short`` drops zeros at the end (for targets)."""
    plain = number(value, unit)
    if plain in (MISSING, NEVER):
        return plain
    if short and "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    return f"{plain} ms" if unit == "ms" else f"{plain} %"


def interval(low: float | None, high: float | None, unit: Unit) -> str:
    """Return ``430.0..510.0``. ``∞``: the sample does not bound that end; ``-`` without any."""
    if low is None and high is None:
        return MISSING
    bottom = "0" if low is None else "∞" if math.isinf(low) else number(low, unit)
    top = "∞" if high is None or math.isinf(high) else number(high, unit)
    return f"{bottom}..{top}"


def measured(value: float | None, low: float | None, high: float | None, unit: Unit) -> str:
    """Return ``465.2 ms (430.0..510.0)``."""
    shown = quantity(value, unit)
    if low is None and high is None:
        return shown
    return f"{shown} ({interval(low, high, unit)})"


def users(count: int) -> str:
    """Return ``1 user`` or ``20 users``."""
    return f"{count} user" if count == 1 else f"{count} users"


def count(n: int, noun: str) -> str:
    """Return ``1 request`` or ``12 requests``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
