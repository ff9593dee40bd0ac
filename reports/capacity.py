"""How many devices, or requests a second, a target carries: the answer, and how it is kept.

The answer is an interval ``[holds, fails)``: the largest load that was shown to hold the targets,
and the smallest that was shown to miss them. Between the two lies an estimate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict, worst
from reports import text
from reports.limits import Limit, Resource
from reports.search import Level, Look, Search, decide, levels, proven
from reports.statistics import Estimate, FloatArray

FILE = "capacity.json"
SCHEMA_VERSION = 1


class Of(StrEnum):
    """What is counted."""

    DEVICES = "devices"
    RATE = "rate"


_NOUNS: dict[Of, tuple[str, str]] = {
    Of.DEVICES: ("device", "devices"),
    Of.RATE: ("request a second", "requests a second"),
}


class Ended(StrEnum):
    """Why a search ended."""

    FOUND = "found"
    CAP = "cap"
    """The largest load allowed was not shown to miss the targets."""
    BUDGET = "budget"
    """The time allowed was over."""
    DISTURBED = "disturbed"
    """The machine or the generator was disturbed each time."""
    UNDECIDED = "undecided"
    """An end could not be proven with the looks allowed."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What one target carries."""

    arm: str
    holds: float | None
    """0 where the smallest load that can be tried fails; None: no load was shown to hold."""
    fails: float | None
    """None: no load was shown to miss."""
    estimate: float | None
    """Where the monotone fit of what was seen crosses the nearer of the targets."""
    ended: Ended
    levels: tuple[Level, ...]
    violations: tuple[str, ...]
    """Where more load was shown to do better than less."""
    limit: Limit | None = None
    """Of the smallest load that failed."""

    @property
    def verdict(self) -> Verdict:
        """PASS where both ends of the interval were found."""
        if self.ended is Ended.DISTURBED:
            return Verdict.UNTRUSTED
        found = self.holds is not None and self.fails is not None
        return Verdict.PASS if found else Verdict.INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Factor:
    """How many times as much one target carries as another; an end that is not known is None."""

    arm: str
    against: str
    value: float | None
    """Of the two estimates."""
    low: float | None
    """What the one was shown to hold, by what the other was shown to miss."""
    high: float | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer for every target of a run."""

    of: Of
    scenario: str
    target_ms: float
    error_target: float
    arms: tuple[Carried, ...]
    factors: tuple[Factor, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the targets' verdicts."""
        return worst([item.verdict for item in self.arms])

    def amount(self, load: float) -> str:
        """Return a load in words, such as ``21 devices``."""
        one, many = _NOUNS[self.of]
        return f"{load:g} {one if load == 1 else many}"

    def sentence(self, item: Carried) -> str:
        """Return what one target carries, in one line."""
        held = f"TTFT p95 {text.quantity(self.target_ms, 'ms', short=True)} and "
        held += f"{text.quantity(self.error_target, 'share', short=True)} errors"
        if item.holds is not None and item.fails is not None:
            about = "" if item.estimate is None else f", about {item.estimate:.3g}"
            line = (
                f"{item.arm} carries {self.amount(item.holds)} within {held}; "
                f"{self.amount(item.fails)} is too many{about}"
            )
        elif item.holds is not None:
            line = f"{item.arm} carries at least {self.amount(item.holds)} within {held}"
        elif item.fails is not None:
            line = f"{item.arm} carries fewer than {self.amount(item.fails)} within {held}"
        else:
            line = f"{item.arm}: no load was shown to hold or to miss {held}"
        if item.ended is not Ended.FOUND:
            line += f" ({_WHY_ENDED[item.ended]})"
        if item.limit is not None:
            line += f". Limited by: {item.limit.resource} ({item.limit.why})"
        return line


_WHY_ENDED: dict[Ended, str] = {
    Ended.CAP: "the largest load allowed was reached",
    Ended.BUDGET: "the time allowed was over",
    Ended.DISTURBED: "the machine or the load generator was disturbed",
    Ended.UNDECIDED: "more looks would be needed to narrow it",
}


def factor_sentence(item: Factor) -> str:
    """Return how two targets compare, in one line."""
    if item.low is None and item.high is None:
        return f"{item.arm} and {item.against} cannot be compared: an end is missing for both"
    low = "0" if item.low is None else f"{item.low:.2f}"
    high = "∞" if item.high is None else f"{item.high:.2f}"
    value = "an unknown number of" if item.value is None else f"{item.value:.2f}"
    return f"{item.arm} carries {value} times [{low}, {high}] as many as {item.against}"


def isotonic(values: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    """Return the non-decreasing sequence nearest to ``values`` by weighted least squares.

    Pool adjacent violators: neighbours that fall are replaced by their mean until none does.
    Source: Ayer, Brunk, Ewing, Reid and Silverman, "An empirical distribution function for
    sampling with incomplete information", Annals of Mathematical Statistics 26, 1955.
    """
    blocks: list[tuple[float, float, int]] = []
    pairs = zip(np.asarray(values, np.float64), np.asarray(weights, np.float64), strict=True)
    for value, weight in pairs:
        mean, total, count = float(value), float(weight), 1
        while blocks and blocks[-1][0] > mean:
            before, heavy, many = blocks.pop()
            mean = (before * heavy + mean * total) / (heavy + total)
            total, count = heavy + total, many + count
        blocks.append((mean, total, count))
    return np.concatenate([np.empty(0), *(np.full(count, mean) for mean, _, count in blocks)])


def _crossing(loads: Sequence[float], fitted: FloatArray, target: float) -> float | None:
    """Return where a non-decreasing curve through points reaches ``target``; None: nowhere."""
    above = np.flatnonzero(fitted > target)
    if above.size == 0 or above[0] == 0:
        return None
    right = int(above[0])
    share = (target - fitted[right - 1]) / (fitted[right] - fitted[right - 1])
    return float(loads[right - 1] + share * (loads[right] - loads[right - 1]))


def estimate(
    known: Sequence[Level], search: Search, holds: float | None, fails: float | None
) -> float | None:
    """Return where the monotone fits of p95 (of its logarithm) and of the error rate first reach
    their targets, not outside of what was proven; None: they do not."""
    seen = [item for item in known if item.p95.n and item.verdict is not Verdict.UNTRUSTED]
    if not seen:
        return None
    # Infinitely late, but a mean of it is wanted: later than all that can be told apart.
    worst_ms = 10 * search.target_ms
    p95 = [min(item.p95.value or 0.0, worst_ms) for item in seen]
    errors = [item.errors.value or 0.0 for item in seen]
    weights = [item.p95.n for item in seen]
    loads = [item.load for item in seen]
    crossings = [
        _crossing(
            loads, isotonic(np.log(np.maximum(p95, 1e-3)), weights), math.log(search.target_ms)
        ),
        _crossing(loads, isotonic(errors, weights), search.error_target),
    ]
    reached = [item for item in crossings if item is not None]
    if not reached:
        return None
    low = holds if holds is not None else 0.0
    return round(min(max(min(reached), low), fails if fails is not None else math.inf), 3)


def _violations(known: Sequence[Level]) -> tuple[str, ...]:
    """Name the pairs of which the larger load was shown to do better."""
    found = []
    for at, less in enumerate(known):
        for more in known[at + 1 :]:
            low, high = less.p95.ci_low, more.p95.ci_high
            if low is not None and high is not None and low > high:
                found.append(
                    f"p95 at {less.load:g} was {text.number(less.p95.value, 'ms')} ms, at "
                    f"{more.load:g} only {text.number(more.p95.value, 'ms')} ms"
                )
    return tuple(found)


def carried(arm: str, history: Sequence[Look], search: Search, *, in_time: bool) -> Carried:
    """Return what the looks at one target show; ``in_time``: the budget did not end the search."""
    known = levels(history, search)
    holds, fails = proven(known)
    if holds is None and fails is not None and fails <= search.unit:
        holds = 0.0
    untrusted = any(item.verdict is Verdict.UNTRUSTED for item in known)
    going_on = decide(history, search) is not None
    if untrusted:
        ended = Ended.DISTURBED
    elif going_on and not in_time:
        ended = Ended.BUDGET
    elif holds is not None and fails is not None:
        ended = Ended.FOUND
    elif fails is None and known and known[-1].load >= search.snap(search.cap):
        ended = Ended.CAP
    else:
        ended = Ended.UNDECIDED
    return Carried(
        arm=arm,
        holds=holds,
        fails=fails,
        estimate=estimate(known, search, holds, fails),
        ended=ended,
        levels=known,
        violations=_violations(known),
    )


def factor(one: Carried, other: Carried) -> Factor:
    """Return how many times as much ``one`` carries as ``other``."""
    return Factor(
        arm=one.arm,
        against=other.arm,
        value=_quotient(one.estimate, other.estimate),
        low=_quotient(one.holds, other.fails),
        high=_quotient(one.fails, other.holds),
    )


def _quotient(above: float | None, below: float | None) -> float | None:
    return round(above / below, 3) if above is not None and below else None


def write(found: Capacity, run_dir: Path) -> None:
    """Write ``capacity.json``.

    Raises:
        UserError: the folder cannot be written.
    """
    path = run_dir / FILE
    scratch = path.with_suffix(".json.partial")
    body = {"schema_version": SCHEMA_VERSION, "verdict": found.verdict, **as_dict(found)}
    try:
        text_of_it = json.dumps(body, ensure_ascii=False, indent=2, allow_nan=False)
        scratch.write_text(text_of_it + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def as_dict(found: Capacity) -> dict[str, Any]:
    """Return the answer as JSON can hold it; a quantile that is infinite is null."""
    plain = _finite(asdict(found))
    assert isinstance(plain, dict)  # noqa: S101 - narrows the type, cannot fail
    return plain


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def read(run_dir: Path) -> Capacity | None:
    """Read ``capacity.json``; None where the run searched for none.

    Raises:
        UserError: it cannot be read, or is of another version.
    """
    path = run_dir / FILE
    if not path.exists():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["schema_version"] != SCHEMA_VERSION:
            raise UserError(
                f"{path}: schema_version is {body['schema_version']!r}, this version reads "
                f"{SCHEMA_VERSION}"
            )
        return Capacity(
            of=Of(body["of"]),
            scenario=body["scenario"],
            target_ms=body["target_ms"],
            error_target=body["error_target"],
            arms=tuple(_carried_of(item) for item in body["arms"]),
            factors=tuple(Factor(**item) for item in body["factors"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _carried_of(item: Mapping[str, Any]) -> Carried:
    limit = item["limit"]
    return Carried(
        **{
            **item,
            "ended": Ended(item["ended"]),
            "levels": _levels_of(item["levels"]),
            "violations": tuple(item["violations"]),
            "limit": limit
            and Limit(Resource(limit["resource"]), limit["why"], tuple(limit["also"])),
        }
    )


def _levels_of(items: Iterable[Mapping[str, Any]]) -> tuple[Level, ...]:
    found = []
    for item in items:
        p95 = Estimate(**item["p95"])
        if p95.n and p95.value is None:
            p95 = Estimate(math.inf, p95.ci_low, p95.ci_high, p95.n)
        more = {
            "p95": p95,
            "errors": Estimate(**item["errors"]),
            "verdict": Verdict(item["verdict"]),
            "blocks": tuple(item["blocks"]),
        }
        found.append(Level(**{**item, **more}))
    return tuple(found)
