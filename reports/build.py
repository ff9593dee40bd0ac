"""Builds the report of a run: everything a page, a table or a program shows of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from firsttoken.core.records import Calibration
from firsttoken.core.slo import Slo
from firsttoken.core.words import Verdict
from reports import answers as answers_room
from reports import load, side_by_side, tables, trust, verdict
from reports.answers import Answers
from reports.checks import checks as all_checks
from reports.details import Details, details
from reports.files import plain
from reports.generators import lost_generators, short_handed
from reports.guide import GuideRow, guide_rows
from reports.load import RunData
from reports.tables import CellStatistics, ErrorCount
from reports.trust import Usage
from reports.unmeasured import unmeasured
from reports.verdict import MAX_STEAL_SHARE, MAX_THROTTLED_SHARE, Check

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
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    """Of the delivery alone: from the server's write to the client's stamp."""
    generator_cpu: float | None
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
    cpu_pressure_some: float | None
    """Share of the time in which some task waited for a core."""
    foreign_cpu: float | None
    """Cores that programs used which have nothing to do with the run."""
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
    details: Details
    answers: Answers
    """What the run answers beside its checks; most runs answer nothing."""
    calibration: tuple[CalibrationResult, ...]
    host: HostSummary
    gaps: tuple[str, ...]
    not_measured: tuple[str, ...]
    """What the run leaves open, each a sentence."""
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
            **self.details.as_dict(),
            **self.answers.as_dict(),
            "calibration": [asdict(item) for item in self.calibration],
            "host_usage": asdict(self.host),
            "gaps": self.gaps,
            "not_measured": self.not_measured,
            "targets": {
                "ttft_p95_ms": self.ttft_target_ms,
                "guide_local_first_token_ms": self.ttft_band_ms,
                "minimum_samples": self.minimums,
                "max_steal_share": MAX_STEAL_SHARE,
                "max_throttled_share": MAX_THROTTLED_SHARE,
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
                "workers": [asdict(worker) for worker in manifest.workers],
            },
        }
        return dict(plain(whole))


def _faults(
    data: RunData,
    cells: tuple[CellStatistics, ...],
    usage: Mapping[tuple[str, int], Usage],
    slo: Slo,
) -> dict[tuple[str, int], list[str]]:
    """Return by arm and step why its figures cannot be trusted."""
    by_step = {
        step: verdict.calibration_faults(data.manifest.calibration, step, slo)
        for step in data.steps
    }
    return {
        (cell.arm, cell.step_users): [
            *by_step[cell.step_users],
            *verdict.host_faults(cell.steal_share, cell.throttled_share, cell.step_users),
            *trust.generator_faults(
                trust.blocks_of(data.manifest, cell.arm, cell.step_users), cell.step_users
            ),
            *trust.foreign_faults(usage[cell.arm, cell.step_users], cell.step_users),
            *trust.sharing_faults(usage[cell.arm, cell.step_users], cell.step_users),
        ]
        for cell in cells
    }


def _settled(
    checks: list[Check], faults: dict[tuple[str, int], list[str]], data: RunData
) -> list[Check]:
    """Return the checks with trust, an early end, lost load generators, saturation and records that
    cannot be right considered; of pooled ones the trust is that of the last step."""
    manifest, last = data.manifest, data.steps[-1]
    short = {*short_handed(manifest), *trust.saturated(manifest)}
    settled = []
    for item in checks:
        step = last if item.step_users is None else item.step_users
        mine = [users for arm, users in short if arm == item.arm]
        whole = not mine if item.step_users is None else step not in mine
        finished = manifest.finished and whole and not data.doubts
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
                lag_p50_ms=None if item.lag_p50_ms is None else round(item.lag_p50_ms, 2),
                lag_p99_ms=None if item.lag_p99_ms is None else round(item.lag_p99_ms, 2),
                generator_cpu=None if item.generator_cpu is None else round(item.generator_cpu, 3),
                trusted=trusted,
            )
        )
    return results


def _host(data: RunData) -> HostSummary:
    means = data.host.mean(numeric_only=True)

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
        cpu_pressure_some=share("cpu_pressure_some"),
        foreign_cpu=cores("foreign_cpu"),
        memory_peak_share=tables.memory_peak_share(data.host).value,
    )


def report(run_dir: Path, slo: Slo) -> Report:
    """Build the report of the run in ``run_dir``, judged against ``slo``.

    Parts of a run that was killed are first turned into tables.

    Raises:
        UserError: no run there, no request in it, or records that cannot be read.
    """
    data = load.read(run_dir)
    each = [partial(tables.cell_statistics, data, cell, slo.ttft_p95_ms) for cell in data.cells]
    cells = tuple(side_by_side.run(each, rows=len(data.requests)))
    last = data.steps[-1]
    judged = verdict.judged_arm(data.arms)
    usage = trust.usages(data)
    faults = _faults(data, cells, usage, slo)
    behind = details(data, slo.ttft_p95_ms, judged)
    checks = _settled(all_checks(data, cells, behind.goodput, slo), faults, data)
    why = faults.get((judged, last), []) if judged is not None else []
    minimums = verdict.minimum_samples(slo)
    answered = answers_room.answers(data, slo.ttft_p95_ms)
    if answered.capacity is None:
        result, reasons = verdict.conclude(checks, why, minimums)
        if short_handed(data.manifest):
            lost = lost_generators(data.manifest)
            reasons = [*(f"{Verdict.INCONCLUSIVE}: {each}" for each in lost), *reasons]
        reasons = [*(f"{Verdict.INCONCLUSIVE}: {each}" for each in data.doubts), *reasons]
    else:
        checks = answers_room.unjudged(checks)
        result, reasons = answers_room.conclude(answered.capacity, data.manifest, last, slo)
        if data.doubts and result is Verdict.PASS:
            result = Verdict.INCONCLUSIVE
            reasons = [*reasons, f"{Verdict.INCONCLUSIVE}: {data.doubts[0]}"]
    guide = tuple(guide_rows(data, cells, checks, slo))
    return Report(
        data=data,
        verdict=result,
        reasons=tuple(reasons),
        judged_arm=judged,
        judged_step=last,
        checks=tuple(checks),
        guide=guide,
        cells=cells,
        errors=tuple(tables.error_counts(data.cells)),
        details=behind,
        answers=answered,
        calibration=tuple(_calibration(data.manifest.calibration, slo)),
        host=_host(data),
        gaps=(*data.gaps, *trust.notes(data.manifest, usage), *behind.waterfall.gaps),
        not_measured=tuple(unmeasured(data, cells, checks, guide, behind, minimums=minimums)),
        minimums=minimums,
        ttft_target_ms=slo.ttft_p95_ms,
        ttft_band_ms=slo.expected.first_token.local,
    )
