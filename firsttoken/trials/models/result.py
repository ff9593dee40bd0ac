"""What ``firsttoken bench --models`` found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from firsttoken.trials.models.mark import Goals, Mark
from firsttoken.trials.models.quality import Answer, Item
from firsttoken.trials.models.serve import MemoryUse
from reports.statistics import Estimate, proportion


@dataclass(frozen=True, slots=True)
class Delays:
    """First tokens of one talker with one kind of prefix."""

    p50_ms: Estimate
    p95_ms: Estimate
    failed: int
    prompt_tokens: int | None
    """Median of a prompt."""
    cached_tokens: int | None
    """Median of what the engine had of it already."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One model."""

    name: str
    settings: str
    title: str | None
    shape: tuple[object, ...] | None
    file_bytes: int | None
    load_s: float | None
    memory: MemoryUse
    cold: Delays
    warm: Delays
    tokens_per_second: float | None
    answers: tuple[Answer, ...]
    mark: Mark

    @property
    def right(self) -> int:
        """Questions that were answered rightly."""
        return sum(answer.right for answer in self.answers)

    @property
    def quality(self) -> Estimate:
        """The share of right answers with its interval."""
        return proportion(self.right, len(self.answers))


@dataclass(frozen=True, slots=True)
class Failed:
    """One model that could not be measured."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All models of one call."""

    made_at: str
    goals: Goals
    machine: Mapping[str, Any]
    items: tuple[Item, ...]
    measured: tuple[Measured, ...]
    failed: tuple[Failed, ...]
    finished: bool

    def same_model(self) -> tuple[tuple[str, str], ...]:
        """Return pairs of files of one architecture, depth and width: they are one model in two
        quantisations, or two trainings of one."""
        known = [each for each in self.measured if each.shape is not None]
        return tuple(
            (one.name, other.name)
            for place, one in enumerate(known)
            for other in known[place + 1 :]
            if one.shape == other.shape
        )
