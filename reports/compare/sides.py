"""Which arm of which run is held against which: the sides of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.core.records import ArmTarget
from firsttoken.core.words import Arm, Verdict
from reports.build import Report
from reports.load import Cell
from reports.tables import CellStatistics

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Names of the sides, the reference first."""


@dataclass(frozen=True, slots=True)
class Side:
    """One run of a comparison, or one arm of a run that is compared with another arm of it."""

    letter: str
    """``A`` is the reference."""
    name: str
    """The run's folder, and the arm where that tells more."""
    report: Report = field(repr=False)

    @property
    def untrusted(self) -> bool:
        """Whether the run's own verdict says that its figures are not to be trusted."""
        return self.report.verdict is Verdict.UNTRUSTED


@dataclass(frozen=True, slots=True)
class Lane:
    """An arm of the candidate beside the arm of the reference that it is held against."""

    reference: str
    candidate: str

    @property
    def label(self) -> str:
        """Such as ``hybrid``, or ``against > target`` where the arms differ."""
        if self.reference == self.candidate:
            return self.reference
        return f"{self.reference} > {self.candidate}"


@dataclass(frozen=True, slots=True)
class Match:
    """What is compared: two sides, and the arms that they have in common."""

    reference: Side
    candidate: Side
    lanes: tuple[Lane, ...]

    @property
    def same_run(self) -> bool:
        """Whether both sides are arms of one run."""
        return self.reference.report is self.candidate.report

    def cells(self) -> Iterator[tuple[Lane, Cell, Cell]]:
        """Yield each lane at each step at which both sides have steady requests."""
        for lane in self.lanes:
            mine = _filled(self.candidate.report, lane.candidate)
            for step, cell in _filled(self.reference.report, lane.reference).items():
                if step in mine:
                    yield lane, cell, mine[step]

    def only_in_one(self) -> Iterator[tuple[Lane, list[int], list[int]]]:
        """Yield each lane with the steps that only the reference, and only the candidate, has."""
        for lane in self.lanes:
            one = set(_filled(self.reference.report, lane.reference))
            other = set(_filled(self.candidate.report, lane.candidate))
            if one != other:
                yield lane, sorted(one - other), sorted(other - one)


def _filled(report: Report, arm: str) -> dict[int, Cell]:
    """Return the cells of an arm that hold steady requests, by step."""
    return {
        cell.step_users: cell for cell in report.data.cells if cell.arm == arm and len(cell.rows)
    }


def figures(side: Side, cell: Cell) -> CellStatistics:
    """Return the report's statistics of a cell of a side."""
    return side.report.cell(cell.arm, cell.step_users)


def target(side: Side, arm: str) -> ArmTarget | None:
    """Return what the manifest of a side says of an arm."""
    return side.report.data.target(arm)


def _known(report: Report, arm: str, run: Path) -> str:
    if arm not in report.data.arms:
        raise UserError(
            f"{run} has no arm {arm!r}; expected one of {', '.join(report.data.arms) or 'none'}"
        )
    return arm


def _two_arms(report: Report, run: Path) -> tuple[str, str]:
    """Return the two arms of a single run, the reference first."""
    arms = report.data.arms
    if len(arms) != 2:
        raise UserError(
            f"{run} has {len(arms)} arm(s), {', '.join(arms)}: name a second run, or two of its "
            "arms with --arms REFERENCE,CANDIDATE"
        )
    # "target against against" is read the other way round than the runs of the command line.
    return (arms[1], arms[0]) if arms == (Arm.TARGET, Arm.AGAINST) else (arms[0], arms[1])


def _lanes(one: Report, other: Report) -> tuple[Lane, ...]:
    """Return the arms that two runs have in common; of runs of one arm each, those two."""
    common = tuple(Lane(arm, arm) for arm in one.data.arms if arm in other.data.arms)
    if not common and len(one.data.arms) == len(other.data.arms) == 1:
        return (Lane(one.data.arms[0], other.data.arms[0]),)
    return common


def _names(runs: Sequence[Path]) -> list[str]:
    """Return the runs' folders as short as they can be told apart."""
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def matches(
    runs: Sequence[Path], reports: Sequence[Report], arms: tuple[str, str] | None
) -> tuple[Match, ...]:
    """Return each candidate beside the reference.

    Args:
        runs: folders as the user named them, the reference first; one alone: its two arms.
        reports: their reports, in the same order.
        arms: the arm of the reference and that of the candidates; None: those in common.

    Raises:
        UserError: a run lacks an arm, or one run alone has not two arms.
    """
    if len(runs) == 1:
        one, other = arms or _two_arms(reports[0], runs[0])
        name = runs[0].resolve().name
        sides = [
            Side(letter, f"{name}, {_known(reports[0], arm, runs[0])}", reports[0])
            for letter, arm in zip(LETTERS, (one, other), strict=False)
        ]
        return (Match(sides[0], sides[1], (Lane(one, other),)),)
    if len(runs) > len(LETTERS):
        raise UserError(f"{len(runs)} runs are more than can be compared: {len(LETTERS)}")
    sides = [Side(*each) for each in zip(LETTERS, _names(runs), reports, strict=False)]
    found = []
    for run, side in zip(runs[1:], sides[1:], strict=True):
        if arms is None:
            lanes = _lanes(sides[0].report, side.report)
        else:
            one, other = arms
            lanes = (Lane(_known(sides[0].report, one, runs[0]), _known(side.report, other, run)),)
        found.append(Match(sides[0], side, lanes))
    return tuple(found)
