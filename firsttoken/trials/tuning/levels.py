"""What was seen of each candidate, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.looks import Seen, Stage
from reports import text
from reports.statistics import Estimate, quantile


@dataclass(frozen=True, slots=True)
class Level:
    """Everything seen of one candidate in one stage."""

    candidate: Candidate
    stage: Stage
    looks: int
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    accepted: int
    failed: int
    hold_ms: float | None
    """For how long a reply holds its slot, median."""
    tpot_ms: float | None
    tokens_per_second: float | None
    disturbed: tuple[str, ...]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return text.round_ms(float(np.mean(known))) if known else None


def levels_of(seen: Sequence[Seen]) -> tuple[Level, ...]:
    """Return what was seen of each candidate by stage: seeking first, then the fewest slots."""
    keys = sorted(
        {(item.stage, item.candidate) for item in seen},
        key=lambda key: (key[0] is Stage.PROVE, key[1].slots, -key[1].threads),
    )
    found = []
    for stage, candidate in keys:
        mine = [item for item in seen if (item.stage, item.candidate) == (stage, candidate)]
        delays = np.concatenate([item.delays for item in mine])
        found.append(
            Level(
                candidate=candidate,
                stage=stage,
                looks=len(mine),
                ttft_p50_ms=text.rounded(quantile(delays, 0.5), "ms"),
                ttft_p95_ms=text.rounded(quantile(delays, 0.95), "ms"),
                accepted=sum(item.accepted for item in mine),
                failed=sum(item.failed for item in mine),
                hold_ms=_mean([item.hold_ms for item in mine]),
                tpot_ms=_mean([item.tpot_ms for item in mine]),
                tokens_per_second=_mean([item.tokens_per_second for item in mine]),
                disturbed=tuple(dict.fromkeys(why for item in mine for why in item.disturbed)),
            )
        )
    return tuple(found)


def last_level(levels: Sequence[Level], candidate: Candidate) -> Level | None:
    """Return what the last stage showed of a candidate."""
    return next((item for item in reversed(levels) if item.candidate == candidate), None)
