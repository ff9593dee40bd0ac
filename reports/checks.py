"""Every figure that has a target, compared with it."""

from __future__ import annotations

from collections.abc import Sequence

from firsttoken.core.slo import Slo
from reports import tables, verdict
from reports.goodput import Goodput
from reports.load import RunData
from reports.tables import CellStatistics
from reports.verdict import Check


def checks(
    data: RunData, cells: Sequence[CellStatistics], felt: Sequence[Goodput], slo: Slo
) -> list[Check]:
    """Compare every arm, step and tier with its targets; trust is not yet considered.

    Where starts were planned by the clock, what is judged is the wait from the planned start: a
    client that waits for its own earlier replies would hide the queue.
    """
    waits = {(item.arm, item.step_users): item for item in felt if item.felt}
    by_the_clock = {
        (block.arm, block.step_users)
        for block in data.manifest.blocks
        if block.scheduled is not None
    }
    judged = verdict.judged_arm(data.arms)
    last = data.steps[-1]
    minimums = verdict.minimum_samples(slo)
    found = []
    for cell in cells:
        is_judged = cell.arm == judged and cell.step_users == last
        place = (cell.arm, cell.step_users)
        wait = waits.get(place) if place in by_the_clock else None
        compared = [
            ("ttft_p95_ms", cell.ttft_p95_ms, slo.ttft_p95_ms),
            ("error_rate", cell.error_rate, slo.error_rate),
        ]
        if wait is not None:
            compared.append(("ttft_user_p95_ms", wait.user_ttft_p95_ms, slo.ttft_p95_ms))
        for name, estimate, target in compared:
            found.append(
                verdict.check(
                    name,
                    estimate,
                    target,
                    minimum=minimums[name],
                    arm=cell.arm,
                    step_users=cell.step_users,
                    judged=is_judged and not (name == "ttft_p95_ms" and wait is not None),
                )
            )
        found += [
            verdict.check(
                "ttft_p95_ms",
                tier.ttft_p95_ms,
                slo.ttft_p95_ms,
                minimum=minimums["ttft_p95_ms"],
                arm=cell.arm,
                step_users=cell.step_users,
                tier=tier.tier,
            )
            for tier in cell.tiers
        ]
    for arm in data.arms:
        short = tables.short_replies(data.cells, arm, slo.short_reply_tokens)
        if short.n:
            found.append(
                verdict.check(
                    "short_reply_p50_ms",
                    short,
                    slo.short_reply_p50_ms,
                    minimum=minimums["short_reply_p50_ms"],
                    arm=arm,
                    step_users=1,
                )
            )
        found.append(
            verdict.check(
                "availability",
                tables.availability(data.cells, arm),
                slo.availability,
                minimum=minimums["availability"],
                arm=arm,
                step_users=None,
            )
        )
    memory = tables.memory_peak_share(data.host)
    if memory.n and judged is not None:
        # The machine is one for all arms: its memory stands under the judged one.
        found.append(
            verdict.check(
                "memory_share",
                memory,
                slo.memory_share,
                minimum=minimums["memory_share"],
                arm=judged,
                step_users=None,
            )
        )
    return found
