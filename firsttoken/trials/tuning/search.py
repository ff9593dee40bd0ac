"""Which engine settings are tried next: pure, from what was seen so far.

Two stages. *Seek*: the reference, then every number of slots, the most first, then the other
numbers of threads with the best of them, one short look each, for as long as proving still fits
into the time. *Prove*: the leader and the reference take turns on the same schedule, in the order
ABBA, until the time is over. How many turns they take depends on the clock and never on what they
showed, so looking again cannot make a winner. Only what was seen while proving is tested: the
leader was chosen for its luck in the first stage too (Young and others, "Why Current Publication
Practices May Distort Science", PLoS Medicine 5, 2008, on the winner's curse).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.looks import Seen, Stage, best_of, leader
from reports.statistics import minimum_n

ENGINE_START_S = 6.0
"""What a look costs beside its steady part, until one was seen: engine, load generator, drain."""


LONGEST_LOOK_S = 40.0

MOST_TURNS = 30
"""More turns than these tell next to nothing more."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is sought, and in how much time."""

    reference: Candidate
    slots: tuple[int, ...]
    threads: tuple[int, ...]
    seconds: float
    """For everything; looks that would end later are not begun."""
    step_seconds: float
    """Steady part of a look while seeking, and the shortest while proving."""
    turns: int = 3
    """Of the leader and the reference while proving, at the least: two do not tell how much turns
    differ. What time is left goes into more of them."""
    users: int = 20
    warmup_seconds: float = 3.0
    """Shortest warm-up."""
    needed: int = minimum_n(0.95)
    """Requests of each without which a p95 has no interval."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next look."""

    candidate: Candidate
    stage: Stage
    seconds: float
    warmup: float
    turn: int = 0


def _unseen(search: Search, seen: Sequence[Seen], refused: Sequence[Candidate]) -> Candidate | None:
    """Return the next candidate to seek with."""
    known = {item.candidate for item in seen} | set(refused)
    reference = search.reference
    if reference not in known:
        return reference
    for slots in sorted(search.slots, reverse=True):
        candidate = Candidate(slots, reference.threads)
        if candidate not in known:
            return candidate
    best = best_of([item for item in seen if item.candidate.threads == reference.threads])
    for threads in search.threads:
        candidate = Candidate(best.candidate.slots if best else reference.slots, threads)
        if candidate not in known:
            return candidate
    return None


def warmup_s(search: Search, candidate: Candidate, seen: Sequence[Seen]) -> float:
    """Return how long a candidate warms up: until every slot in use has read its first prompt.

    An engine starts with an empty cache in every slot, and these prompts are read one after the
    other, at the longest as slowly as the reference read its first ones.
    """
    cold = next((item for item in seen if item.cold_ms is not None), None)
    if cold is None or cold.cold_ms is None:
        return search.warmup_seconds
    slower = cold.candidate.threads / candidate.threads
    reading_s = slower * cold.cold_ms / 1000 * min(candidate.slots, search.users)
    return round(min(search.warmup_seconds + reading_s, LONGEST_LOOK_S), 1)


def _cost_s(search: Search, candidate: Candidate, seconds: float, seen: Sequence[Seen]) -> float:
    """Return how long a look will take: as long beside warm-up and steady part as the last one at
    this candidate, or as the longest so far."""
    beside = [(item.candidate, item.took_s - item.seconds - item.warmup) for item in seen]
    mine = [took for known, took in beside if known == candidate]
    others = [took for _, took in beside] or [ENGINE_START_S]
    return seconds + warmup_s(search, candidate, seen) + (mine[-1] if mine else max(others))


def proving_seconds(
    search: Search, pair: Sequence[Candidate], seen: Sequence[Seen]
) -> dict[Candidate, float]:
    """Return how long each of two candidates is looked at in a turn, so that the fewest turns
    together show enough requests of it; one that was not seen yet, for a first look's time."""
    found = {}
    for candidate in pair:
        item = next((item for item in reversed(seen) if item.candidate == candidate), None)
        wanted = search.step_seconds
        if item is not None:
            rate = max(item.accepted, 1) / item.seconds
            wanted = math.ceil(1.15 * search.needed / search.turns / rate)
        found[candidate] = float(min(max(wanted, search.step_seconds), LONGEST_LOOK_S))
    return found


def next_step(
    search: Search, seen: Sequence[Seen], spent_s: float, refused: Sequence[Candidate] = ()
) -> Step | None:
    """Return the next look, or None where all was seen or the time is over.

    Args:
        search: what is sought.
        seen: every look so far, in order.
        spent_s: seconds since the beginning.
        refused: candidates that cannot be started on this machine.
    """
    left_s = search.seconds - spent_s
    proving = [item for item in seen if item.stage is Stage.PROVE]
    if not proving:
        candidate = _unseen(search, seen, refused)
        if candidate is not None:
            cost = _cost_s(search, candidate, search.step_seconds, seen)
            if not seen or cost + _reserve_s(search, candidate, seen) <= left_s:
                warmup = warmup_s(search, candidate, seen)
                return Step(candidate, Stage.SEEK, search.step_seconds, warmup)
    best = leader(seen, search.reference)
    if best is None or len(proving) >= 2 * MOST_TURNS:
        return None
    pair = (search.reference, best)
    seconds = proving_seconds(search, pair, seen)
    turn, second = divmod(len(proving), 2)
    # ABBA: what drifts with time falls on both alike.
    candidate = pair[(turn + second) % 2]
    if not second:
        # A turn of one alone would prove nothing.
        both = sum(_cost_s(search, each, seconds[each], seen) for each in pair)
        if both > left_s:
            return None
    warmup = warmup_s(search, candidate, seen)
    return Step(candidate, Stage.PROVE, seconds[candidate], warmup, turn)


def _reserve_s(search: Search, candidate: Candidate, seen: Sequence[Seen]) -> float:
    """Return the time that proving will take, of the leader, or else of a candidate that is yet
    to be seen."""
    pair = (search.reference, leader(seen, search.reference) or candidate)
    seconds = proving_seconds(search, pair, seen)
    return search.turns * sum(_cost_s(search, each, seconds[each], seen) for each in pair)


def untried(search: Search, seen: Sequence[Seen], refused: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates that the time did not suffice for."""
    known = {item.candidate for item in seen} | set(refused)
    reference = search.reference
    wanted = [Candidate(slots, reference.threads) for slots in search.slots]
    best = leader(seen, reference) or reference
    wanted += [
        Candidate(best.slots, threads)
        for threads in search.threads
        if not any(item.candidate.threads == threads for item in seen)
    ]
    return [candidate for candidate in dict.fromkeys(wanted) if candidate not in known]
