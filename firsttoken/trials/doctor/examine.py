"""From facts to findings: which checks belong to which list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from firsttoken.trials.doctor import after, before, ours, steps
from firsttoken.trials.doctor.facts import Facts
from firsttoken.trials.doctor.findings import Checklist, Finding, Item, warn

Check = Callable[[Facts], Iterator[Finding]]

CHECKS: Mapping[Checklist, Sequence[Check]] = {
    Checklist.BEFORE: (*before.CHECKS, *ours.CHECKS),
    Checklist.STEPS: steps.CHECKS,
    Checklist.AFTER: after.CHECKS,
}

WITHOUT_SETTINGS = (before.memory, before.cores, ours.packages)
"""Checks that need none."""

_FIRST = {Checklist.STEPS: Item.ROUTING, Checklist.AFTER: Item.RESPONSE}


def examine(facts: Facts) -> list[Finding]:
    """Return what is found, list by list. Where the settings cannot be read, that is one failure
    and every list that needs them says so once."""
    if facts.settings.settings is None:
        return _without_settings(facts)
    return [
        finding
        for checklist, checks in CHECKS.items()
        if checklist in facts.lists
        for check in checks
        for finding in check(facts)
    ]


def _without_settings(facts: Facts) -> list[Finding]:
    found = list(ours.settings(facts))
    if Checklist.BEFORE in facts.lists:
        found += [each for check in WITHOUT_SETTINGS for each in check(facts)]
    found += [
        warn(
            "not checked", item, "the settings cannot be read", "put them right, then run it again"
        )
        for checklist, item in _FIRST.items()
        if checklist in facts.lists
    ]
    return found
