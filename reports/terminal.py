"""The report for a terminal: at most 100 columns, the same with and without colours."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from firsttoken.core.words import Tier
from reports import text
from reports.answers import LEVEL_COLUMNS, level_rows
from reports.build import Report
from reports.heard import HeardStatistics
from reports.tables import CellStatistics

WIDTH = 100

COLUMNS = (
    "arm",
    "users",
    "n",
    "TTFT p50",
    "p95",
    "95 % interval",
    "TTFS",
    "TPOT",
    "E2E",
    "errors",
    "loc/rem/cache",
)


HEARD_COLUMNS = (
    "arm",
    "users",
    "turns",
    "TTFS p50",
    "p95",
    "95 % interval",
    "TTFSC p50",
    "p95",
    "stutter",
    "hops",
    "failures",
    "ended",
)


def shares(cell: CellStatistics) -> str:
    """Return the shares of local, remote and cache in whole percent, such as ``80/15/5``."""
    by_tier = [cell.tier(tier) for tier in (Tier.LOCAL, Tier.REMOTE, Tier.CACHE)]
    if not any(by_tier):
        return text.MISSING
    return "/".join(f"{(item.share if item else 0.0) * 100:.0f}" for item in by_tier)


def join_words(report: Report) -> str:
    """Return how many requests were joined with the router's records, and how well their clocks
    agree, in one sentence; empty where no router of ours had any."""
    check = report.details.waterfall.check
    if not check.routed:
        return ""
    joined = (
        f"joined {check.joined} of {check.routed} requests with the router's records "
        f"({text.quantity(check.joined_share, 'share')})"
    )
    if not check.residual_within.n:
        return joined
    return (
        f"{joined}; phases sum to TTFT within {check.budget_ms:g} ms for "
        f"{text.quantity(check.sum_within.value, 'share')}; outside the router p50 "
        f"{text.quantity(check.residual_p50_ms, 'ms')}, "
        f"p99 {text.quantity(check.residual_p99_ms, 'ms')}"
    )


def goodput_words(report: Report) -> str:
    """Return the goodput of each arm at the largest step, in one line; empty without requests."""
    found = [item for item in report.details.goodput if item.step_users == report.judged_step]
    if not found:
        return ""
    shown = ", ".join(f"{item.arm} {text.quantity(item.share.value, 'share')}" for item in found)
    return f"goodput at {text.users(report.judged_step)} (first token in time, no error): {shown}"


def cell_row(cell: CellStatistics) -> list[str]:
    """Return one line of the table, a text a column of :data:`COLUMNS`."""
    p95 = cell.ttft_p95_ms
    return [
        f"{cell.arm}*" if cell.emulated else cell.arm,
        str(cell.step_users),
        str(cell.n),
        text.number(cell.ttft_p50_ms.value, "ms"),
        text.number(p95.value, "ms"),
        text.interval(p95.ci_low, p95.ci_high, "ms"),
        text.number(cell.ttfs_p50_ms, "ms"),
        text.number(cell.tpot_p50_ms, "ms"),
        text.number(cell.e2e_p50_ms, "ms"),
        text.quantity(cell.error_rate.value, "share"),
        shares(cell),
    ]


def heard_row(item: HeardStatistics) -> list[str]:
    """Return what was heard in one cell, a text a column of :data:`HEARD_COLUMNS`."""
    p95 = item.ttfs_p95_ms
    return [
        f"{item.arm}*" if item.emulated else item.arm,
        str(item.step_users),
        str(item.turns),
        text.number(item.ttfs_p50_ms.value, "ms"),
        text.number(p95.value, "ms"),
        text.interval(p95.ci_low, p95.ci_high, "ms"),
        text.number(item.ttfsc_p50_ms.value, "ms"),
        text.number(item.ttfsc_p95_ms.value, "ms"),
        text.quantity(item.stuttering.value, "share"),
        text.MISSING if item.requests_per_turn is None else f"{item.requests_per_turn:.2f}",
        text.quantity(item.spoken_failure_rate.value, "share"),
        text.MISSING if item.finished is None else str(item.finished),
    ]


def _heard(report: Report) -> list[str]:
    """Return the table of what was heard, by the turn; nothing where no record tells it."""
    found = report.details.heard
    if not found:
        return []
    return [
        *_aligned([HEARD_COLUMNS, *map(heard_row, found)]),
        *_wrapped(
            "ms, from the first request of a turn to the first sentence and the first speakable "
            "character; stutter: replies that fell silent; hops: requests a turn; failures: turns "
            "that nobody answered but the router itself; ended: replies that broke off, their last "
            "sentence ended by the router, which count as answered"
        ),
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, the first to the left, the rest to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        " ".join(
            item.ljust(width) if at == 0 else item.rjust(width)
            for at, (item, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def line(report: Report, run_dir: Path) -> str:
    """Return one of several runs: verdict, folder, and why."""
    return f"{report.verdict:<12} {run_dir}: {report.reasons[-1]}"


def table(report: Report) -> str:
    """Return the table of every arm and step, what a reader must know, and the verdict last."""
    measured = [cell for cell in report.cells if cell.n]
    found = report.answers.capacity
    if found is None:
        lines = _aligned([COLUMNS, *(cell_row(cell) for cell in measured)])
        lines.append("ms; TTFS, TPOT and E2E are medians of successful requests; shares in percent")
        lines += _heard(report)
    else:
        lines = _aligned([LEVEL_COLUMNS, *level_rows(found)])
    if any(cell.emulated for cell in measured):
        lines.append(
            "* emulated cloud: remote times are drawn at random, not those of a real provider"
        )
    for line in (goodput_words(report), join_words(report)):
        lines += _wrapped(line)
    for note in (*report.data.manifest.notes, *report.gaps):
        lines += _wrapped(f"note: {note}")
    for item in report.calibration:
        mark = "within" if item.trusted else "beyond"
        budget = text.MISSING if item.budget_p99_ms is None else f"{item.budget_p99_ms:g} ms"
        lines.append(
            f"clock error at {text.users(item.users)} {item.when}: p50 {item.error_p50_ms:.2f} ms, "
            f"p99 {item.error_p99_ms:.2f} ms, {mark} the budget of {budget}"
        )
    lines.append("")
    for line in (*report.answers.lines, *report.reasons):
        lines += _wrapped(line)
    return "\n".join(lines)
