"""Builds the report of a run: everything a page, a table or a program shows of it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from firsttoken.core.records import Calibration
from firsttoken.core.slo import Slo
from firsttoken.core.words import Verdict
from reports import load, tables, verdict
from reports.attribution import Attribution, attributions
from reports.guide import GuideRow, guide_rows
from reports.load import RunData
from reports.tables import CellStatistics, ErrorCount
from reports.verdict import Check

REPORT_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """A calibration as reported, against the budget of the targets at hand."""

    users: int
    when: str
    requests: int
    error_p50_ms: float
    error_p99_ms: float
    error_max_ms: float
    budget_p99_ms: float | None
    cpu_us_per_token: float
    trusted: bool


@dataclass(frozen=True, slots=True)
class HostSummary:
    """Means over the whole run: cores by component, and the highest share of memory in use."""

    samples: int
    engine_cpu: float | None
    router_cpu: float | None
    generator_cpu: float | None
    host_cpu: float | None
    steal_share: float | None
    throttled_share: float | None
    memory_peak_share: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """A run's verdict with all that it rests on. Every figure is rounded as it is shown."""

    data: RunData = field(repr=False)
    verdict: Verdict
    reasons: tuple[str, ...]
    """One line each, the deciding one last."""
    judged_arm: str | None
    judged_step: int
    checks: tuple[Check, ...]
    guide: tuple[GuideRow, ...]
    cells: tuple[CellStatistics, ...]
    errors: tuple[ErrorCount, ...]
    attributions: tuple[Attribution, ...]
    calibration: tuple[CalibrationResult, ...]
    host: HostSummary
    gaps: tuple[str, ...]
    minimums: dict[str, int]
    """By check, the requests it takes before anything is claimed."""
    ttft_target_ms: float
    ttft_band_ms: tuple[float, float]
    """The guide's range of the local first token."""

    @property
    def emulated_arms(self) -> tuple[str, ...]:
        """The arms whose remote side was an emulated cloud."""
        return tuple(arm for arm in self.data.arms if self.data.emulated(arm))

    def cell(self, arm: str, step_users: int) -> CellStatistics:
        """Return the statistics of one cell."""
        return next(
            item for item in self.cells if item.arm == arm and item.step_users == step_users
        )

    def as_dict(self) -> dict[str, Any]:
        """Return ``report.json``: no NaN, no infinity (null: not measured, or never reached)."""
        manifest = self.data.manifest
        whole = {
            "schema_version": REPORT_SCHEMA_VERSION,
            "verdict": self.verdict,
            "reasons": self.reasons,
            "judged_arm": self.judged_arm,
            "judged_step_users": self.judged_step,
            "checks": [asdict(item) for item in self.checks],
            "guide": [asdict(item) for item in self.guide],
            "cells": [asdict(item) for item in self.cells],
            "errors": [asdict(item) for item in self.errors],
            "attributions": [asdict(item) for item in self.attributions],
            "calibration": [asdict(item) for item in self.calibration],
            "host_usage": asdict(self.host),
            "gaps": self.gaps,
            "targets": {
                "ttft_p95_ms": self.ttft_target_ms,
                "guide_local_first_token_ms": self.ttft_band_ms,
                "minimum_samples": self.minimums,
            },
            "run": {
                "run_id": manifest.run_id,
                "scenario": manifest.scenario,
                "started": manifest.anchor.isoformat(),
                "finished": manifest.finished,
                "arms": [asdict(arm) for arm in manifest.arms],
                "steps": manifest.steps,
                "step_seconds": manifest.step_seconds,
                "seed": manifest.seed,
                "command": manifest.command,
                "host": manifest.host,
                "versions": manifest.versions,
                "git_sha": manifest.git_sha,
                "settings_hash": manifest.settings_hash,
                "notes": manifest.notes,
            },
        }
        plain = _plain(whole)
        assert isinstance(plain, dict)  # noqa: S101 - narrows the type, cannot fail
        return plain


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _checks(data: RunData, cells: tuple[CellStatistics, ...], slo: Slo) -> list[Check]:
    """Compare every arm, step and tier with its targets; trust is not yet considered."""
    judged = verdict.judged_arm(data.arms)
    last = data.steps[-1]
    minimums = verdict.minimum_samples(slo)
    checks = []
    for cell in cells:
        is_judged = cell.arm == judged and cell.step_users == last
        for name, estimate, target in (
            ("ttft_p95_ms", cell.ttft_p95_ms, slo.ttft_p95_ms),
            ("error_rate", cell.error_rate, slo.error_rate),
        ):
            checks.append(
                verdict.check(
                    name,
                    estimate,
                    target,
                    minimum=minimums[name],
                    arm=cell.arm,
                    step_users=cell.step_users,
                    judged=is_judged,
                )
            )
        checks += [
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
            checks.append(
                verdict.check(
                    "short_reply_p50_ms",
                    short,
                    slo.short_reply_p50_ms,
                    minimum=minimums["short_reply_p50_ms"],
                    arm=arm,
                    step_users=1,
                )
            )
        checks.append(
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
        checks.append(
            verdict.check(
                "memory_share",
                memory,
                slo.memory_share,
                minimum=minimums["memory_share"],
                arm=judged,
                step_users=None,
            )
        )
    return checks


def _faults(
    data: RunData, cells: tuple[CellStatistics, ...], slo: Slo
) -> dict[tuple[str, int], list[str]]:
    """Return by arm and step why its figures cannot be trusted."""
    by_step = {
        step: verdict.calibration_faults(data.manifest.calibration, step, slo)
        for step in data.steps
    }
    return {
        (cell.arm, cell.step_users): by_step[cell.step_users]
        + verdict.host_faults(cell.steal_share, cell.throttled_share, cell.step_users)
        for cell in cells
    }


def _settled(
    checks: list[Check], faults: dict[tuple[str, int], list[str]], last: int, *, finished: bool
) -> list[Check]:
    """Return the checks with trust and an early end considered; pooled ones by the last step."""
    settled = []
    for item in checks:
        step = last if item.step_users is None else item.step_users
        settled += verdict.settle([item], faults.get((item.arm, step), []), finished=finished)
    return settled


def _calibration(items: list[Calibration], slo: Slo) -> list[CalibrationResult]:
    results = []
    for item in items:
        budget = slo.calibration_p99_ms(item.users)
        trusted = budget is not None and item.requests > 0 and item.error_p99_ms <= budget
        results.append(
            CalibrationResult(
                users=item.users,
                when=item.when,
                requests=item.requests,
                error_p50_ms=round(item.error_p50_ms, 2),
                error_p99_ms=round(item.error_p99_ms, 2),
                error_max_ms=round(item.error_max_ms, 2),
                budget_p99_ms=budget,
                cpu_us_per_token=round(item.cpu_us_per_token, 1),
                trusted=trusted,
            )
        )
    return results


def _host(data: RunData) -> HostSummary:
    means = data.host.mean()

    def cores(name: str) -> float | None:
        value = float(means[name])
        return None if math.isnan(value) else round(value, 2)

    def share(name: str) -> float | None:
        value = float(means[name])
        return None if math.isnan(value) else round(value, 4)

    return HostSummary(
        samples=len(data.host),
        engine_cpu=cores("engine_cpu"),
        router_cpu=cores("router_cpu"),
        generator_cpu=cores("generator_cpu"),
        host_cpu=cores("host_cpu"),
        steal_share=share("steal_share"),
        throttled_share=share("throttled_share"),
        memory_peak_share=tables.memory_peak_share(data.host).value,
    )


def report(run_dir: Path, slo: Slo) -> Report:
    """Build the report of the run in ``run_dir``, judged against ``slo``.

    Parts of a run that was killed are first turned into tables.

    Raises:
        UserError: no run there, no request in it, or records that cannot be read.
    """
    data = load.read(run_dir)
    cells = tuple(tables.cell_statistics(data, cell, slo.ttft_p95_ms) for cell in data.cells)
    last = data.steps[-1]
    judged = verdict.judged_arm(data.arms)
    faults = _faults(data, cells, slo)
    checks = _settled(_checks(data, cells, slo), faults, last, finished=data.manifest.finished)
    why = faults.get((judged, last), []) if judged is not None else []
    minimums = verdict.minimum_samples(slo)
    result, reasons = verdict.conclude(checks, why, minimums)
    return Report(
        data=data,
        verdict=result,
        reasons=tuple(reasons),
        judged_arm=judged,
        judged_step=last,
        checks=tuple(checks),
        guide=tuple(guide_rows(data, cells, checks, slo)),
        cells=cells,
        errors=tuple(tables.error_counts(data.cells)),
        attributions=tuple(attributions(data)),
        calibration=tuple(_calibration(data.manifest.calibration, slo)),
        host=_host(data),
        gaps=data.gaps,
        minimums=minimums,
        ttft_target_ms=slo.ttft_p95_ms,
        ttft_band_ms=slo.expected.first_token.local,
    )
