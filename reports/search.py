"""The search for the largest load that holds the targets: which load to try next, and until when.

A *look* is one probe: one load, for a while. Looks at one load are pooled into a *level*, which is
judged as a check of a report is: PASS where the whole 95 % interval of TTFT p95 and that of the
error rate lie within their targets, FAIL where one lies wholly beyond. The search doubles the load
until a level leans beyond a target, narrows the bracket by what levels lean to, and then looks
again at its two ends until they are proven, or have been looked at as often as allowed. An end that
stays undecided is the boundary itself, and the nearest levels that are proven are sought around it.

Everything here is pure: what was seen goes in, the next load comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from firsttoken.core.words import Verdict
from reports import text
from reports.statistics import Estimate, FloatArray, proportion, quantile
from reports.verdict import check


@dataclass(frozen=True, slots=True)
class Search:
    """What is sought, and how finely."""

    target_ms: float
    """TTFT p95 may be at most this."""
    error_target: float
    """The error rate must be below this."""
    minimum: int
    """Requests below which nothing is claimed of p95."""
    start: float
    cap: float
    """The largest load that may be tried."""
    unit: float = 1.0
    """Loads are whole multiples of it: 1 device, or a fraction of a request a second."""
    resolution: float = 0.05
    """A bracket this narrow, as a share of its upper end, is not divided further."""
    least_looks: int = 2
    """Looks that an end of the bracket must have had: one may fall in a bad minute."""
    most_looks: int = 4
    """Looks after which a level that is still undecided is taken for the boundary..."""
    enough: int = 200
    """...if they saw this many requests: 183 without a failure show an error rate below 2 %."""
    looks_in_all: int = 12
    """Looks after which it is, however few requests they saw."""

    def snap(self, load: float) -> float:
        """Return the nearest load that can be tried, within the cap."""
        units = max(1, round(min(load, self.cap) / self.unit))
        return round(units * self.unit, 6)


@dataclass(frozen=True, slots=True)
class Look:
    """What one probe saw."""

    load: float
    delays: FloatArray = field(repr=False)
    """Milliseconds to the first token, a value a request; ``inf``: failed, or never came."""
    accepted: int
    failed: int
    settled: bool | None = None
    """False: the load never came to rest (see ``BlockResult.settled``)."""
    disturbed: tuple[str, ...] = ()
    """Why what was seen is not to be trusted; such a look counts for nothing."""
    block: int | None = None
    """Number of the block of the run."""


@dataclass(frozen=True, slots=True)
class Level:
    """All that was seen of one load."""

    load: float
    looks: int
    """Disturbed ones included."""
    p95: Estimate
    errors: Estimate
    saturated: bool
    verdict: Verdict
    leans_within: bool
    """Whether the plain figures, without their intervals, lie within the targets."""
    blocks: tuple[int, ...]


def level_of(
    load: float, looks: Sequence[Look], search: Search, larger: Sequence[Look] = ()
) -> Level:
    """Judge what was seen of one load, given what was seen of larger ones.

    A load that never came to rest cannot PASS; it fails if its p95 also lies beyond the target,
    with or without its interval, for waiting longer would only make it later. A machine does not
    err more often under a smaller load: where its own requests are too few to show an error rate
    within the target, those of larger loads may show it.
    """
    trusted = [look for look in looks if not look.disturbed]
    delays = np.concatenate([np.empty(0), *(look.delays for look in trusted)])
    p95 = text.rounded(quantile(delays, 0.95), "ms")
    errors = _errors(trusted)
    judged_errors = _error_verdict(errors, search)
    if judged_errors is Verdict.INCONCLUSIVE:
        pooled = _errors([*trusted, *(look for look in larger if not look.disturbed)])
        judged_errors = _error_verdict(pooled, search)
        if judged_errors is Verdict.FAIL:
            judged_errors = Verdict.INCONCLUSIVE
    judged = [
        check(
            "ttft_p95_ms", p95, search.target_ms, minimum=search.minimum, arm="", step_users=None
        ).verdict,
        judged_errors,
    ]
    saturated = any(look.settled is False for look in trusted)
    late = p95.value is not None and p95.value > search.target_ms
    failing = errors.value is not None and errors.value >= search.error_target
    if looks and not trusted:
        verdict = Verdict.UNTRUSTED
    elif Verdict.FAIL in judged or (saturated and late and p95.n >= search.minimum):
        verdict = Verdict.FAIL
    elif set(judged) == {Verdict.PASS} and not saturated:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    return Level(
        load=load,
        looks=len(looks),
        p95=p95,
        errors=errors,
        saturated=saturated,
        verdict=verdict,
        leans_within=not (late or failing),
        blocks=tuple(look.block for look in trusted if look.block is not None),
    )


def _errors(looks: Sequence[Look]) -> Estimate:
    accepted, failed = (
        sum(getattr(look, name) for look in looks) for name in ("accepted", "failed")
    )
    return text.rounded(proportion(failed, accepted), "share")


def _error_verdict(errors: Estimate, search: Search) -> Verdict:
    return check(
        "error_rate", errors, search.error_target, minimum=1, arm="", step_users=None
    ).verdict


def levels(history: Iterable[Look], search: Search) -> tuple[Level, ...]:
    """Pool looks by load, ascending."""
    by_load: dict[float, list[Look]] = {}
    for look in history:
        by_load.setdefault(look.load, []).append(look)
    return tuple(
        level_of(
            load,
            by_load[load],
            search,
            [look for other, looks in by_load.items() if other > load for look in looks],
        )
        for load in sorted(by_load)
    )


def proven(known: Sequence[Level]) -> tuple[float | None, float | None]:
    """Return ``(holds, fails)``: the smallest load that FAILed, and the largest below it that
    PASSed; None where there is none."""
    fails = min((level.load for level in known if level.verdict is Verdict.FAIL), default=None)
    holds = max(
        (
            level.load
            for level in known
            if level.verdict is Verdict.PASS and (fails is None or level.load < fails)
        ),
        default=None,
    )
    return holds, fails


def decide(history: Sequence[Look], search: Search) -> float | None:
    """Return the load to look at next; None: there is nothing more to learn within the limits."""
    known = levels(history, search)
    if not known:
        return search.snap(search.start)
    untrusted = [level for level in known if level.verdict is Verdict.UNTRUSTED]
    if untrusted:
        # A machine that stays disturbed teaches nothing.
        return untrusted[0].load if untrusted[0].looks < search.most_looks else None
    upper = next((level for level in known if not level.leans_within), None)
    if upper is None:
        return _farther_up(known[-1], search)
    lower = max((item for item in known if item.load < upper.load), key=_load, default=None)
    middle = _between(lower.load if lower else 0.0, upper.load, search)
    if middle is not None:
        return middle
    ends = (end.load for end in (lower, upper) if end is not None and _open(end, search))
    return (
        next(ends, None)
        or _below_the_boundary(known, lower, search)
        or _above_the_boundary(known, upper, search)
    )


def _farther_up(top: Level, search: Search) -> float | None:
    """Return where to go on while every load tried leans within the targets."""
    if top.load < search.snap(search.cap):
        return search.snap(top.load * 2)
    return top.load if _open(top, search) else None


def _load(level: Level) -> float:
    return level.load


def _open(level: Level, search: Search) -> bool:
    """Whether another look at a level is allowed and can tell something."""
    if level.verdict is Verdict.INCONCLUSIVE:
        thin = level.errors.n < search.enough and level.looks < search.looks_in_all
        return thin or level.looks < search.most_looks
    return level.looks < search.least_looks


def _between(low: float, high: float, search: Search) -> float | None:
    """Return the load in the middle; None where the two are near enough."""
    if high - low <= max(search.unit, search.resolution * high) * (1 + 1e-9):
        return None
    middle = search.snap((low + high) / 2)
    return middle if low < middle < high else None


def _below_the_boundary(
    known: Sequence[Level], lower: Level | None, search: Search
) -> float | None:
    """Return where to seek a load that PASSes, if the bracket's lower end stays undecided."""
    if lower is None or lower.verdict is Verdict.PASS:
        return None
    passed = (
        item.load for item in known if item.verdict is Verdict.PASS and item.load < lower.load
    )
    holds = max(passed, default=0.0)
    above = [level for level in known if holds < level.load <= lower.load]
    still_open = [level for level in above if _open(level, search)]
    if still_open:
        return still_open[0].load
    return _between(holds, above[0].load, search)


def _above_the_boundary(known: Sequence[Level], upper: Level, search: Search) -> float | None:
    """Return where to seek a load that FAILs, if the bracket's upper end stays undecided."""
    if upper.verdict is Verdict.FAIL:
        return None
    fails = proven(known)[1]
    below = [
        level for level in known if level.load >= upper.load and (not fails or level.load < fails)
    ]
    still_open = [level for level in below if _open(level, search)]
    if still_open:
        return still_open[-1].load
    highest = below[-1].load
    if fails is not None:
        return _between(highest, fails, search)
    farther = search.snap(highest + max(search.unit, 0.5 * highest))
    return farther if farther > highest else None
