"""What a run's phases say: whether they add up, their means, and single requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_MS
from reports import text
from reports.load import RunData, tiers_of
from reports.phases import PHASES, SIMULTANEOUS_MS, WITHIN_TTFT, span_ms, split
from reports.statistics import Estimate, FloatArray, proportion, quantile, quantile_rank

BUDGET_MS = 5.0
"""How far apart a TTFT and the sum of its phases may be."""

ORDER_TOLERANCE_MS = BUDGET_MS
"""Stamps of two processes may be out of order by so much: one that is put off the processor
between writing and reading the clock stamps late."""

SLOWEST = 10
EXEMPLARS = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class MeanPhases:
    """Mean milliseconds of each phase, over the ``n`` split requests of one arm, step and tier.

    Means, since they alone add up; requests without a first token are not in them.
    """

    arm: str
    step_users: int
    tier: str
    n: int
    ttft_mean_ms: float
    phases_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class RequestPhases:
    """The phases of one request: that with the p50, p95 or p99 of its step, or a slow one."""

    name: str
    """``p50``, ``p95``, ``p99``, or the place among the slowest: ``1`` to ``10``."""
    arm: str
    step_users: int
    request_id: str
    tier: str
    reason: str
    ttft_ms: float
    first_sentence_ms: float | None
    """From the first token to the first speakable sentence."""
    phases_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class JoinCheck:
    """How far the independent records of the steady requests agree. Milliseconds and shares.

    ``residual`` is TTFT less what the router measured from accepting a request to handing on its
    first token: both ways on the wire, and the client. ``sum_error`` is the sum of the phases less
    TTFT, where stamps are out of order too. The shares are of the requests with either figure.
    """

    routed: int
    """Requests that our router had."""
    joined: int
    joined_share: float | None
    split: int
    """Requests whose phases are known."""
    out_of_order: int
    """Requests whose stamps contradict each other by over 5 ms; they are not split."""
    overtold: int
    """Requests whose engine told of more time than passed between asking it and its token."""
    residual_p50_ms: float | None
    residual_p99_ms: float | None
    residual_within: Estimate
    sum_error_p99_ms: float | None
    sum_within: Estimate
    other_clock: tuple[str, ...]
    """Arms whose router ran on another clock."""
    budget_ms: float = BUDGET_MS


@dataclass(frozen=True, slots=True)
class Waterfall:
    """What a report shows of the phases."""

    check: JoinCheck
    means: tuple[MeanPhases, ...]
    exemplars: tuple[RequestPhases, ...]
    slowest: tuple[RequestPhases, ...]
    gaps: tuple[str, ...]


def _other_clocks(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return the arms of which most requests were accepted before they were sent, or after their
    first token: the router's clock is another one."""
    stamped = rows[rows["accepted_ns"].notna() & rows["ttft_ms"].notna()]
    tolerance = ORDER_TOLERANCE_MS * NS_PER_MS
    outside = (stamped["accepted_ns"] < stamped["t_send_ns"] - tolerance) | (
        stamped["accepted_ns"] > stamped["t_first_token_ns"] + tolerance
    )
    share = outside.groupby(stamped["arm"].astype(str)).mean()
    return tuple(str(arm) for arm in share[share > 0.5].index)


def _plain(phases: pd.Series[float]) -> dict[str, float]:
    return {name: text.round_ms(float(phases[name])) or 0.0 for name in PHASES}


def _request(name: str, row: pd.Series[float], phases: pd.Series[float]) -> RequestPhases:
    sentence = float(row["ttfs_ms"]) - float(row["ttft_ms"])
    return RequestPhases(
        name=name,
        arm=str(row["arm"]),
        step_users=int(row["step_users"]),
        request_id=str(row["request_id"]),
        tier=str(row["tier"]),
        reason="" if pd.isna(row["reason"]) else str(row["reason"]),
        ttft_ms=text.round_ms(float(row["ttft_ms"])) or 0.0,
        first_sentence_ms=text.round_ms(sentence),
        phases_ms=_plain(phases),
    )


def _exemplars(rows: pd.DataFrame, phases: pd.DataFrame) -> list[RequestPhases]:
    """Return the requests at the p50, p95 and p99 of each step of the rows."""
    found = []
    for _, group in rows.groupby("step_users", sort=True):
        ordered = group.sort_values("ttft_ms", kind="stable")
        for p in EXEMPLARS:
            at = ordered.index[quantile_rank(len(ordered), p) - 1]
            found.append(_request(f"p{p * 100:.0f}", ordered.loc[at], phases.loc[at]))
    return found


def _means(rows: pd.DataFrame, phases: pd.DataFrame, arms: tuple[str, ...]) -> list[MeanPhases]:
    """Return the mean phases of every arm (in the order of ``arms``), step and tier."""
    whole = phases.assign(
        ttft_ms=rows["ttft_ms"],
        arm=rows["arm"].astype(str),
        step_users=rows["step_users"],
        tier=rows["tier"],
    )
    found = []
    for arm in arms:
        mine = whole[whole["arm"] == arm]
        for key, group in mine.groupby(["step_users", "tier"], sort=True):
            step, tier = cast("tuple[int, str]", key)
            means = group[[*PHASES, "ttft_ms"]].mean()
            total = text.round_ms(float(means["ttft_ms"])) or 0.0
            found.append(MeanPhases(arm, step, tier, len(group), total, _plain(means)))
    return found


def _high(values: FloatArray, p: float) -> float | None:
    return text.round_ms(quantile(values, p).value)


def _within(errors: FloatArray) -> Estimate:
    near = int((np.abs(errors) <= BUDGET_MS).sum())
    return text.rounded(proportion(near, len(errors)), "share")


def _tiers(rows: pd.DataFrame) -> pd.Series[str]:
    """Return who served each row, by name."""
    named = [tiers_of(str(arm), group) for arm, group in rows.groupby("arm", observed=True)]
    tiers = pd.concat(named) if named else rows["tier"]
    return tiers.astype("object").fillna("unknown")


def waterfall(data: RunData, joined: pd.DataFrame, shown_arm: str | None) -> Waterfall:
    """Split the steady requests of a run.

    Args:
        joined: all requests, from :func:`reports.join.join`.
        shown_arm: of whose requests single ones are shown; None: of the first arm that was split.
    """
    steady = joined.loc[np.concatenate([cell.rows.index.to_numpy() for cell in data.cells])]
    elsewhere = _other_clocks(steady)
    raw = split(steady[~(steady["arm"].astype(str).isin(elsewhere) & steady["routed"])]).dropna()
    in_order = (raw.drop(columns=["late", "wait"]) >= -ORDER_TOLERANCE_MS).all(axis=1)
    positive = raw.clip(lower=0.0)
    sums = positive[list(WITHIN_TTFT)].sum(axis=1)
    errors = (sums - steady.loc[raw.index, "ttft_ms"]).to_numpy(dtype=np.float64)
    kept, phases = raw[in_order], positive[in_order]
    rows = steady.loc[kept.index].copy()
    rows["tier"] = _tiers(rows)
    through = steady[steady["relayed_ns"].notna() & steady["ttft_ms"].notna()]
    router_ms = span_ms(through, "accepted_ns", "relayed_ns")
    residual = through["ttft_ms"].to_numpy(dtype=np.float64) - router_ms
    routed = int(steady["routed"].sum())
    complete = int((steady["routed"] & steady["joined"]).sum())
    check = JoinCheck(
        routed=routed,
        joined=complete,
        joined_share=text.round_share(complete / routed) if routed else None,
        split=len(kept),
        out_of_order=int(len(raw) - len(kept)),
        overtold=int((kept["wait"] < -SIMULTANEOUS_MS).sum()),
        residual_p50_ms=_high(residual, 0.5),
        residual_p99_ms=_high(residual, 0.99),
        residual_within=_within(residual),
        sum_error_p99_ms=_high(np.abs(errors), 0.99),
        sum_within=_within(errors),
        other_clock=elsewhere,
    )
    arms = [arm for arm in data.arms if (rows["arm"].astype(str) == arm).any()]
    shown = shown_arm if shown_arm in arms else next(iter(arms), None)
    mine = rows[(rows["arm"].astype(str) == shown).to_numpy()]
    slow = mine.nlargest(SLOWEST, "ttft_ms")
    return Waterfall(
        check=check,
        means=tuple(_means(rows, phases, data.arms)),
        exemplars=tuple(_exemplars(mine, phases)),
        slowest=tuple(
            _request(str(place), slow.loc[at], phases.loc[at])
            for place, at in enumerate(slow.index, start=1)
        ),
        gaps=tuple(_gaps(check)),
    )


def _gaps(check: JoinCheck) -> list[str]:
    """Return what the join does not tell, each a sentence."""
    gaps = []
    missing = check.routed - check.joined
    if missing:
        gaps.append(
            f"{text.count(missing, 'request')} of {check.routed} could not be joined with all "
            "records of the router: their time is not split"
        )
    if check.other_clock:
        gaps.append(
            f"the router of {', '.join(check.other_clock)} ran on another clock (another host): "
            "its requests are not split into phases"
        )
    if check.out_of_order:
        gaps.append(
            f"{text.count(check.out_of_order, 'request')} carry stamps that contradict each other "
            f"by over {ORDER_TOLERANCE_MS:g} ms: not split"
        )
    return gaps
