"""What ``firsttoken tune --try`` found: the winner, why it wins, and the lines to change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from firsttoken.core.words import Verdict
from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.levels import Level, last_level, levels_of
from firsttoken.trials.tuning.looks import Seen, Stage, leader
from firsttoken.trials.tuning.proof import Proof, prove, times
from firsttoken.trials.tuning.reason import shown, why
from firsttoken.trials.tuning.search import Search
from reports import text
from reports.gate.decide import Change


@dataclass(frozen=True, slots=True)
class Tried:
    """The answer."""

    users: int
    reference: Candidate
    levels: tuple[Level, ...]
    winner: Candidate | None
    proof: Proof | None
    verdict: Verdict
    why: str
    """One sentence on the mechanism, with its figures."""
    summary: tuple[str, ...]
    lines: tuple[tuple[str, int], ...]
    """Settings to change: path and value."""
    notes: tuple[str, ...]
    finished: bool

    @property
    def factor(self) -> float | None:
        """The reference's p95 divided by the leader's; None: nothing was proved of it."""
        return None if self.proof is None else self.proof.factor


def settings_lines(candidate: Candidate) -> tuple[tuple[str, int], ...]:
    """Return the settings that make the embedded engine a candidate: path and value."""
    return (("engine.slots", candidate.slots), ("engine.threads", candidate.threads))


def ollama_lines(candidate: Candidate) -> tuple[str, ...]:
    """Return what says the same to an Ollama; not measured."""
    return (
        f"OLLAMA_NUM_PARALLEL={candidate.slots}   (environment of ollama serve)",
        f"llm_routing.local_model.slots: {candidate.slots}",
        f"local_optimization.inference.num_thread: {candidate.threads}",
    )


def conclude(
    search: Search,
    seen: Sequence[Seen],
    notes: tuple[str, ...],
    *,
    cut_short: bool,
    faults: Sequence[str] = (),
) -> Tried:
    """Return the answer; a leader that was not shown to be better is no winner.

    Args:
        search: what was sought.
        seen: every look, in order.
        notes: what else there is to say.
        cut_short: whether it was stopped before its end.
        faults: why the clock of the whole run cannot be trusted.
    """
    levels = levels_of(seen)
    best = leader(seen, search.reference)
    proving = [item for item in seen if item.stage is Stage.PROVE]
    proof = None
    if best is not None:
        proof = prove(
            [item for item in proving if item.candidate == search.reference],
            [item for item in proving if item.candidate == best],
        )
    won = (
        proof is not None
        and proof.change is Change.BETTER
        and proof.errors_change is not Change.WORSE
    )
    winner = best if won else None
    disturbed = [*faults, *(reason for item in proving for reason in item.disturbed)]
    verdict = Verdict.PASS if winner is not None else Verdict.INCONCLUSIVE
    if disturbed:
        verdict = Verdict.UNTRUSTED
        notes = (*notes, *dict.fromkeys(disturbed))
    reference_level = last_level(levels, search.reference)
    best_level = None if best is None else last_level(levels, best)
    reason = ""
    if winner is not None and reference_level is not None and best_level is not None:
        reason = why(search.users, reference_level, best_level)
    return Tried(
        users=search.users,
        reference=search.reference,
        levels=levels,
        winner=winner,
        proof=proof,
        verdict=verdict,
        why=reason,
        summary=_summary(
            search.reference, levels, best, proof, search.users, won=won, cut_short=cut_short
        ),
        lines=() if winner is None else settings_lines(winner),
        notes=notes,
        finished=not cut_short,
    )


def _summary(
    reference: Candidate,
    levels: Sequence[Level],
    best: Candidate | None,
    proof: Proof | None,
    users: int,
    *,
    won: bool,
    cut_short: bool,
) -> tuple[str, ...]:
    """Return what was found in sentences, the last one the answer."""
    found = []
    if cut_short:
        found.append("cut short: what was measured until then is kept")
    before = last_level(levels, reference)
    after = None if best is None else last_level(levels, best)
    if before is None:
        found.append("nothing was measured")
    elif len({item.candidate for item in levels}) == 1:
        found.append("the time sufficed for the reference only: give --seconds more")
    elif best is None or after is None:
        found.append(f"nothing tried was sooner than the reference ({reference})")
    elif proof is None:
        found.append(
            f"{best} led while seeking, which proves nothing: there was no time to measure it in "
            "turns with the reference; give --seconds more"
        )
    else:
        found.append(_compared(before, after, proof, users))
        if won:
            found.append(f"{best} wins: {proof.reason} ({proof.test})")
        elif proof.change is Change.BETTER:
            found.append(f"{best} is sooner, and more of its requests failed: it does not win")
        else:
            found.append(f"not shown to be better: {proof.reason}")
    return tuple(found)


def _compared(before: Level, after: Level, proof: Proof, users: int) -> str:
    proved = f"{_times(proof.effect)} times sooner"
    spread = f"[{_times(proof.ci_high)}, {_times(proof.ci_low)}]"
    return (
        f"TTFT p95 at {text.users(users)}: {shown(after.ttft_p95_ms.value)} "
        f"(n {after.ttft_p95_ms.n}) with {after.candidate}, {shown(before.ttft_p95_ms.value)} "
        f"(n {before.ttft_p95_ms.n}) with the guide's settings ({before.candidate}): "
        f"{proved} {spread}, 95 % interval of {text.count(proof.turns, 'turn')}"
    )


def _times(effect: float) -> str:
    factor = times(effect)
    return "∞" if math.isinf(factor) else f"{factor:.1f}"
