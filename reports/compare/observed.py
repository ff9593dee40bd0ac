"""What two runs turned out to be: trusted or not, under which load, at which steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from reports import text
from reports.compare.difference import Difference, Weight, made
from reports.compare.sides import Lane, Match, figures
from reports.load import Cell
from reports.tables import CellStatistics


def trust(match: Match) -> Iterator[Difference]:
    """Yield the verdicts that say that figures are not to be trusted, on either side."""
    sides = (match.reference, match.candidate)
    both = sides[0].report.verdict.value, sides[1].report.verdict.value
    for side in sides[:1] if match.same_run else sides:
        if side.untrusted:
            said = side.report.reasons[-1].removeprefix(f"{side.report.verdict}: ")
            sentence = f"{side.letter} is UNTRUSTED: {said}"
            yield Difference("trust", Weight.SPOILS, *both, sentence)


def calibration(match: Match) -> Iterator[Difference]:
    """Yield how the generator's own errors differ, where that is more than a millisecond."""
    errors = [
        max((item.error_p99_ms for item in side.report.calibration), default=None)
        for side in (match.reference, match.candidate)
    ]
    one, other = errors
    if match.same_run or (one is None and other is None):
        return
    both = tuple("none" if each is None else f"p99 {each:.1f} ms" for each in errors)
    if one is None or other is None or abs(one - other) > CLOCK_MS:
        weight = Weight.SPOILS if one is None or other is None else Weight.MAY_EXPLAIN
        meaning = "the load generator's own error differs, and goes into every first token"
        yield made(match, "clock error", weight, (both[0], both[1]), meaning)


CLOCK_MS = 1.0
"""A difference of the generator's own errors up to this is not worth a line."""
SHARE_POINTS = 0.05
RELATIVE = 0.10
"""What was measured of the load differs where it does by more: points of a share, part of a
count."""


class _Observed(NamedTuple):
    """A condition that each cell shows of itself."""

    name: str
    read: Callable[[CellStatistics, Cell], float | None]
    share: bool
    meaning: str


def _in_flight(statistics: CellStatistics, cell: Cell) -> float | None:
    """Return the mean number of requests in flight: arrivals a second times the mean time in the
    server (Little, "A Proof for the Queuing Formula L = λW", Operations Research 9, 1961)."""
    if not statistics.seconds:
        return None
    return float(cell.rows["e2e_ms"].sum()) / 1000 / statistics.seconds


OBSERVED: tuple[_Observed, ...] = (
    _Observed(
        "prompt tokens",
        lambda statistics, _: statistics.prompt_tokens_p50,
        share=False,
        meaning="longer prompts take longer to read",
    ),
    _Observed(
        "cached share",
        lambda statistics, _: statistics.cached_token_share,
        share=True,
        meaning="what is taken from the prompt cache need not be read",
    ),
    _Observed(
        "output tokens",
        lambda statistics, _: statistics.output_tokens_p50,
        share=False,
        meaning="longer replies hold the server longer",
    ),
    _Observed(
        "concurrency",
        _in_flight,
        share=False,
        meaning="mean requests in flight; more of them wait longer",
    ),
)


def _apart(one: float, other: float, *, share: bool) -> float:
    """Return how far apart two figures are, as a multiple of what is worth a line."""
    if share:
        return abs(one - other) / SHARE_POINTS
    largest = max(abs(one), abs(other))
    return 0.0 if largest == 0 else abs(one - other) / largest / RELATIVE


def load(match: Match) -> Iterator[Difference]:
    """Yield what was measured of the load and differs, each where it differs most."""
    cells = [
        (lane, figures(match.reference, one), one, figures(match.candidate, other), other)
        for lane, one, other in match.cells()
    ]
    for condition in OBSERVED:
        apart: list[tuple[float, Lane, int, float, float]] = []
        for lane, mine, one, theirs, other in cells:
            first, second = condition.read(mine, one), condition.read(theirs, other)
            if first is not None and second is not None:
                far = _apart(first, second, share=condition.share)
                apart.append((far, lane, one.step_users, first, second))
        widest = [each for each in apart if each[0] > 1]
        if not widest:
            continue
        _, lane, users, first, second = max(widest, key=lambda each: each[0])
        both = (_figure(first, share=condition.share), _figure(second, share=condition.share))
        where = f" ({lane.label}, {text.users(users)}"
        more = f"; at {len(widest) - 1} more" if len(widest) > 1 else ""
        shown = made(match, condition.name, Weight.MAY_EXPLAIN, both, condition.meaning)
        yield Difference(shown.condition, shown.weight, *both, f"{shown.sentence}{where}{more})")


def _figure(value: float, *, share: bool) -> str:
    return text.quantity(value, "share", short=True) if share else f"{value:.3g}"


def steps(match: Match) -> Iterator[Difference]:
    """Yield the steps that only one side has: they are left out."""
    letters = match.reference.letter, match.candidate.letter
    for lane, one, other in match.only_in_one():
        first, second = (", ".join(map(str, each)) or "none" for each in (one, other))
        sentence = (
            f"{lane.label}: numbers of users only in {letters[0]}: {first}; only in {letters[1]}: "
            f"{second}; left out"
        )
        yield Difference("steps", Weight.RECORD, first, second, sentence)
