"""What a run answers beside its checks: what targets carry, and how two of them compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from firsttoken.core.records import Manifest
from firsttoken.core.slo import Slo
from firsttoken.core.words import Verdict
from reports import capacity as capacity_room
from reports import comparison as comparison_room
from reports import text, verdict
from reports.capacity import Capacity, factor_sentence
from reports.comparison import Comparison
from reports.load import RunData
from reports.search import Level
from reports.verdict import Check

HEADLINES: dict[Verdict, str] = {
    Verdict.PASS: "The capacity was found.",
    Verdict.INCONCLUSIVE: "The records do not suffice to tell the capacity.",
    Verdict.UNTRUSTED: "The measurement itself was disturbed: its figures are not to be trusted.",
}
LEVEL_COLUMNS = ("arm", "load", "looks", "n", "TTFT p95", "95 % interval", "errors", "", "")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a run; most runs give none."""

    capacity: Capacity | None = None
    comparison: tuple[Comparison, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of ``report.json``."""
        found = None
        if self.capacity is not None:
            found = {"verdict": self.capacity.verdict, **capacity_room.as_dict(self.capacity)}
        return {"capacity": found, "comparison": [asdict(item) for item in self.comparison]}

    @property
    def lines(self) -> tuple[str, ...]:
        """Each comparison in one line."""
        factors = self.capacity.factors if self.capacity is not None else ()
        return (
            *map(factor_sentence, factors),
            *(item.sentence for item in self.comparison),
        )


def answers(data: RunData, target_ms: float) -> Answers:
    """Return what a run answers.

    Raises:
        UserError: its ``capacity.json`` cannot be read.
    """
    found = capacity_room.read(data.run_dir)
    if found is not None:
        return Answers(capacity=found)
    return Answers(comparison=comparison_room.of_run(data, target_ms))


def conclude(
    found: Capacity, manifest: Manifest, users: int, slo: Slo
) -> tuple[Verdict, list[str]]:
    """Return the verdict of a search and its reasons, each a line, the deciding one last.

    Args:
        found: what the search found.
        manifest: of its run.
        users: the most talkers that spoke at once.
        slo: holds the budget of the clock.
    """
    faults = verdict.calibration_faults(manifest.calibration, users, slo)
    result = Verdict.UNTRUSTED if faults else found.verdict
    order = sorted(found.arms, key=lambda item: item.verdict is not Verdict.PASS)
    reasons = [f"{item.verdict}: {found.sentence(item)}" for item in order]
    return result, reasons + [f"{Verdict.UNTRUSTED}: {fault}" for fault in faults]


def unjudged(checks: Sequence[Check]) -> list[Check]:
    """Return the checks of a search: loads that miss their targets are what it looks for."""
    return [replace(item, judged=False) for item in checks]


def level_rows(found: Capacity) -> list[list[str]]:
    """Return a row a target and load, a text a column of :data:`LEVEL_COLUMNS`."""
    return [[item.arm, *level_row(level)] for item in found.arms for level in item.levels]


def level_row(level: Level) -> list[str]:
    """Return what was seen of one load, in words."""
    return [
        f"{level.load:g}",
        str(level.looks),
        str(level.p95.n),
        text.number(level.p95.value, "ms"),
        text.interval(level.p95.ci_low, level.p95.ci_high, "ms"),
        text.quantity(level.errors.value, "share"),
        f"{text.SYMBOL[level.verdict]} {_SHOWN[level.verdict]}",
        "saturated" if level.saturated else "",
    ]


_SHOWN: dict[Verdict, str] = {
    Verdict.PASS: "holds",
    Verdict.FAIL: "misses",
    Verdict.INCONCLUSIVE: "undecided",
    Verdict.UNTRUSTED: "disturbed",
}
