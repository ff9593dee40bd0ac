"""The figures of a report: a :class:`CellStatistics` for each arm and step, and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import Outcome, Tier
from reports import text
from reports.autocorrelation import effective_n, whole
from reports.load import Cell, RunData, delays_ms, host_means, tiers_of
from reports.statistics import NOTHING, Estimate, FloatArray, median, proportion, quantile


@dataclass(frozen=True, slots=True)
class TierStatistics:
    """What one tier did in one cell. ``share`` is of all steady requests of the cell."""

    tier: str
    n: int
    share: float
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    ttft_effective_n: int


@dataclass(frozen=True, slots=True)
class CellStatistics:
    """What one arm did at one step, in the steady phase. Milliseconds and shares, rounded.

    TTFT counts requests that failed, or got no first token, as infinitely late; TTFS, TPOT, E2E
    and the tokens are medians of successful requests.
    """

    arm: str
    step_users: int
    emulated: bool
    n: int
    left_out: int
    """Rows of the warm-up or cool-down, and those that nobody waited for (``aside``)."""
    cancelled: int
    no_first_token: int
    """Requests that count as later than everything."""
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    ttft_effective_n: int
    """How many independent requests tell as much of the TTFT p95 as these, of which neighbours are
    alike; the intervals of TTFT are as wide as that asks for."""
    ttfs_p50_ms: float | None
    tpot_p50_ms: float | None
    e2e_p50_ms: float | None
    errors: int
    error_rate: Estimate
    tiers: tuple[TierStatistics, ...]
    seconds: float | None
    """From the first request sent to the last one ended."""
    requests_per_second: float | None
    in_flight_mean: float | None
    """Requests under way at a time, on average."""
    prompt_tokens_p50: float | None
    prompt_tokens_p95: float | None
    cached_token_share: float | None
    """Prompt tokens that the engine took from its cache, of all whose count is known."""
    output_tokens_p50: float | None
    steal_share: float | None
    throttled_share: float | None

    def tier(self, name: str) -> TierStatistics | None:
        """Return the statistics of one tier, or None where it served nobody."""
        return next((item for item in self.tiers if item.tier == name), None)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How many steady requests of a cell ended in one way other than success."""

    arm: str
    step_users: int
    outcome: str
    error_type: str | None
    count: int


def ttft(delays: FloatArray, p: float) -> Estimate:
    """Return a TTFT quantile, rounded, of delays as :func:`reports.load.delays_ms` makes them.

    Args:
        delays: in the order of sending. The interval is as wide as their dependence asks for.
        p: in (0, 1).
    """
    known = delays[~np.isnan(delays)]
    return text.rounded(quantile(known, p, effective_n(known, p)), "ms")


class FirstTokens(NamedTuple):
    """TTFT of some requests, rounded, and how many independent ones tell as much of its p95."""

    p50: Estimate
    p95: Estimate
    effective_n: int


def first_tokens(delays: FloatArray) -> FirstTokens:
    """Return the figures of delays as :func:`ttft` takes them."""
    known = delays[~np.isnan(delays)]
    if not known.size:
        return FirstTokens(NOTHING, NOTHING, 0)
    effective = effective_n(known, 0.95)
    p95 = text.rounded(quantile(known, 0.95, effective), "ms")
    return FirstTokens(ttft(known, 0.5), p95, whole(effective))


def accepted_and_failed(rows: pd.DataFrame) -> tuple[int, int]:
    """Return how many requests count for the error rate and how many of them failed.

    Cancelled ones do not count: the client gave up, and nobody knows how they would have ended.
    """
    outcome = rows["outcome"]
    cancelled = int((outcome == Outcome.CANCELLED).sum())
    succeeded = int((outcome == Outcome.SUCCESS).sum())
    accepted = len(rows) - cancelled
    return accepted, accepted - succeeded


def _cached_share(rows: pd.DataFrame) -> float | None:
    known = rows[rows["cached_tokens"].notna() & rows["prompt_tokens"].notna()]
    tokens = float(known["prompt_tokens"].sum())
    return text.round_share(float(known["cached_tokens"].sum()) / tokens) if tokens > 0 else None


def _in_flight(rows: pd.DataFrame, seconds: float | None) -> float | None:
    """Return how many requests were under way at a time, on average over ``seconds``."""
    if not seconds:
        return None
    spans = (rows["t_end_ns"] - rows["t_send_ns"]).to_numpy(dtype=np.float64)
    return text.round_ms(float(np.nansum(np.maximum(spans, 0.0))) / NS_PER_S / seconds)


def _tiers(cell: Cell, delays: FloatArray, whole_cell: FirstTokens) -> tuple[TierStatistics, ...]:
    tiers = tiers_of(cell.arm, cell.rows)
    found = []
    for tier in Tier:
        inside = (tiers == tier.value).to_numpy(dtype=bool)
        n = int(inside.sum())
        if n:
            share = text.round_share(n / len(cell.rows)) or 0.0
            figures = whole_cell if inside.all() else first_tokens(delays[inside])
            found.append(TierStatistics(tier.value, n, share, *figures))
    return tuple(found)


def cell_statistics(data: RunData, cell: Cell, target_ms: float) -> CellStatistics:
    """Return the statistics of one cell; ``target_ms`` tells which cancelled requests were late."""
    rows = cell.rows
    delays = delays_ms(rows, target_ms)
    figures = first_tokens(delays)
    succeeded = rows[(rows["outcome"] == Outcome.SUCCESS).to_numpy()]
    accepted, failed = accepted_and_failed(rows)
    cancelled = len(rows) - accepted
    # A start that was due and never made is a request that nobody answered.
    dropped = sum(
        block.dropped or 0
        for block in data.manifest.blocks
        if (block.arm, block.step_users) == (cell.arm, cell.step_users)
    )
    accepted, failed = accepted + dropped, failed + dropped
    window = cell.window_ns
    seconds = (window[1] - window[0]) / NS_PER_S if window else None
    host = host_means(data.host, window)

    def middle(column: str) -> float | None:
        return text.round_ms(median(succeeded[column].to_numpy(dtype=np.float64)))

    prompts = succeeded["prompt_tokens"].to_numpy(dtype=np.float64)

    return CellStatistics(
        arm=cell.arm,
        step_users=cell.step_users,
        emulated=data.emulated(cell.arm),
        n=len(rows),
        left_out=cell.left_out,
        cancelled=cancelled,
        no_first_token=int(np.isinf(delays).sum()),
        ttft_p50_ms=figures.p50,
        ttft_p95_ms=figures.p95,
        ttft_effective_n=figures.effective_n,
        ttfs_p50_ms=middle("ttfs_ms"),
        tpot_p50_ms=middle("tpot_ms"),
        e2e_p50_ms=middle("e2e_ms"),
        errors=failed,
        error_rate=text.rounded(proportion(failed, accepted), "share"),
        tiers=_tiers(cell, delays, figures),
        seconds=text.round_ms(seconds),
        requests_per_second=round(len(rows) / seconds, 2) if seconds else None,
        in_flight_mean=_in_flight(rows, seconds),
        prompt_tokens_p50=middle("prompt_tokens"),
        prompt_tokens_p95=text.round_ms(quantile(prompts[~np.isnan(prompts)], 0.95).value),
        cached_token_share=_cached_share(succeeded),
        output_tokens_p50=middle("output_tokens"),
        steal_share=text.round_share(float(host["steal_share"])),
        throttled_share=text.round_share(float(host["throttled_share"])),
    )


def error_counts(cells: Sequence[Cell]) -> list[ErrorCount]:
    """Count the ways in which requests did not succeed, the most frequent of a cell first."""
    found = []
    for cell in cells:
        bad = cell.rows[(cell.rows["outcome"] != Outcome.SUCCESS).to_numpy()]
        kinds = pd.DataFrame(
            {
                "outcome": bad["outcome"].astype(str),
                "error_type": bad["error_type"]
                .astype("object")
                .where(bad["error_type"].notna(), ""),
            }
        )
        for key, size in kinds.value_counts().items():
            outcome, error_type = cast("tuple[str, str]", key)
            found.append(ErrorCount(cell.arm, cell.step_users, outcome, error_type or None, size))
    return found


def availability(cells: Sequence[Cell], arm: str) -> Estimate:
    """Return successes / accepted of an arm over all its steps, cancelled requests excluded."""
    accepted, failed = 0, 0
    for cell in cells:
        if cell.arm == arm:
            more_accepted, more_failed = accepted_and_failed(cell.rows)
            accepted += more_accepted
            failed += more_failed
    return text.rounded(proportion(accepted - failed, accepted), "share")


def short_replies(cells: Sequence[Cell], arm: str, tokens: int) -> Estimate:
    """Return the E2E p50 of replies of up to ``tokens`` with one talker; n=0: not measured."""
    for cell in cells:
        if cell.arm == arm and cell.step_users == 1:
            rows = cell.rows
            short = (rows["outcome"] == Outcome.SUCCESS).to_numpy() & (
                rows["output_tokens"] <= tokens
            ).to_numpy(dtype=bool)
            return text.rounded(quantile(rows["e2e_ms"][short].dropna(), 0.5), "ms")
    return quantile([], 0.5)


def memory_peak_share(host: pd.DataFrame) -> Estimate:
    """Return the highest share of the memory limit in use; n is the number of samples."""
    share = (host["memory_unreclaimable_bytes"] / host["memory_limit_bytes"]).dropna()
    if share.empty:
        return quantile([], 0.5)
    peak = text.round_share(float(share.max()))
    # A maximum of what was seen is that and no estimate: both ends are the value itself.
    return Estimate(peak, peak, peak, len(share))
