"""Goodput, what users felt, and the hybrid arm beside the others on the same schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from firsttoken.core.records import BlockResult
from firsttoken.core.words import Arm
from reports import text
from reports.load import Cell, RunData, delays_ms
from reports.statistics import NOTHING, Estimate, FloatArray, proportion, quantile
from reports.tables import ttft

FELT_DIFFERENCE_MS = 1.0
"""A user's wait is shown beside TTFT where they differ by more for at least one request in 20."""


@dataclass(frozen=True, slots=True)
class Goodput:
    """The share of requests of one cell that met every target: first token in time, no error.

    ``user_*`` is the same from the planned start, and only where that differs from the start: a
    start that was due and never made counts as later than everything.
    """

    arm: str
    step_users: int
    share: Estimate
    felt: bool
    """Whether what users waited differs from TTFT."""
    user_ttft_p50_ms: Estimate
    user_ttft_p95_ms: Estimate
    user_share: Estimate


@dataclass(frozen=True, slots=True)
class Pairs:
    """The hybrid arm and another one over the turns that both were asked in the same place of the
    schedule: same step, talker and turn."""

    step_users: int
    other: str
    n: int
    hybrid_p50_ms: float | None
    other_p50_ms: float | None
    hybrid_p95_ms: float | None
    other_p95_ms: float | None
    p50_difference_ms: float | None
    """Hybrid less the other."""
    p95_difference_ms: float | None
    hybrid_share: float | None
    """Goodput of each arm over these turns."""
    other_share: float | None
    sooner: Estimate
    """Share of the turns whose first token came sooner in the hybrid arm."""


def met(delays: FloatArray, target_ms: float) -> Estimate:
    """Return the share of delays, of :func:`reports.load.delays_ms`, within the target."""
    known = delays[~np.isnan(delays)]
    within = int((known <= target_ms).sum())
    return text.rounded(proportion(within, known.size), "share")


def _felt(cell: Cell, delays: FloatArray, blocks: Sequence[BlockResult]) -> FloatArray | None:
    """Return the delays from the planned starts; None where they are those from the start."""
    behind = (cell.rows["ttft_user_ms"] - cell.rows["ttft_ms"]).to_numpy(dtype=np.float64)
    dropped = sum(
        block.dropped or 0
        for block in blocks
        if (block.arm, block.step_users) == (cell.arm, cell.step_users)
    )
    late = behind[~np.isnan(behind)] > FELT_DIFFERENCE_MS
    # One in twenty: less moves no p95.
    if not dropped and (late.size == 0 or late.mean() < 0.05):
        return None
    felt = np.where(np.isfinite(delays), delays + np.nan_to_num(behind), delays)
    return np.concatenate([felt, np.full(dropped, np.inf)])


def goodput(data: RunData, target_ms: float) -> list[Goodput]:
    """Return the goodput of every cell with requests."""
    found = []
    for cell in data.cells:
        if cell.rows.empty:
            continue
        delays = delays_ms(cell.rows, target_ms)
        felt = _felt(cell, delays, data.manifest.blocks)
        found.append(
            Goodput(
                arm=cell.arm,
                step_users=cell.step_users,
                share=met(delays, target_ms),
                felt=felt is not None,
                user_ttft_p50_ms=NOTHING if felt is None else ttft(felt, 0.5),
                user_ttft_p95_ms=NOTHING if felt is None else ttft(felt, 0.95),
                user_share=NOTHING if felt is None else met(felt, target_ms),
            )
        )
    return found


def _places(cell: Cell, target_ms: float) -> pd.Series[float]:
    """Return the delay of each request by its place in the schedule: (talker, turn, repeat).

    The talker is the last part of a session's name; a step that an arm goes through several times
    asks for the same place again, in the same order.
    """
    rows = cell.rows
    names = rows["session_id"].astype("category")
    talkers = pd.Index(names.cat.categories.astype(str)).str.rpartition("-").get_level_values(2)
    repeat = rows["block"].rank(method="dense").fillna(0.0).to_numpy()
    index = pd.MultiIndex.from_arrays(
        [talkers.to_numpy()[names.cat.codes.to_numpy()], rows["turn"].to_numpy(), repeat]
    )
    delays = pd.Series(delays_ms(rows, target_ms), index=index).dropna()
    return delays[~delays.index.duplicated(keep="first")]


def _difference(one: float | None, other: float | None) -> float | None:
    if one is None or other is None or not np.isfinite([one, other]).all():
        return None
    return text.round_ms(one - other)


def pairs(data: RunData, target_ms: float) -> list[Pairs]:
    """Compare the hybrid arm with each other arm at each step, place by place."""
    by_key = {(cell.arm, cell.step_users): cell for cell in data.cells if not cell.rows.empty}
    found = []
    for step in data.steps:
        mine = by_key.get((Arm.HYBRID, step))
        if mine is None:
            continue
        hybrid = _places(mine, target_ms)
        for arm in (Arm.LOCAL_ONLY, Arm.REMOTE_ONLY):
            against = by_key.get((arm, step))
            if against is None:
                continue
            other = _places(against, target_ms)
            both = hybrid.index.intersection(other.index)
            if len(both):
                found.append(_paired(step, str(arm), hybrid[both], other[both], target_ms))
    return found


def _paired(
    step: int, arm: str, hybrid: pd.Series[float], other: pd.Series[float], target_ms: float
) -> Pairs:
    ours: FloatArray = np.asarray(hybrid, dtype=np.float64)
    theirs: FloatArray = np.asarray(other, dtype=np.float64)
    ours_p50, ours_p95 = (text.round_ms(quantile(ours, p).value) for p in (0.5, 0.95))
    theirs_p50, theirs_p95 = (text.round_ms(quantile(theirs, p).value) for p in (0.5, 0.95))
    return Pairs(
        step_users=step,
        other=arm,
        n=len(ours),
        hybrid_p50_ms=ours_p50,
        other_p50_ms=theirs_p50,
        hybrid_p95_ms=ours_p95,
        other_p95_ms=theirs_p95,
        p50_difference_ms=_difference(ours_p50, theirs_p50),
        p95_difference_ms=_difference(ours_p95, theirs_p95),
        hybrid_share=met(ours, target_ms).value,
        other_share=met(theirs, target_ms).value,
        sooner=text.rounded(proportion(int((ours < theirs).sum()), len(ours)), "share"),
    )
