"""What a run's phases say: whether they add up, their means, and single requests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from reports import text
from reports.join import Joiner
from reports.load import Cell, RunData, named, tiers_of
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
    backend: str
    """Empty where it was not told."""
    attempts: int
    """Tries at a backend, as the router recorded them; 0 without a router of ours."""
    sent_s: float
    """Seconds from the first request of the steady parts to when this one was sent."""
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


def _elsewhere(rows: pd.DataFrame, accepted: FloatArray) -> tuple[int, int]:
    """Return how many requests were accepted before they were sent or after their first token, and
    of how many that can be told."""
    tolerance = ORDER_TOLERANCE_MS * NS_PER_MS
    sent = rows["t_send_ns"].to_numpy(dtype=np.float64)
    first = rows["t_first_token_ns"].to_numpy(dtype=np.float64)
    stamped = ~np.isnan(accepted) & rows["ttft_ms"].notna().to_numpy()
    outside = (accepted < sent - tolerance) | (accepted > first + tolerance)
    return int((outside & stamped).sum()), int(stamped.sum())


def _other_clocks(data: RunData, joiner: Joiner) -> tuple[str, ...]:
    """Return the arms of which most requests were so accepted: the router's clock is another."""
    counts: dict[str, tuple[int, int]] = {}
    for cell, at in data.slices:
        outside, stamped = _elsewhere(cell.rows, joiner.accepted_ns(at))
        before = counts.get(cell.arm, (0, 0))
        counts[cell.arm] = (before[0] + outside, before[1] + stamped)
    return tuple(arm for arm, (outside, stamped) in counts.items() if 2 * outside > stamped)


def _plain(phases: pd.Series[float]) -> dict[str, float]:
    return {name: text.round_ms(float(phases[name])) or 0.0 for name in PHASES}


def _word(value: object) -> str:
    """Return a word of a record; empty where it has none."""
    return "" if pd.isna(value) else str(value)  # type: ignore[call-overload]


def _request(
    name: str, row: pd.Series[float], phases: pd.Series[float], origin_ns: float
) -> RequestPhases:
    sentence = float(row["ttfs_ms"]) - float(row["ttft_ms"])
    return RequestPhases(
        name=name,
        arm=str(row["arm"]),
        step_users=int(row["step_users"]),
        request_id=str(row["request_id"]),
        tier=str(row["tier"]),
        reason=_word(row["reason"]),
        backend=_word(row["backend"]),
        attempts=int(row["tried"]),
        sent_s=round((float(row["t_send_ns"]) - origin_ns) / NS_PER_S, 1),
        ttft_ms=text.round_ms(float(row["ttft_ms"])) or 0.0,
        first_sentence_ms=text.round_ms(sentence),
        phases_ms=_plain(phases),
    )


@dataclass(frozen=True, slots=True)
class _CellPhases:
    """What the requests of one cell that could be split say, and how well that went."""

    arm: str
    means: list[MeanPhases]
    exemplars: list[RequestPhases]
    slowest: list[RequestPhases]
    split: int
    routed: int
    joined: int
    residuals: FloatArray
    """TTFT less what the router measured, where it measured; ms."""
    errors: FloatArray
    """Sum of the phases less TTFT, those with stamps out of order among them; ms."""
    out_of_order: int
    overtold: int


def _cell_phases(
    cell: Cell, rows: pd.DataFrame, origin_ns: float, elsewhere: tuple[str, ...]
) -> _CellPhases:
    """Split the joined rows of one cell."""
    routed = rows["routed"].to_numpy(dtype=bool)
    residuals = rows["ttft_ms"].to_numpy(dtype=np.float64) - span_ms(
        rows, "accepted_ns", "relayed_ns"
    )
    raw = split(rows[~routed] if cell.arm in elsewhere else rows).dropna()
    in_order = (raw.drop(columns=["late", "wait"]) >= -ORDER_TOLERANCE_MS).all(axis=1).to_numpy()
    positive = raw.clip(lower=0.0)
    sums = positive[list(WITHIN_TTFT)].sum(axis=1)
    kept = rows.loc[raw.index[in_order]]
    kept = kept.assign(tier=named(tiers_of(cell.arm, kept)))
    phases = positive[in_order]
    order = np.argsort(kept["ttft_ms"].to_numpy(dtype=np.float64), kind="stable")

    def request(name: str, at: int) -> RequestPhases:
        return _request(name, kept.iloc[at], phases.iloc[at], origin_ns)

    return _CellPhases(
        arm=cell.arm,
        means=_means(cell, kept, phases),
        exemplars=[
            request(f"p{p * 100:.0f}", int(order[quantile_rank(order.size, p) - 1]))
            for p in EXEMPLARS
            if order.size
        ],
        slowest=[request("", int(at)) for at in order[::-1][:SLOWEST]],
        split=len(kept),
        routed=int(routed.sum()),
        joined=int((routed & rows["joined"].to_numpy(dtype=bool)).sum()),
        residuals=residuals[~np.isnan(residuals)],
        errors=(sums - rows["ttft_ms"].loc[raw.index]).to_numpy(dtype=np.float64),
        out_of_order=int((~in_order).sum()),
        overtold=int((raw["wait"].to_numpy()[in_order] < -SIMULTANEOUS_MS).sum()),
    )


def _means(cell: Cell, rows: pd.DataFrame, phases: pd.DataFrame) -> list[MeanPhases]:
    """Return the mean phases of every tier of a cell."""
    whole = phases.assign(ttft_ms=rows["ttft_ms"])
    found = []
    for tier, group in whole.groupby(rows["tier"], observed=True, sort=True):
        means = group.mean()
        total = text.round_ms(float(means["ttft_ms"])) or 0.0
        who = cell.arm, cell.step_users, str(tier), len(group)
        found.append(MeanPhases(*who, total, _plain(means)))
    return found


def _slowest(items: list[_CellPhases]) -> list[RequestPhases]:
    """Return the requests whose first token came last, the last one first."""
    slow = sorted((each for item in items for each in item.slowest), key=lambda it: -it.ttft_ms)
    return [replace(each, name=str(place)) for place, each in enumerate(slow[:SLOWEST], start=1)]


def _high(values: FloatArray, p: float) -> float | None:
    return text.round_ms(quantile(values, p).value)


def _within(errors: FloatArray) -> Estimate:
    near = int((np.abs(errors) <= BUDGET_MS).sum())
    return text.rounded(proportion(near, len(errors)), "share")


def waterfall(data: RunData, joiner: Joiner, shown_arm: str | None) -> Waterfall:
    """Split the steady requests of a run.

    Args:
        joiner: of the steady requests.
        shown_arm: of whose requests single ones are shown; None: of the first arm that was split.
    """
    elsewhere = _other_clocks(data, joiner)
    origin_ns = float(data.steady["t_send_ns"].min())
    # Cell by cell: the phases of all requests at once would take as much memory as their records.
    items = [_cell_phases(cell, joiner.rows(at), origin_ns, elsewhere) for cell, at in data.slices]
    arms = [item.arm for item in items if item.split]
    shown = shown_arm if shown_arm in arms else next(iter(arms), None)
    mine = [item for item in items if item.arm == shown]
    check = _checked(items, elsewhere)
    return Waterfall(
        check=check,
        means=tuple(mean for item in items for mean in item.means),
        exemplars=tuple(each for item in mine for each in item.exemplars),
        slowest=tuple(_slowest(mine)),
        gaps=tuple(_gaps(check)),
    )


def _checked(items: list[_CellPhases], elsewhere: tuple[str, ...]) -> JoinCheck:
    routed, joined = sum(item.routed for item in items), sum(item.joined for item in items)
    residuals = np.concatenate([item.residuals for item in items])
    errors = np.concatenate([item.errors for item in items])
    return JoinCheck(
        routed=routed,
        joined=joined,
        joined_share=text.round_share(joined / routed) if routed else None,
        split=sum(item.split for item in items),
        out_of_order=sum(item.out_of_order for item in items),
        overtold=sum(item.overtold for item in items),
        residual_p50_ms=_high(residuals, 0.5),
        residual_p99_ms=_high(residuals, 0.99),
        residual_within=_within(residuals),
        sum_error_p99_ms=_high(np.abs(errors), 0.99),
        sum_within=_within(errors),
        other_clock=elsewhere,
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
