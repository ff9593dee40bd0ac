"""Builds a comparison of runs, and what a program reads of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from firsttoken.core.slo import Slo
from firsttoken.core.words import Tier
from reports import build
from reports.build import Report
from reports.compare.change import Change, Place
from reports.compare.changes import Samples, changes
from reports.compare.conditions import differences
from reports.compare.model import Compared, Comparison
from reports.compare.sides import Lane, Match, Side, matches
from reports.compare.words import summary
from reports.comparison import turns
from reports.files import plain
from reports.gate.rule import MINIMUM_EFFECT
from reports.load import Cell, tiers_of
from reports.statistics import CONFIDENCE

COMPARE_SCHEMA_VERSION = 1


def _rounds(match: Match, one: Cell, other: Cell) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the rounds in which two cells of one run took turns; empty: they did not."""
    if not match.same_run:
        return []
    found = turns(
        pd.concat([one.rows, other.rows]), one.arm, other.arm, len(match.reference.report.data.arms)
    )
    return found if len(found) > 1 else []


def _dropped(side: Side, cell: Cell) -> int:
    """Return how many starts of a cell were due and never made."""
    return sum(
        block.dropped or 0
        for block in side.report.data.manifest.blocks
        if (block.arm, block.step_users) == (cell.arm, cell.step_users)
    )


def _samples(match: Match, lane: Lane, one: Cell, other: Cell) -> Iterator[tuple[Place, Samples]]:
    """Yield a cell as a whole, then by tier where more than one tier served."""
    rounds = _rounds(match, one, other)
    dropped = _dropped(match.reference, one), _dropped(match.candidate, other)
    whole = Samples(one.rows, other.rows, rounds, dropped)
    yield Place(lane.label, one.step_users, None), whole
    first, second = tiers_of(one.arm, one.rows), tiers_of(other.arm, other.rows)
    served = [tier.value for tier in Tier if (first == tier).any() or (second == tier).any()]
    if len(served) < 2:
        return
    for tier in served:
        # A tier's rows are another mix in each round: they are compared as two samples.
        cut = Samples(one.rows[first == tier], other.rows[second == tier], [])
        yield Place(lane.label, one.step_users, tier), cut


def _compared(match: Match, target_ms: float) -> Compared:
    found: list[Change] = []
    rounds: list[int] = []
    for lane, one, other in match.cells():
        for place, samples in _samples(match, lane, one, other):
            found += changes(place, samples, target_ms)
            if place.tier is None:
                rounds.append(len(samples.rounds))
    return Compared(match, differences(match), tuple(found), min(rounds, default=0))


def compare(
    runs: Sequence[Path], reports: Sequence[Report], arms: tuple[str, str] | None, target_ms: float
) -> Comparison:
    """Compare reports that are at hand; see :func:`read`."""
    return Comparison(
        tuple(_compared(match, target_ms) for match in matches(runs, reports, arms)), target_ms
    )


def read(runs: Sequence[Path], slo: Slo, arms: tuple[str, str] | None = None) -> Comparison:
    """Compare the runs in some folders with the first of them; of one run alone, its two arms.

    Args:
        runs: folders.
        slo: the targets that goodput is counted by, and the budgets that trust rests on.
        arms: the reference's arm and the candidates'; None: the arms in common.

    Raises:
        UserError: a run cannot be read, has no request, or lacks an arm.
    """
    return compare(runs, [build.report(run, slo) for run in runs], arms, slo.ttft_p95_ms)


def as_dict(found: Comparison) -> dict[str, Any]:
    """Return what ``compare.json`` holds (null: never reached, or no claim)."""
    whole = {
        "schema_version": COMPARE_SCHEMA_VERSION,
        "verdict": found.verdict,
        "confidence": CONFIDENCE,
        "minimum_effect": MINIMUM_EFFECT,
        "ttft_target_ms": found.target_ms,
        "sides": [_side(side) for side in found.sides],
        "comparisons": [
            {
                "reference": pair.match.reference.letter,
                "candidate": pair.match.candidate.letter,
                "paired": pair.rounds > 0,
                "rounds": pair.rounds,
                "method": pair.method,
                "summary": summary(pair),
                "differences": [
                    {**asdict(item), "weight": item.weight.name.lower()}
                    for item in pair.differences
                ],
                "changes": [asdict(item) for item in pair.changes],
            }
            for pair in found.pairs
        ],
    }
    return dict(plain(whole))


def _side(side: Side) -> dict[str, Any]:
    manifest = side.report.data.manifest
    return {
        "letter": side.letter,
        "name": side.name,
        "run_id": manifest.run_id,
        "started": manifest.anchor.isoformat(),
        "scenario": manifest.scenario,
        "verdict": side.report.verdict,
        "gaps": list(side.report.gaps),
    }
