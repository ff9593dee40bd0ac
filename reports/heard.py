"""What people heard of voice replies: first sentences by the turn, silences, spoken failures.

A turn is one utterance and its answer. Where a tool was used it took several requests, and the
person waited from the first of them on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.words import Outcome
from reports import text
from reports.load import Cell, RunData
from reports.statistics import Estimate, FloatArray, proportion
from reports.tables import ttft

_OF_REPLIES = ("ttfs_ms", "ttfsc_ms", "segments", "stutters", "longest_gap_ms")
"""Columns of what a reply was to hear."""
_BROKEN = (Outcome.ERROR, Outcome.TIMEOUT)
"""How the router's decision on a reply ends that broke off."""
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class HeardStatistics:
    """What was heard in one cell; milliseconds and shares, rounded.

    What is heard of a turn is what its last request brought; it is counted from the first request.
    A turn that failed counts as later than everything; one that was cancelled, or that
    succeeded without a word, counts where it had one.
    """

    arm: str
    step_users: int
    emulated: bool
    turns: int
    requests_per_turn: float | None
    """On average: 1 without tools."""
    ttfs_p50_ms: Estimate
    ttfs_p95_ms: Estimate
    ttfsc_p50_ms: Estimate
    ttfsc_p95_ms: Estimate
    segments_mean: float | None
    """Pieces in which a reply was spoken."""
    stuttering: Estimate
    """Share of the spoken replies in which the device fell silent before the end."""
    stutters: int
    longest_gap_ms: float | None
    """The longest of these silences."""
    spoken_failures: int
    spoken_failure_rate: Estimate
    """Of the turns that were not cancelled: those that nobody answered, so that the router said a
    sentence of its own."""
    finished: int | None
    """Turns that the client takes for answered although a reply of theirs broke off, and the router
    ended its last sentence. By the router's own records; None where there are none of this cell."""


def heard(data: RunData) -> list[HeardStatistics]:
    """Return what was heard in each cell with requests; nothing where no record tells it."""
    return [
        _of_cell(cell, data.decisions, emulated=data.emulated(cell.arm))
        for cell in data.cells
        if len(cell.rows) and cell.rows["ttfsc_ms"].notna().any()
    ]


def _of_cell(cell: Cell, decisions: pd.DataFrame, *, emulated: bool) -> HeardStatistics:
    known = cell.rows["request_id"].isin(decisions["request_id"])
    broken = decisions["request_id"][decisions["outcome"].isin(_BROKEN)]
    turns = _turns(cell.rows, cell.rows["request_id"].isin(broken).to_numpy())
    spoken = turns[turns["stutters"].notna().to_numpy()]
    stuttering = int((spoken["stutters"] > 0).sum())
    failures = int(turns["spoken_failure"].sum())
    ended = len(turns) - int(turns["cancelled"].sum())
    sentences, characters = _delays(turns, "ttfs_ms"), _delays(turns, "ttfsc_ms")
    return HeardStatistics(
        arm=cell.arm,
        step_users=cell.step_users,
        emulated=emulated,
        turns=len(turns),
        requests_per_turn=round(float(turns["requests"].mean()), 2) if len(turns) else None,
        ttfs_p50_ms=ttft(sentences, 0.5),
        ttfs_p95_ms=ttft(sentences, 0.95),
        ttfsc_p50_ms=ttft(characters, 0.5),
        ttfsc_p95_ms=ttft(characters, 0.95),
        segments_mean=round(float(spoken["segments"].mean()), 1) if len(spoken) else None,
        stuttering=text.rounded(proportion(stuttering, len(spoken)), "share"),
        stutters=int(spoken["stutters"].sum()),
        longest_gap_ms=text.round_ms(float(spoken["longest_gap_ms"].max())),
        spoken_failures=failures,
        spoken_failure_rate=text.rounded(proportion(failures, ended), "share"),
        finished=int(turns["finished"].sum()) if known.any() else None,
    )


def _turns(rows: pd.DataFrame, broken: BoolArray) -> pd.DataFrame:
    """Return a row a turn, in the order of their first requests; a turn that began before the
    steady part is left out. ``broken`` marks the replies that the router saw break off.

    What is heard is what its last request brought. Delays are from the first one, ms.
    """
    outcome = rows["outcome"]
    success = (outcome == Outcome.SUCCESS).to_numpy()
    cancelled = (outcome == Outcome.CANCELLED).to_numpy()
    asked = pd.DataFrame(
        {
            "sent_ns": rows["t_send_ns"].to_numpy(dtype=np.float64),
            **{name: rows[name].to_numpy(dtype=np.float64) for name in _OF_REPLIES},
            "cancelled": cancelled,
            "failed": ~(success | cancelled),
            "spoken_failure": rows["spoken_failure"].eq(True).to_numpy(),  # noqa: FBT003
            "finished": broken & success,
            "requests": 1,
        }
    )
    hops = np.nan_to_num(rows["hop"].to_numpy(dtype=np.float64))
    return _joined(asked, rows, hops) if (hops > 0).any() else asked


def _joined(asked: pd.DataFrame, rows: pd.DataFrame, hops: FloatArray) -> pd.DataFrame:
    """Return a row for each turn of which some took several requests."""
    names = {"session": rows["session_id"].astype("category").cat.codes, "turn": rows["turn"]}
    keys = [*names]
    ordered = asked.assign(**{key: value.to_numpy() for key, value in names.items()}, hop=hops)
    ordered = ordered.sort_values([*keys, "hop"], kind="stable")
    begins = ~ordered.duplicated(keys, keep="first").to_numpy()
    ends = ~ordered.duplicated(keys, keep="last").to_numpy()
    number = np.cumsum(begins) - 1
    first, turns = ordered[begins], ordered[ends].reset_index(drop=True)
    waited_ms = (turns["sent_ns"].to_numpy() - first["sent_ns"].to_numpy()) / NS_PER_MS
    for name in ("ttfs_ms", "ttfsc_ms"):
        turns[name] += waited_ms
    for name in ("cancelled", "failed", "spoken_failure", "finished"):
        turns[name] = np.bincount(number, weights=ordered[name]) > 0
    turns["requests"] = np.bincount(number)
    turns["sent_ns"] = first["sent_ns"].to_numpy()
    begun: pd.DataFrame = turns[first["hop"].to_numpy() == 0]
    return begun.sort_values("sent_ns", kind="stable")


def _delays(turns: pd.DataFrame, name: str) -> FloatArray:
    """Return a delay of each turn; infinite: it failed; NaN: it tells nothing."""
    found: FloatArray = np.where(
        turns["failed"].to_numpy(dtype=bool), np.inf, turns[name].to_numpy(dtype=np.float64)
    )
    return found
