"""All that explains a run's figures, gathered once: phases, reasons, caches, goodput, blocks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from firsttoken.core.records import BlockResult
from reports import breakdown, goodput, waterfall
from reports.breakdown import FallbackTax, PrefixStatistics, ReasonStatistics
from reports.goodput import Goodput, Pairs
from reports.join import join
from reports.load import RunData
from reports.waterfall import Waterfall


@dataclass(frozen=True, slots=True)
class Details:
    """What stands behind the figures of a run; the names are keys of ``report.json``."""

    waterfall: Waterfall
    goodput: tuple[Goodput, ...]
    paired_arms: tuple[Pairs, ...]
    reasons: tuple[ReasonStatistics, ...]
    fallback_tax: tuple[FallbackTax, ...]
    prefix_cache: tuple[PrefixStatistics, ...]
    blocks: tuple[BlockResult, ...]
    """In the order in which they ran."""

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of ``report.json``."""
        whole = asdict(self)
        falls = whole.pop("waterfall")
        # A report has one list of gaps, which holds these.
        del falls["gaps"]
        return {"join": falls.pop("check"), "phases": falls.pop("means"), **falls, **whole}


def details(data: RunData, target_ms: float, shown_arm: str | None) -> Details:
    """Gather what explains a run; single requests are shown of ``shown_arm``."""
    joined = join(data.requests, data.decisions, data.attempts)
    return Details(
        waterfall=waterfall.waterfall(data, joined, shown_arm),
        goodput=tuple(goodput.goodput(data, target_ms)),
        paired_arms=tuple(goodput.pairs(data, target_ms)),
        reasons=tuple(breakdown.reasons(data, target_ms)),
        fallback_tax=tuple(breakdown.fallback_tax(data, joined)),
        prefix_cache=tuple(breakdown.prefix_cache(data, target_ms)),
        blocks=tuple(sorted(data.manifest.blocks, key=lambda block: block.started_ns)),
    )
