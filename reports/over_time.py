"""What happened when: first tokens stretch by stretch of a run, and its incidents.

Seconds are counted from the moment the first steady request of the run was sent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import Outcome, Reason, Tier
from reports import text
from reports.load import Cell, RunData, delays_ms, tiers_of
from reports.statistics import quantile

STRETCHES = 160
"""About as many are cut out of a whole run."""
LEAST_IN_A_STRETCH = 20
"""Fewer requests have no 95th percentile of their own: it would be the slowest one."""
INCIDENT_BINS = 120
"""More could not be told apart on a page."""

INCIDENT_REASONS: tuple[str, ...] = (
    Reason.FAILOVER,
    Reason.ALL_OTHERS_FAILED,
    Reason.LOCAL_UNHEALTHY,
    Reason.LOCAL_TIMEOUT,
    Reason.LOCAL_SLOW,
    Reason.LOCAL_OVERLOADED,
    Reason.QUEUE_FULL,
    Reason.PREDICTED_LATE,
    Reason.CONTEXT_OVERFLOW,
    Reason.MODE_REMOTE_ONLY,
    Reason.HEDGE_WON,
)
"""Reasons that tell of something out of the ordinary: the backend was not the router's first
choice, because that one had failed, was ill, slow or full."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """The steady rows of one cell that ran without interruption."""

    arm: str
    step_users: int
    start_ns: int
    end_ns: int
    """When the last of its requests had ended."""
    cell: Cell
    at: slice | npt.NDArray[np.bool_]
    """Which rows of the cell."""

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of the block."""
        return self.cell.rows[self.at]


@dataclass(frozen=True, slots=True)
class Stretch:
    """First tokens of some seconds of one block."""

    arm: str
    step_users: int
    start_s: float
    end_s: float
    n: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    """None where there are fewer than :data:`LEAST_IN_A_STRETCH` requests."""
    tiers: dict[str, int]
    """By tier, how many requests it answered; ``unknown`` where the server did not say."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One kind of thing out of the ordinary, and when it was seen."""

    kind: str
    count: int
    first_s: float
    last_s: float
    at: tuple[tuple[float, int], ...]
    """Seconds at which a bin begins, and how many fell into it; empty bins are left out."""


@dataclass(frozen=True, slots=True)
class OverTime:
    """A run along the clock."""

    seconds: float
    """From the first steady request sent to the last one ended."""
    bin_seconds: float
    """Width of the bins of the incidents."""
    stretches: tuple[Stretch, ...]
    incidents: tuple[Incident, ...]
    """Failures first, then reasons, then backends that stepped in."""


def blocks(data: RunData) -> list[Block]:
    """Return the blocks of a run in the order in which they began; rows without a stamp are left
    out."""
    found = []
    for cell in data.cells:
        number = cell.rows["block"].to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.unique(number[~np.isnan(number)])
        for each in [None, *known] if np.isnan(number).any() else known:
            at = np.isnan(number) if each is None else number == each
            rows = cell.rows[at]
            sent, ended = rows["t_send_ns"].dropna(), rows["t_end_ns"].dropna()
            if len(sent) and len(ended):
                start, end = int(sent.min()), max(int(ended.max()), int(sent.min()))
                found.append(Block(cell.arm, cell.step_users, start, end, cell, at))
    return sorted(found, key=lambda block: block.start_ns)


def _bins(block: Block, whole_ns: int) -> int:
    """Return how many stretches a block is cut into."""
    share = (block.end_ns - block.start_ns) / max(whole_ns, 1)
    return max(1, min(len(block.rows) // LEAST_IN_A_STRETCH, round(share * STRETCHES)))


def _stretches(block: Block, origin: int, whole_ns: int, target_ms: float) -> Iterator[Stretch]:
    """Cut a block into stretches of equal length; those without a request are left out."""
    rows = block.rows[block.rows["t_send_ns"].notna()]
    sent = rows["t_send_ns"].to_numpy(dtype=np.int64)
    last = int(sent.max())
    edges = np.linspace(block.start_ns, last + 1, _bins(block, whole_ns) + 1)
    place = np.clip(np.searchsorted(edges, sent, side="right") - 1, 0, edges.size - 2)
    delays = delays_ms(rows, target_ms)
    tiers = tiers_of(block.arm, rows)
    codes = tiers.cat.codes.to_numpy()
    names = [str(name) for name in tiers.cat.categories]
    for number in range(edges.size - 1):
        inside = place == number
        if not inside.any():
            continue
        mine = delays[inside]
        mine = mine[~np.isnan(mine)]
        enough = mine.size >= LEAST_IN_A_STRETCH
        counts = Counter(codes[inside].tolist())
        yield Stretch(
            arm=block.arm,
            step_users=block.step_users,
            start_s=_seconds(edges[number], origin),
            end_s=_seconds(edges[number + 1], origin),
            n=int(inside.sum()),
            ttft_p50_ms=text.round_ms(quantile(mine, 0.5).value) if mine.size else None,
            ttft_p95_ms=text.round_ms(quantile(mine, 0.95).value) if enough else None,
            tiers={
                names[code] if code >= 0 else "unknown": count
                for code, count in sorted(counts.items())
            },
        )


def _seconds(stamp_ns: float, origin_ns: int) -> float:
    return round((stamp_ns - origin_ns) / NS_PER_S, 3)


def _kinds(cell: Cell, main_backend: dict[str, str]) -> Iterator[tuple[int, str, Ints]]:
    """Yield rank, name and times of sending of each kind of incident of a cell."""
    rows = cell.rows
    sent = rows["t_send_ns"].to_numpy(dtype=np.float64, na_value=np.nan)
    stamped = ~np.isnan(sent)
    bad = stamped & (~rows["outcome"].isin([Outcome.SUCCESS, Outcome.CANCELLED])).to_numpy()
    if bad.any():
        failed = rows[bad]
        why = failed["error_type"].astype("object").where(failed["error_type"].notna(), "")
        for name in sorted({str(item) for item in why}):
            mine = sent[bad][(why == name).to_numpy()].astype(np.int64)
            yield 0, f"failed: {name or 'not said why'}", mine
    for reason in INCIDENT_REASONS:
        mine = stamped & (rows["reason"] == reason).to_numpy(dtype=bool)
        if mine.any():
            yield 1, str(reason), sent[mine].astype(np.int64)
    tiers = tiers_of(cell.arm, rows)
    for name in rows["backend"].dropna().unique():
        by = stamped & (rows["backend"] == name).to_numpy(dtype=bool)
        for tier, usual in main_backend.items():
            mine = by & (tiers == tier).to_numpy(dtype=bool) if name != usual else by & False
            if mine.any():
                yield 2, f"{tier}: {name} for {usual}", sent[mine].astype(np.int64)


def _main_backends(data: RunData) -> dict[str, str]:
    """Return by tier the backend that served most of its requests."""
    counts: dict[str, Counter[str]] = {}
    for cell in data.cells:
        rows = cell.rows
        if rows["backend"].isna().all():
            continue
        pairs = rows.groupby([tiers_of(cell.arm, rows), rows["backend"]], observed=True).size()
        for key, size in pairs.items():
            tier, backend = cast("tuple[str, str]", key)
            counts.setdefault(str(tier), Counter())[str(backend)] += int(size)
    return {
        tier: backends.most_common(1)[0][0]
        for tier, backends in counts.items()
        if tier in (Tier.LOCAL, Tier.REMOTE)
    }


def _incidents(data: RunData, origin: int, width_s: float) -> list[Incident]:
    usual = _main_backends(data)
    seen: dict[tuple[int, str], list[Ints]] = {}
    for cell in data.cells:
        for rank, name, stamps in _kinds(cell, usual):
            seen.setdefault((rank, name), []).append(stamps)
    found = []
    for (rank, name), parts in seen.items():
        seconds = (np.concatenate(parts) - origin) / NS_PER_S
        number, counts = np.unique(np.floor(seconds / width_s).astype(int), return_counts=True)
        at = tuple(
            (round(float(each * width_s), 3), int(n))
            for each, n in zip(number, counts, strict=True)
        )
        first, last = round(float(seconds.min()), 3), round(float(seconds.max()), 3)
        found.append((rank, Incident(name, int(seconds.size), first, last, at)))
    return [item for _, item in sorted(found, key=lambda pair: (pair[0], -pair[1].count))]


def over_time(data: RunData, target_ms: float) -> OverTime | None:
    """Lay a run along the clock; None without a steady request that has stamps.

    ``target_ms`` tells which cancelled requests were late.
    """
    parts = blocks(data)
    if not parts:
        return None
    origin = origin_ns(parts)
    whole = max(block.end_ns for block in parts) - origin
    width = max(1.0, math.ceil(whole / NS_PER_S / INCIDENT_BINS))
    return OverTime(
        seconds=round(whole / NS_PER_S, 3),
        bin_seconds=width,
        stretches=tuple(
            item for block in parts for item in _stretches(block, origin, whole, target_ms)
        ),
        incidents=tuple(_incidents(data, origin, width)),
    )


def origin_ns(parts: list[Block]) -> int:
    """Return the stamp from which the seconds of a run are counted."""
    return min(block.start_ns for block in parts)
