"""A condition in which two sides differ, and how much that disturbs their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from operator import attrgetter

from reports.compare.sides import Match

UNKNOWN = "not recorded"


class Weight(IntEnum):
    """How much a difference disturbs a comparison."""

    RECORD = 1
    """Worth knowing; seldom moves a first token."""
    MAY_EXPLAIN = 2
    """A shift may come from it alone: it is either what is compared, or what spoils it."""
    SPOILS = 3
    """The two sides are hardly figures of one thing."""

    @property
    def words(self) -> str:
        """As it is shown."""
        return {1: "for the record", 2: "may explain a shift", 3: "spoils the comparison"}[self]


@dataclass(frozen=True, slots=True)
class Difference:
    """One condition in which two sides differ."""

    condition: str
    weight: Weight
    reference: str
    candidate: str
    sentence: str


def made(
    match: Match, name: str, weight: Weight, both: tuple[str, str], meaning: str
) -> Difference:
    """Return a difference whose sentence names both sides, then what it means."""
    one, other = both
    letters = match.reference.letter, match.candidate.letter
    sentence = f"{one} in {letters[0]}, {other} in {letters[1]}: {meaning}"
    return Difference(name, weight, one, other, sentence)


def by_weight(found: Sequence[Difference]) -> list[tuple[Weight, list[Difference]]]:
    """Return the differences in groups, the gravest first."""
    return [(weight, list(items)) for weight, items in groupby(found, key=attrgetter("weight"))]
