"""The mechanism behind a difference, in one sentence with its figures."""

from __future__ import annotations

import math

from firsttoken.trials.tuning.levels import Level


def why(users: int, reference: Level, winner: Level) -> str:
    """Return the mechanism behind a difference, in one sentence with its figures.

    In a closed loop without think time ``users`` talkers stand at ``slots`` counters: each waits
    until ``users / slots - 1`` others before it have been served, ``hold_ms`` each.
    """
    slots, more = reference.candidate.slots, winner.candidate.slots
    if slots != more and users > slots and reference.hold_ms is not None:
        wait_ms = (users / slots - 1) * reference.hold_ms
        counters = "1 slot" if slots == 1 else f"{slots} slots"
        sentence = (
            f"queueing: {users} talkers on {counters} wait for each other: a reply holds its slot "
            f"for {reference.hold_ms:.0f} ms, so ({users}/{slots} - 1) x "
            f"{reference.hold_ms:.0f} ms = {wait_ms:.0f} ms pass before a prompt is read "
            f"(TTFT p50 measured: {shown(reference.ttft_p50_ms.value)})"
        )
        if more >= users:
            sentence += f"; with {more} slots nobody waits for one"
        if reference.tpot_ms and winner.tpot_ms:
            sentence += (
                f", and the price is a slower text: {reference.tpot_ms:.0f} -> "
                f"{winner.tpot_ms:.0f} ms a token"
            )
        return sentence
    threads = winner.candidate.threads
    if threads != reference.candidate.threads:
        return (
            f"the slots are enough either way; {threads} instead of "
            f"{reference.candidate.threads} compute threads make the difference"
        )
    return "what makes the difference was not measured apart"


def shown(value: float | None) -> str:
    """Return a delay in words: ``868 ms``, ``never``, ``unknown``."""
    if value is None:
        return "unknown"
    return "never" if math.isinf(value) else f"{value:.0f} ms"
