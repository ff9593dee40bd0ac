"""Two arms that took turns: how much later or sooner the one's first token comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from firsttoken.core.words import Arm
from reports import text
from reports.load import RunData, delays_ms
from reports.shift import paired_quantile_shift
from reports.statistics import FloatArray, quantile

QUANTILES = (0.50, 0.95)
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


def compare(
    arm: str, against: str, rounds: Iterable[Round], quantiles: Sequence[float] = QUANTILES
) -> tuple[Comparison, ...]:
    """Compare two arms at each quantile; rounds in which one has no request are left out.

    Returns nothing where no round is left. The intervals are those of
    :func:`reports.shift.paired_quantile_shift`.
    """
    paired = [item for item in rounds if item.first.size and item.second.size]
    if not paired:
        return ()
    found = []
    for p in quantiles:
        shift = paired_quantile_shift(
            [item.second for item in paired], [item.first for item in paired], p
        )
        found.append(
            Comparison(
                arm=arm,
                against=against,
                quantile=p,
                arm_ms=round(shift.candidate, 1),
                against_ms=round(shift.baseline, 1),
                ratio=round(1 + shift.relative, 4),
                ratio_low=round(1 + shift.ci_low, 4),
                ratio_high=round(1 + shift.ci_high, 4),
                differences_ms=tuple(_difference_ms(item, p) for item in paired),
                n=min(shift.n_baseline, shift.n_candidate),
            )
        )
    return tuple(found)


def _difference_ms(item: Round, p: float) -> float:
    """Return by how much the first arm's quantile was later in one round."""
    first, second = quantile(item.first, p).value, quantile(item.second, p).value
    return round((first or 0.0) - (second or 0.0), 1)


def turns(
    rows: pd.DataFrame, one: str, other: str, arms: int
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Cut the rows of two arms into the rounds in which they took turns, the first round first.

    Args:
        rows: with ``arm`` and ``block``; rows without a block are left out.
        one: an arm...
        other: ...and another. A round that lacks either is left out.
        arms: how many arms take turns: that many blocks in a row are a round.
    """
    known = rows[rows["block"].notna()]
    number = known["block"].astype("int64") // arms
    cut = (
        tuple(group[(group["arm"] == name).to_numpy()] for name in (one, other))
        for _, group in known.groupby(number)
    )
    return [(first, second) for first, second in cut if len(first) and len(second)]


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
    return [
        Round(finite_delays(first, target_ms), finite_delays(second, target_ms))
        for first, second in turns(steady, arm, against, arms)
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
