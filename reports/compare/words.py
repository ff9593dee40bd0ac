"""A comparison in words: the same in terminal, Markdown and page."""

from __future__ import annotations

import math

from reports import text
from reports.compare.change import Change, Direction
from reports.compare.model import Compared
from reports.compare.sides import Match
from reports.gate.rule import MINIMUM_EFFECT
from reports.statistics import minimum_n


def summary(pair: Compared) -> str:
    """Return a comparison in one line."""
    if not pair.changes:
        return "nothing to compare: " + _why_nothing(pair.match)
    first = pair.headline
    claimed = [item for item in pair.shown if item.direction is not Direction.UNKNOWN]
    if first is None or not claimed:
        return "too few requests on one side for any claim"
    worse = sum(item.direction is Direction.WORSE for item in claimed)
    better = sum(item.direction is Direction.BETTER for item in claimed)
    figures = text.count(len(claimed), "figure")
    tally = f"of {figures} {better} better, {worse} worse"
    return f"{first.label} at {text.users(first.step_users)} {told(first)}; {tally}"


def told(item: Change) -> str:
    """Return a change in words: ``812.0 to 401.0 ms, -50.6 % (-55.0..-45.1): faster``."""
    before, after = text.number(item.reference, item.unit), text.quantity(item.candidate, item.unit)
    spread = interval(item)
    within = f" ({spread})" if spread else ""
    return f"{before} to {after}, {signed(item)}{within}: {word(item)}"


def word(item: Change) -> str:
    """Return the plain word of a change."""
    return f"{item.word}, under {MINIMUM_EFFECT * 100:g} %" if item.small else item.word


def signed(item: Change) -> str:
    """Return a shift in percent, that of a rate in points: ``+12.3 %``."""
    if item.shift is None:
        return text.MISSING
    return f"{item.shift * 100:+.1f} {'points' if item.quantile is None else '%'}"


def interval(item: Change) -> str:
    """Return the interval of a change in percent: ``-55.0..-45.1``; empty without one."""
    if item.ci_low is None or item.ci_high is None:
        return ""
    ends = ("∞" if math.isinf(end) else f"{end * 100:+.1f}" for end in (item.ci_low, item.ci_high))
    return "..".join(ends)


def _why_nothing(match: Match) -> str:
    if not match.lanes:
        arms = [", ".join(side.report.data.arms) for side in (match.reference, match.candidate)]
        return (
            f"{match.reference.letter} has the arms {arms[0]}, {match.candidate.letter} "
            f"{arms[1]}, none in common; name two with --arms REFERENCE,CANDIDATE"
        )
    told_steps = []
    for lane, one, other in match.only_in_one():
        both = [", ".join(map(str, steps)) or "none" for steps in (one, other)]
        told_steps.append(
            f"{lane.label} was measured at {both[0]} users in {match.reference.letter}, at "
            f"{both[1]} in {match.candidate.letter}"
        )
    return "; ".join(told_steps) or "no steady request on either side"


def chance(pair: Compared) -> str:
    """Return what a reader of many intervals must know of chance."""
    count = sum(item.ci_low is not None for item in pair.changes)
    if count < 2:
        return "without any difference, an interval still misses zero once in 20"
    return (
        f"of {count} intervals at 95 %, about {max(1, round(count / 20))} would miss zero by "
        "chance if nothing had changed: trust what several of them say"
    )


def dependence(pair: Compared) -> str:
    """Return why large samples were too few, and what helps; empty where none were."""
    held_back = [
        item
        for item in pair.shown
        if item.direction is Direction.UNKNOWN
        and item.quantile is not None
        and min(item.n_reference, item.n_candidate) >= minimum_n(item.quantile)
    ]
    if not held_back:
        return ""
    worst = min(held_back, key=lambda item: min(item.worth_reference, item.worth_candidate))
    first = worst.worth_reference <= worst.worth_candidate
    n, worth = (
        (worst.n_reference, worst.worth_reference)
        if first
        else (worst.n_candidate, worst.worth_candidate)
    )
    side = pair.match.reference if first else pair.match.candidate
    return (
        f"too few in spite of many: neighbours meet the same queue and resemble each other, so the "
        f"{n} of {worst.label} at {text.users(worst.step_users)} in {side.letter} are worth "
        f"{worth}; a longer step helps, or both in turns in one run (bench --against)"
    )
