"""The deployment guide's five rows, expected beside measured.

The guide's own column of improvements does not follow from its ranges; the change shown here is
computed from what was measured: the hybrid arm against the remote one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firsttoken.core.slo import GuideRow as Expected
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm, Outcome, Tier, Verdict
from reports import tables, text
from reports.load import RunData, tiers_of
from reports.tables import CellStatistics
from reports.verdict import Check

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class GuideRow:
    """One row. ``values`` holds the figure behind ``measured``, by arm; None: not measured."""

    key: str
    name: str
    guide_remote: str
    guide_local: str
    values: dict[str, float | None]
    measured: dict[str, str]
    change: str
    """The hybrid arm against the remote one, measured."""
    note: str


def _change(values: dict[str, float | None]) -> str:
    """Return the relative change from the remote to the hybrid arm, such as ``-85.0 %``."""
    remote, hybrid = values.get(Arm.REMOTE_ONLY), values.get(Arm.HYBRID)
    if remote is None or hybrid is None or remote <= 0:
        return text.MISSING
    share = text.round_share(hybrid / remote - 1) or 0.0
    return f"{share * 100:+.2f} %"


def _finite(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else value


def _span(span: tuple[float, float], unit: str) -> str:
    """Return one of the guide's ranges in its unit."""
    low, high = span
    if unit == "share":
        low, high = round(low * 100, 4), round(high * 100, 4)
    plain = f"{low:g}" if low == high else f"{low:g}–{high:g}"
    if unit == "usd_per_1k_tokens":
        return f"${plain} / 1K tokens" if high else "no fee"
    return f"{plain} {'%' if unit == 'share' else unit}"


def _row(
    key: str,
    name: str,
    expected: Expected,
    *,
    values: dict[str, float | None],
    measured: dict[str, str],
    note: str,
    change: str | None = None,
) -> GuideRow:
    return GuideRow(
        key=key,
        name=name,
        guide_remote=_span(expected.remote, expected.unit),
        guide_local=_span(expected.local, expected.unit),
        values=values,
        measured=measured,
        change=_change(values) if change is None else change,
        note=note,
    )


def _first_token(
    arms: Sequence[str], cells: Sequence[CellStatistics], last: int, expected: Expected
) -> GuideRow:
    values: dict[str, float | None] = {}
    measured = {}
    for arm in arms:
        cell = next(item for item in cells if item.arm == arm and item.step_users == last)
        values[arm] = _finite(cell.ttft_p50_ms.value)
        measured[arm] = (
            f"p50 {text.number(cell.ttft_p50_ms.value, 'ms')}, "
            f"p95 {text.quantity(cell.ttft_p95_ms.value, 'ms')}, n={cell.ttft_p50_ms.n}"
            if cell.ttft_p50_ms.n
            else f"{NOT_MEASURED}, n=0"
        )
    note = f"at {text.users(last)}; the change is that of p50"
    return _row("first_token", "First token", expected, values=values, measured=measured, note=note)


def _total_response(data: RunData, tokens: int, expected: Expected) -> GuideRow:
    estimates = {arm: tables.short_replies(data.cells, arm, tokens) for arm in data.arms}
    values = {arm: _finite(estimate.value) for arm, estimate in estimates.items()}
    measured = {
        arm: f"p50 {text.quantity(estimate.value, 'ms')}, n={estimate.n}"
        if estimate.n
        else NOT_MEASURED
        for arm, estimate in estimates.items()
    }
    note = f"of short replies (up to {tokens} tokens) with one talker"
    if 1 not in data.steps:
        note += "; needs a step with 1 user"
    return _row(
        "total_response", "Total response", expected, values=values, measured=measured, note=note
    )


def _concurrency(data: RunData, checks: Sequence[Check], expected: Expected) -> GuideRow:
    values: dict[str, float | None] = {}
    measured = {}
    for arm in data.arms:
        mine = [
            item
            for item in checks
            if item.arm == arm and item.tier is None and item.name in ("ttft_p95_ms", "error_rate")
        ]
        by_step = {
            step: [item.verdict for item in mine if item.step_users == step] for step in data.steps
        }
        passed = [step for step, found in by_step.items() if set(found) == {Verdict.PASS}]
        open_ = [step for step, found in by_step.items() if Verdict.FAIL not in found]
        values[arm] = float(max(passed)) if passed else None
        if passed:
            measured[arm] = text.users(max(passed))
        elif open_:
            measured[arm] = "not shown at any step"
        else:
            measured[arm] = f"fewer than {text.users(data.steps[0])}"
        unsure = [step for step in open_ if step > max(passed, default=0)]
        if passed and unsure:
            measured[arm] += f" (not shown: {', '.join(map(str, unsure))})"
    note = "largest step whose TTFT p95 and error rate PASS; no think time"
    return _row("concurrency", "Concurrency", expected, values=values, measured=measured, note=note)


def _availability(checks: Sequence[Check], minimum_n: int, expected: Expected) -> GuideRow:
    values: dict[str, float | None] = {}
    measured = {}
    for item in checks:
        if item.name == "availability":
            values[item.arm] = item.value
            range_ = text.measured(item.value, item.ci_low, item.ci_high, "share")
            measured[item.arm] = f"{range_}, n={item.n}, {item.verdict}"
    remote, hybrid = values.get(Arm.REMOTE_ONLY), values.get(Arm.HYBRID)
    change = text.MISSING
    if remote is not None and hybrid is not None:
        change = f"{(hybrid - remote) * 100:+.2f} points"
    note = f"successes / accepted, all steps; {minimum_n} requests needed"
    return _row(
        "availability",
        "Availability",
        expected,
        values=values,
        measured=measured,
        note=note,
        change=change,
    )


def _remote_token_share(data: RunData, arm: str) -> float | None:
    """Return the share of tokens, read and written, that the remote tier charged for.

    Counted in requests where the servers did not tell all token counts; None where the tier of a
    request is not known.
    """
    charged, total = 0.0, 0.0
    for cell in data.cells:
        if cell.arm != arm:
            continue
        rows = cell.rows[(cell.rows["outcome"] == Outcome.SUCCESS).to_numpy()]
        tiers = tiers_of(arm, rows)
        if tiers.isna().any():
            return None
        tokens = rows["prompt_tokens"] + rows["output_tokens"]
        weights = tokens.to_numpy(dtype=float) if tokens.notna().all() else np.ones(len(rows))
        total += float(weights.sum())
        charged += float(weights[(tiers == Tier.REMOTE.value).to_numpy()].sum())
    return charged / total if total else None


def _cost(data: RunData, expected: Expected) -> GuideRow:
    price = expected.remote[1]
    shares = {arm: _remote_token_share(data, arm) for arm in data.arms}
    values = {
        arm: None if share is None else round(share * price, 6) for arm, share in shares.items()
    }
    measured = {
        arm: "tier not known" if value is None else f"${value:.6f} / 1K tokens"
        for arm, value in values.items()
    }
    note = f"computed: remote tokens at the guide's ${price:g} / 1K; electricity not counted"
    return _row("cost", "Cost", expected, values=values, measured=measured, note=note)


def guide_rows(
    data: RunData, cells: Sequence[CellStatistics], checks: Sequence[Check], slo: Slo
) -> list[GuideRow]:
    """Return the five rows in the guide's order."""
    expected = slo.expected
    return [
        _first_token(data.arms, cells, data.steps[-1], expected.first_token),
        _total_response(data, slo.short_reply_tokens, expected.total_response),
        _concurrency(data, checks, expected.concurrency),
        _availability(checks, slo.minimum_samples.availability, expected.availability),
        _cost(data, expected.cost),
    ]
