"""All that explains a run's figures, gathered once: phases, reasons, caches, goodput, blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from firsttoken.core.records import BlockResult
from reports import breakdown, goodput, heard, heat_map, over_time, side_by_side, waterfall
from reports.breakdown import FallbackTax, PrefixStatistics, ReasonStatistics
from reports.goodput import Goodput, Pairs
from reports.heard import HeardStatistics
from reports.heat_map import PromptCell
from reports.join import Joiner
from reports.load import RunData
from reports.over_time import OverTime
from reports.waterfall import Waterfall


@dataclass(frozen=True, slots=True)
class Details:
    """What stands behind the figures of a run; the names are keys of ``report.json``."""

    waterfall: Waterfall
    goodput: tuple[Goodput, ...]
    heard: tuple[HeardStatistics, ...]
    """Empty where the records tell nothing of it."""
    paired_arms: tuple[Pairs, ...]
    reasons: tuple[ReasonStatistics, ...]
    fallback_tax: tuple[FallbackTax, ...]
    prefix_cache: tuple[PrefixStatistics, ...]
    prompt_lengths: tuple[PromptCell, ...]
    over_time: OverTime | None
    """None: no request of the steady phase."""
    blocks: tuple[BlockResult, ...]
    """In the order in which they ran."""

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of ``report.json``."""
        whole = asdict(self)
        falls = whole.pop("waterfall")
        # A report has one list of gaps, which holds these.
        del falls["gaps"]
        # "reasons" are those of the verdict.
        reasons = whole.pop("reasons")
        named = {"join": falls.pop("check"), "phases": falls.pop("means"), "by_reason": reasons}
        return {**named, **falls, **whole}


def details(data: RunData, target_ms: float, shown_arm: str | None) -> Details:
    """Gather what explains a run; single requests are shown of ``shown_arm``."""

    def through_the_phases() -> tuple[Waterfall, tuple[FallbackTax, ...]]:
        joiner = Joiner(data.steady, data.decisions, data.attempts)
        falls = waterfall.waterfall(data, joiner, shown_arm)
        return falls, tuple(breakdown.fallback_tax(data, joiner))

    parts: dict[str, Callable[[], Any]] = {
        "falls": through_the_phases,
        "prefix_cache": lambda: tuple(breakdown.prefix_cache(data, target_ms)),
        "prompt_lengths": lambda: heat_map.prompt_cells(data, target_ms),
        "reasons": lambda: tuple(breakdown.reasons(data, target_ms)),
        "paired_arms": lambda: tuple(goodput.pairs(data, target_ms)),
        "over_time": lambda: over_time.over_time(data, target_ms),
        "goodput": lambda: tuple(goodput.goodput(data, target_ms)),
        "heard": lambda: tuple(heard.heard(data)),
    }
    done = side_by_side.run(list(parts.values()), rows=len(data.requests))
    found = dict(zip(parts, done, strict=True))
    falls, tax = found.pop("falls")
    blocks = tuple(sorted(data.manifest.blocks, key=lambda block: block.started_ns))
    return Details(waterfall=falls, fallback_tax=tax, blocks=blocks, **found)
