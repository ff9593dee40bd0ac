"""Two arms that took turns: how much later or sooner the one's first token comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from firsttoken.core.words import Arm
from reports import text
from reports.load import RunData, delays_ms
from reports.statistics import CONFIDENCE, FloatArray, quantile_rank

QUANTILES = (0.50, 0.95)
DRAWS = 2_000
NEVER_MS = 3.6e6
"""What never came counts as an hour, so that quotients stay numbers."""


@dataclass(frozen=True, slots=True)
class Round:
    """What two arms showed in one turn each, close to each other in time: milliseconds to the
    first token, a value a request."""

    first: FloatArray
    second: FloatArray


@dataclass(frozen=True, slots=True)
class Comparison:
    """One quantile of TTFT, of an arm and the one it is held against."""

    arm: str
    against: str
    quantile: float
    arm_ms: float
    against_ms: float
    ratio: float
    """The arm's quantile divided by the other's, over all rounds; below 1: sooner."""
    ratio_low: float
    ratio_high: float
    """The 95 % interval of the ratio."""
    differences_ms: tuple[float, ...]
    """By round: the arm's quantile minus the other's."""
    n: int
    """Requests of the arm with fewer."""

    @property
    def name(self) -> str:
        """Such as ``p95``."""
        return f"p{self.quantile * 100:g}"

    @property
    def sentence(self) -> str:
        """The comparison in one line."""
        later = sum(difference > 0 for difference in self.differences_ms)
        low, high = self.ratio_low, self.ratio_high
        shown = "later" if low > 1 else "sooner" if high < 1 else "no difference shown"
        return (
            f"TTFT {self.name}: {self.arm} {_shown(self.arm_ms)}, {self.against} "
            f"{_shown(self.against_ms)}, ratio {self.ratio:.3f} [{low:.3f}, {high:.3f}]: {shown}; "
            f"later in {later} of {text.count(len(self.differences_ms), 'round')}"
        )


def _shown(value_ms: float) -> str:
    return text.NEVER if value_ms >= NEVER_MS else text.quantity(value_ms, "ms")


def _at(values: FloatArray, p: float) -> float:
    """Return the sample quantile of :func:`reports.statistics.quantile_rank`."""
    rank = quantile_rank(values.size, p) - 1
    return float(np.partition(values, rank)[rank])


def ratio_interval(
    rounds: Sequence[Round], p: float, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Return the interval at :data:`reports.statistics.CONFIDENCE` of the ratio of two quantiles.

    A cluster bootstrap in two stages: rounds are drawn with replacement, both arms of a round
    together, so that what the machine did in a round falls on both; then requests within each arm
    of each drawn round. Percentiles of the ratios are the ends. Source: Davison and Hinkley,
    "Bootstrap Methods and their Application", 1997, section 3.8; Field and Welsh, "Bootstrapping
    clustered data", Journal of the Royal Statistical Society B 69, 2007. With few rounds the first
    stage alone would understate the spread between rounds; the second makes up for a part of it.
    """
    random = np.random.default_rng(seed)
    ratios = np.empty(draws)
    for draw in range(draws):
        drawn = [rounds[at] for at in random.integers(len(rounds), size=len(rounds))]
        first, second = (
            np.concatenate([arm[random.integers(arm.size, size=arm.size)] for arm in arms])
            for arms in zip(*map(_both, drawn), strict=True)
        )
        ratios[draw] = _at(first, p) / _at(second, p)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return float(low), float(high)


def compare(
    arm: str, against: str, rounds: Iterable[Round], quantiles: Sequence[float] = QUANTILES
) -> tuple[Comparison, ...]:
    """Compare two arms at each quantile; rounds in which one has no request are left out.

    Returns nothing where no round is left.
    """
    paired = [item for item in rounds if item.first.size and item.second.size]
    if not paired:
        return ()
    first, second = (np.concatenate(side) for side in zip(*map(_both, paired), strict=True))
    found = []
    for p in quantiles:
        low, high = ratio_interval(paired, p)
        found.append(
            Comparison(
                arm=arm,
                against=against,
                quantile=p,
                arm_ms=round(_at(first, p), 1),
                against_ms=round(_at(second, p), 1),
                ratio=round(_at(first, p) / _at(second, p), 4),
                ratio_low=round(low, 4),
                ratio_high=round(high, 4),
                differences_ms=tuple(
                    round(_at(item.first, p) - _at(item.second, p), 1) for item in paired
                ),
                n=min(first.size, second.size),
            )
        )
    return tuple(found)


def _both(item: Round) -> tuple[FloatArray, FloatArray]:
    return item.first, item.second


def rounds_of(
    steady: pd.DataFrame, arm: str, against: str, arms: int, target_ms: float
) -> list[Round]:
    """Cut the steady rows of a run into rounds by the numbers of their blocks.

    Args:
        steady: rows with ``arm`` and ``block`` and what :func:`reports.load.delays_ms` takes.
        arm: whose quantiles are compared...
        against: ...with those of this one.
        arms: how many arms take turns: that many blocks in a row are a round.
        target_ms: tells which cancelled requests were late.
    """
    known = steady[steady["block"].notna()]
    number = known["block"].astype("int64") // arms
    return [
        Round(*(finite_delays(group[group["arm"] == name], target_ms) for name in (arm, against)))
        for _, group in known.groupby(number)
    ]


def finite_delays(rows: pd.DataFrame, target_ms: float) -> FloatArray:
    """Return the delays of rows; what never came counts as :data:`NEVER_MS`."""
    found: FloatArray = np.minimum(delays_ms(rows, target_ms), NEVER_MS)
    return found[~np.isnan(found)]


def of_run(data: RunData, target_ms: float) -> tuple[Comparison, ...]:
    """Compare ``target`` with ``against`` in a run that measured both at one load in turns."""
    pair = (Arm.TARGET.value, Arm.AGAINST.value)
    if not set(pair) <= set(data.arms) or len(data.steps) != 1:
        return ()
    steady = pd.concat([cell.rows for cell in data.cells])
    return compare(*pair, rounds_of(steady, *pair, len(data.arms), target_ms))
