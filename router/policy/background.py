"""Where a request goes that nobody waits for."""

from __future__ import annotations

from dataclasses import replace

from firsttoken.core.words import Reason, Tier
from router.policy.plan import LAST_RESORT, Plan, PlannedAttempt


def in_background(chosen: Plan) -> Plan:
    """Return the plan of a request that is to delay nobody, from the one it would have otherwise.

    A remote backend comes first, so that the local one is left to those who talk; it keeps its
    place at the end where it is a last resort. A backend that was asked for by name stays first.
    Nobody is raced, and no reply is doubted: both cost work to save time.
    """
    attempts = tuple(replace(each, doubt=None, hedge=False) for each in chosen.attempts)
    if not attempts or attempts[0].reason is Reason.NAMED_MODEL:
        return Plan(attempts)
    # Sorting is stable: otherwise the order stays as it is.
    ordered = sorted(attempts, key=_comes_late)
    first = ordered[0]
    if any(_comes_late(first)):
        return Plan(attempts)
    later = (
        replace(each, reason=Reason.FAILOVER) if each is attempts[0] else each
        for each in ordered[1:]
    )
    return Plan((replace(first, reason=Reason.BACKGROUND), *later))


def _comes_late(planned: PlannedAttempt) -> tuple[bool, bool]:
    backend = planned.backend
    return LAST_RESORT in backend.triggers, backend.tier is Tier.LOCAL
