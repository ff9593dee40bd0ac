"""What is measured of a cell's requests: delays by the request, and rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.words import Outcome
from reports.load import delays_ms
from reports.statistics import FloatArray


class Delay(NamedTuple):
    """A delay that each request has, whose quantiles are compared."""

    name: str
    label: str
    values: Callable[[pd.DataFrame, float], FloatArray]
    """Of rows and the target of TTFT, in the order of sending; ``inf``: never came."""
    quantiles: tuple[float, ...]
    planned_only: bool = False
    """Whether it tells something of its own only where starts were planned by the clock."""


class Rate(NamedTuple):
    """A share of requests."""

    name: str
    label: str
    events: Callable[[pd.DataFrame, float], FloatArray]
    """Of rows and the target of TTFT, in the order of sending: 1.0 for a request that counts."""
    more: str
    """The word for more of it; ``less`` for less."""
    less: str
    more_is_better: bool
    counts_dropped: bool = False
    """Whether a start that was due and never made counts."""


def _sent_in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values("t_send_ns", kind="stable", na_position="last")


def _failed(rows: pd.DataFrame) -> FloatArray:
    """Return 1.0 for each request that did not succeed; NaN for one that was cancelled."""
    outcome = rows["outcome"]
    failed: FloatArray = np.where(outcome == Outcome.SUCCESS, 0.0, 1.0)
    failed[(outcome == Outcome.CANCELLED).to_numpy()] = np.nan
    return failed


def _without_nan(values: FloatArray) -> FloatArray:
    kept: FloatArray = values[~np.isnan(values)]
    return kept


def _ttft(rows: pd.DataFrame, target_ms: float) -> FloatArray:
    return _without_nan(delays_ms(_sent_in_order(rows), target_ms))


def _user_ttft(rows: pd.DataFrame, target_ms: float) -> FloatArray:
    """Return TTFT from the planned start."""
    ordered = _sent_in_order(rows)
    behind = (ordered["t_send_ns"] - ordered["t_sched_ns"]).to_numpy(dtype=np.float64) / NS_PER_MS
    return _without_nan(delays_ms(ordered, target_ms) + np.maximum(np.nan_to_num(behind), 0.0))


def _until(column: str) -> Callable[[pd.DataFrame, float], FloatArray]:
    """Return what reads a column in which a failed request is later than everything; a cancelled
    one, or one that succeeded without the event, says nothing."""

    def values(rows: pd.DataFrame, _target_ms: float) -> FloatArray:
        ordered = _sent_in_order(rows)
        return _without_nan(
            np.where(_failed(ordered) == 1.0, np.inf, ordered[column].to_numpy(dtype=np.float64))
        )

    return values


def _tpot(rows: pd.DataFrame, _target_ms: float) -> FloatArray:
    """Return the time for each further token of the requests that succeeded."""
    ordered = _sent_in_order(rows)
    tpot = ordered["tpot_ms"].to_numpy(dtype=np.float64)
    return _without_nan(tpot[_failed(ordered) == 0.0])


def _errors(rows: pd.DataFrame, _target_ms: float) -> FloatArray:
    return _without_nan(_failed(_sent_in_order(rows)))


def _in_time(rows: pd.DataFrame, target_ms: float) -> FloatArray:
    found: FloatArray = (_ttft(rows, target_ms) <= target_ms).astype(np.float64)
    return found


DELAYS: tuple[Delay, ...] = (
    Delay("ttft", "TTFT", _ttft, (0.50, 0.95, 0.99)),
    Delay("ttft_user", "TTFT_user", _user_ttft, (0.50, 0.95, 0.99), planned_only=True),
    Delay("ttfs", "TTFS", _until("ttfs_ms"), (0.50, 0.95)),
    Delay("tpot", "TPOT", _tpot, (0.50, 0.95)),
    Delay("e2e", "E2E", _until("e2e_ms"), (0.50, 0.95)),
)
"""First token, first sentence, further tokens, the whole reply."""

RATES: tuple[Rate, ...] = (
    Rate(
        "error_rate",
        "errors",
        _errors,
        "more errors",
        "fewer errors",
        more_is_better=False,
        counts_dropped=True,
    ),
    Rate("goodput", "goodput", _in_time, "more in time", "fewer in time", more_is_better=True),
)
"""Failed requests of those accepted; first tokens within the target of all requests."""
