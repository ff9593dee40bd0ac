"""How unlike the conditions of two measurements are, and which differences forbid comparing."""

from __future__ import annotations

from dataclasses import dataclass

from reports.gate.samples import Conditions

MUST_AGREE = frozenset(
    {
        "CPU model",
        "cores",
        "scenario",
        "steps",
        "users",
        "arm",
        "model",
        "dialect",
        "remote tier",
        "planned rate",
        "load generators",
        "pinned",
        "benchmarks: CPU model",
        "benchmarks: cores",
        "benchmarks: implementation",
    }
)
"""Other machine, other load, other question: what differs then is not the code alone. Known on one
side only counts as different."""

MUST_AGREE_WHERE_KNOWN = frozenset({"answered by"})
"""Seen in the replies, so a measurement in which every request failed does not know it."""

NEAR: dict[str, float] = {"prompt tokens": 1.5}
"""Largest ratio of two values, where both are known: the time to a first token grows with what has
to be read first, and a band with fixed edges would part 63 tokens from 65."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A condition that is not the same on both sides."""

    name: str
    baseline: str | float | None
    candidate: str | float | None
    forbids: bool
    """Whether the measurements cannot be compared because of it."""


def differences(baseline: Conditions, candidate: Conditions) -> list[Difference]:
    """Return what differs: first what forbids comparing, then the rest in the order of the names.

    A condition that one side does not have at all (no run, or no benchmarks, in it) is no
    difference: what is compared then is found out by name.
    """
    found = []
    for name, one in baseline.items():
        if name not in candidate:
            if name.startswith("version of"):
                found.append(Difference(name, one, None, forbids=False))
            continue
        other = candidate[name]
        if one != other:
            found.append(Difference(name, one, other, _forbids(name, one, other)))
    found += [
        Difference(name, None, other, forbids=False)
        for name, other in candidate.items()
        if name not in baseline and name.startswith("version of")
    ]
    return sorted(found, key=lambda item: not item.forbids)


def _forbids(name: str, one: str | float | None, other: str | float | None) -> bool:
    if name in MUST_AGREE:
        return True
    if name in MUST_AGREE_WHERE_KNOWN:
        return one is not None and other is not None
    ratio = NEAR.get(name)
    if ratio is None or not isinstance(one, float) or not isinstance(other, float):
        return False
    low, high = sorted((one, other))
    return high > ratio * low
