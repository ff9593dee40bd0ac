"""Do the intervals of the reports hold what they promise? By simulation, of data whose truth is
known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, signal, stats

from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.progress import Progress
from reports.autocorrelation import effective_n
from reports.shift import paired_quantile_shift, quantile_shift
from reports.statistics import FloatArray, quantile

Random = np.random.Generator

DRAWS = 2_000
QUANTILES = (0.50, 0.95)
TURNS = (8, 16)
"""Blocks of each side in the paired comparison."""
TURN = 200
"""Requests of a block."""
WARM_UP = 500
"""Values of a dependent series that are thrown away."""
SIZES = {True: (300, 1_000), False: (1_000, 2_000)}
"""Requests of a simulated run, by whether its values are independent."""
SLOW_PERSISTENCE = 0.95
SLOW_SHARE = 0.25
AR_COEFFICIENT = 0.8


@dataclass(frozen=True, slots=True)
class Source:
    """A distribution of latencies in ms, and how to draw a run from it."""

    name: str
    draw: Callable[[Random, int], FloatArray]
    cdf: Callable[[float], float]

    def truth(self, p: float) -> float:
        """Return the true quantile."""
        return float(optimize.brentq(lambda x: self.cdf(x) - p, 1.0, 1e5, xtol=1e-9))


def _lognormal(median_ms: float, sigma: float) -> stats.rv_continuous:
    return stats.lognorm(sigma, scale=median_ms)


_ONE = _lognormal(300.0, 0.4)
_LOCAL, _REMOTE = _lognormal(300.0, 0.2), _lognormal(2_000.0, 0.2)
_QUICK, _SLOW = _lognormal(250.0, 0.25), _lognormal(500.0, 0.25)


def _independent(random: Random, n: int) -> FloatArray:
    drawn: FloatArray = 300.0 * np.exp(0.4 * random.standard_normal(n))
    return drawn


def _hybrid(random: Random, n: int) -> FloatArray:
    noise = np.exp(0.2 * random.standard_normal(n))
    drawn: FloatArray = np.where(random.random(n) < 0.9, 300.0, 2_000.0) * noise
    return drawn


def _autoregressive(random: Random, n: int) -> FloatArray:
    shocks = random.standard_normal(n + WARM_UP) * math.sqrt(1.0 - AR_COEFFICIENT**2)
    series = signal.lfilter([1.0], [1.0, -AR_COEFFICIENT], shocks)[WARM_UP:]
    drawn: FloatArray = 300.0 * np.exp(0.4 * series)
    return drawn


def _regimes(random: Random, n: int) -> FloatArray:
    """A machine that is slow for a while: a chain of two states, each request in one of them."""
    leave_slow = 1.0 - SLOW_PERSISTENCE
    leave_quick = leave_slow * SLOW_SHARE / (1.0 - SLOW_SHARE)
    slow = np.empty(n, dtype=bool)
    state, at = bool(random.random() < SLOW_SHARE), 0
    while at < n:
        stay = int(random.geometric(leave_slow if state else leave_quick))
        slow[at : at + stay] = state
        state, at = not state, at + stay
    drawn: FloatArray = np.where(slow, 500.0, 250.0) * np.exp(0.25 * random.standard_normal(n))
    return drawn


SOURCES: tuple[Source, ...] = (
    Source("lognormal", _independent, lambda x: float(_ONE.cdf(x))),
    Source(
        "bimodal, 90 % local 10 % remote",
        _hybrid,
        lambda x: float(0.9 * _LOCAL.cdf(x) + 0.1 * _REMOTE.cdf(x)),
    ),
    Source(
        f"autoregressive, lag-1 {AR_COEFFICIENT:g}", _autoregressive, lambda x: float(_ONE.cdf(x))
    ),
    Source(
        f"slow and quick spells, {1 / (1 - SLOW_PERSISTENCE):.0f} slow requests a spell",
        _regimes,
        lambda x: float((1 - SLOW_SHARE) * _QUICK.cdf(x) + SLOW_SHARE * _SLOW.cdf(x)),
    ),
)
INDEPENDENT = 2
"""The first of :data:`SOURCES` have independent values."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often an interval held the truth, and how wide it was."""

    source: str
    what: str
    n: int
    covered: float
    width: float
    """Median width, as a share of the truth (of a shift: in shares)."""
    exact_covered: float | None = None
    """Of the exact interval for independent values, on the same data."""
    exact_width: float | None = None
    worth: float | None = None
    """Mean effective n, as a share of n."""


def of_quantile(source: Source, p: float, n: int, *, draws: int = DRAWS, seed: int = 1) -> Coverage:
    """Draw runs and ask how often the interval of a quantile holds the true one."""
    random = np.random.default_rng(seed)
    truth = source.truth(p)
    hits, widths, worth = np.zeros(2), np.empty((draws, 2)), 0.0
    for number in range(draws):
        values = source.draw(random, n)
        effective = effective_n(values, p)
        worth += effective / n
        for at, found in enumerate((quantile(values, p, effective), quantile(values, p))):
            low = -math.inf if found.ci_low is None else found.ci_low
            high = math.inf if found.ci_high is None else found.ci_high
            hits[at] += low <= truth <= high
            widths[number, at] = (high - low) / truth
    covered, exact = hits / draws
    width, exact_width = np.median(widths, axis=0)
    return Coverage(
        source=source.name,
        what=f"p{p * 100:g}",
        n=n,
        covered=float(covered),
        width=float(width),
        exact_covered=float(exact),
        exact_width=float(exact_width),
        worth=worth / draws,
    )


def of_shift(source: Source, p: float, n: int, *, draws: int = DRAWS, seed: int = 2) -> Coverage:
    """Draw pairs, the candidate a tenth slower: how often does the interval hold the tenth?"""
    random = np.random.default_rng(seed)
    hits, widths = 0, np.empty(draws)
    for number in range(draws):
        found = quantile_shift(
            source.draw(random, n), 1.1 * source.draw(random, n), p, seed=number, draws=2_000
        )
        hits += found.ci_low <= 0.1 <= found.ci_high
        widths[number] = found.ci_high - found.ci_low
    return Coverage(
        source.name, f"shift of p{p * 100:g}", n, hits / draws, float(np.median(widths))
    )


def of_paired_shift(
    source: Source, p: float, turns: int, *, draws: int = DRAWS, seed: int = 3
) -> Coverage:
    """Likewise for two that took turns, with a machine whose pace changes from turn to turn."""
    random = np.random.default_rng(seed)
    hits, widths = 0, np.empty(draws)
    for number in range(draws):
        pace = np.repeat(np.exp(random.normal(0.0, 0.1, turns)), TURN)
        sides = [source.draw(random, pace.size) * pace for _ in range(2)]
        found = paired_quantile_shift(
            np.split(sides[0], turns), np.split(1.1 * sides[1], turns), p, seed=number, draws=1_000
        )
        hits += found.ci_low <= 0.1 <= found.ci_high
        widths[number] = found.ci_high - found.ci_low
    what = f"paired shift of p{p * 100:g}, {turns} turns"
    return Coverage(source.name, what, turns * TURN, hits / draws, float(np.median(widths)))


def statistics_page(progress: Progress) -> str:
    """Simulate; return the page."""
    single: list[Coverage] = []
    pairs: list[Coverage] = []
    for at, source in enumerate(SOURCES):
        sizes = SIZES[at < INDEPENDENT]
        with progress.doing(f"statistics: {source.name}"):
            for p in QUANTILES:
                single += [of_quantile(source, p, n) for n in sizes]
                pairs += [of_shift(source, p, n) for n in sizes]
                pairs += [of_paired_shift(source, p, turns) for turns in TURNS]
    return (
        f"{DRAWS:,} simulated runs for each line; how often a 95 % interval holds "
        "the true value, at least 94 % wanted. Width: half of the intervals are narrower.\n\n"
        "## Quantiles\n\nThe interval with the effective n beside the exact one for independent "
        "values, on the same runs. Worth: mean effective n, of n.\n\n"
        + markdown_table(
            ("data", "quantile", "n", "worth", "covers", "width", "exact covers", "exact width"),
            [_single_row(item) for item in single],
        )
        + "\n\nThe exact interval is the narrowest that holds for independent requests, and fails "
        "for dependent ones; what the other is wider for independent requests is the price of not "
        "knowing that they are.\n\n"
        "## Shifts\n\nThe candidate is 10 % later. Width in percentage points. Paired: the two "
        f"took turns of {TURN} requests, between which the machine's pace differs "
        "by 10 % (standard deviation).\n\n"
        + markdown_table(
            ("data", "what", "n a side", "covers", "width"), [_shift_row(item) for item in pairs]
        )
    )


def _single_row(item: Coverage) -> tuple[str, ...]:
    return (
        item.source,
        item.what,
        str(item.n),
        f"{item.worth or 0.0:.0%}",
        f"**{item.covered:.1%}**",
        f"{item.width:.1%}",
        f"{item.exact_covered or 0.0:.1%}",
        f"{item.exact_width or 0.0:.1%}",
    )


def _shift_row(item: Coverage) -> tuple[str, ...]:
    return (
        item.source,
        item.what,
        str(item.n),
        f"**{item.covered:.1%}**",
        f"{item.width * 100:.1f}",
    )
