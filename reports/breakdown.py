"""First tokens by what explains them: the reason of the route, failed attempts, prefix cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.words import Tier
from reports import text
from reports.join import Joiner
from reports.load import UNKNOWN, Cell, RunData, delays_ms, named, tiers_of
from reports.statistics import Estimate, proportion, quantile
from reports.tables import accepted_and_failed, ttft

WARMTH: tuple[str, ...] = ("cold", "partly", "warm", "unknown")
"""Share of the prompt that the engine took from its prefix cache: under 10 %, between, 90 % and
over, not told."""
COLD_BELOW, WARM_FROM = 0.1, 0.9

PROMPT_BANDS: tuple[tuple[str, float], ...] = (
    ("up to 128", 128),
    ("129 to 512", 512),
    ("513 to 2048", 2048),
    ("over 2048", np.inf),
)
"""Names of the bands of prompt length and the most tokens of each."""


@dataclass(frozen=True, slots=True)
class ReasonStatistics:
    """First tokens of one cell that one tier served for one reason."""

    arm: str
    step_users: int
    tier: str
    reason: str
    n: int
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    errors: int
    error_rate: Estimate


@dataclass(frozen=True, slots=True)
class FallbackTax:
    """What attempts that failed, or were overtaken, cost the requests of one cell before the
    winning one began. ``share`` is of the requests that an attempt served."""

    arm: str
    step_users: int
    n: int
    """Requests that lost time so."""
    share: Estimate
    lost_p50_ms: Estimate
    lost_p95_ms: Estimate


@dataclass(frozen=True, slots=True)
class PrefixStatistics:
    """First tokens of one cell by how much of the prompt was in the engine's cache, and by length
    of the prompt."""

    arm: str
    step_users: int
    warmth: str
    prompt_tokens: str
    n: int
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate


def reasons(data: RunData, target_ms: float) -> list[ReasonStatistics]:
    """Return first tokens by tier and reason, of cells whose requests carry a reason."""
    found = []
    for cell in data.cells:
        rows = cell.rows
        if rows["reason"].isna().all():
            continue
        delays = pd.Series(delays_ms(rows, target_ms), rows.index)
        keys = [named(tiers_of(cell.arm, rows)), named(rows["reason"])]
        for (tier, reason), group in rows.groupby(keys, sort=True, observed=True):
            mine = delays[group.index].to_numpy()
            accepted, failed = accepted_and_failed(group)
            found.append(
                ReasonStatistics(
                    cell.arm,
                    cell.step_users,
                    str(tier),
                    str(reason),
                    len(group),
                    ttft(mine, 0.5),
                    ttft(mine, 0.95),
                    failed,
                    text.rounded(proportion(failed, accepted), "share"),
                )
            )
    return found


def fallback_tax(data: RunData, joiner: Joiner) -> list[FallbackTax]:
    """Return the fallback tax of every cell that attempts served."""
    found = []
    for cell, at in data.slices:
        rows = joiner.rows(at)
        served = rows[rows["won_started_ns"].notna()]
        if served.empty:
            continue
        lost = served[served["lost"].to_numpy(dtype=bool)]
        taxes = ((lost["won_started_ns"] - lost["began_ns"]) / NS_PER_MS).to_numpy(dtype=float)
        found.append(
            FallbackTax(
                cell.arm,
                cell.step_users,
                len(lost),
                text.rounded(proportion(len(lost), len(served)), "share"),
                text.rounded(quantile(taxes, 0.5), "ms"),
                text.rounded(quantile(taxes, 0.95), "ms"),
            )
        )
    return found


def _select(
    kinds: Sequence[npt.NDArray[np.bool_]], names: Sequence[str], index: pd.Index
) -> pd.Series[str]:
    """Return for each row the name of the first of ``kinds`` that holds, else the last name."""
    codes = np.select(kinds, range(len(kinds)), len(kinds)).astype(np.int8)
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(names)), index=index)


def warmth(prompt_tokens: pd.Series[float], cached_tokens: pd.Series[float]) -> pd.Series[str]:
    """Return how warm the engine's prefix cache was for each prompt: one of :data:`WARMTH`."""
    share = (cached_tokens / prompt_tokens.where(prompt_tokens > 0)).to_numpy(dtype=np.float64)
    kinds = [np.isnan(share), share < COLD_BELOW, share < WARM_FROM]
    return _select(kinds, ("unknown", "cold", "partly", "warm"), prompt_tokens.index)


def prompt_band(prompt_tokens: pd.Series[float]) -> pd.Series[str]:
    """Return the band of :data:`PROMPT_BANDS` of each prompt."""
    tokens = prompt_tokens.to_numpy(dtype=np.float64)
    kinds = [np.isnan(tokens), *(tokens <= most for _, most in PROMPT_BANDS)]
    # Nothing is over the last band.
    return _select(kinds[:-1], (UNKNOWN, *(name for name, _ in PROMPT_BANDS)), prompt_tokens.index)


def _prefix(cell: Cell, target_ms: float) -> list[PrefixStatistics]:
    tiers = tiers_of(cell.arm, cell.rows)
    # What our own caches served never reached an engine's.
    rows = cell.rows[(tiers != Tier.CACHE).to_numpy(dtype=bool)]
    delays = pd.Series(delays_ms(rows, target_ms), rows.index)
    warm = warmth(rows["prompt_tokens"], rows["cached_tokens"])
    bands = prompt_band(rows["prompt_tokens"])
    found = []
    for name in WARMTH:
        for band in (*(band for band, _ in PROMPT_BANDS), UNKNOWN):
            mine = delays[((warm == name) & (bands == band)).to_numpy()].to_numpy()
            if mine.size:
                figures = ttft(mine, 0.5), ttft(mine, 0.95)
                found.append(
                    PrefixStatistics(cell.arm, cell.step_users, name, band, mine.size, *figures)
                )
    return found


def prefix_cache(data: RunData, target_ms: float) -> list[PrefixStatistics]:
    """Return first tokens by warmth of the prefix cache and length of the prompt, every cell."""
    return [item for cell in data.cells for item in _prefix(cell, target_ms)]
