"""What wins, what does not, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from firsttoken.core.words import Verdict
from firsttoken.trials.tuning import show
from firsttoken.trials.tuning.answer import Tried, conclude
from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.levels import levels_of
from firsttoken.trials.tuning.looks import Seen, Stage
from firsttoken.trials.tuning.proof import prove
from firsttoken.trials.tuning.reason import why
from firsttoken.trials.tuning.search import Search
from reports.gate.decide import Change
from tests.trials.tuning.bench import GUIDE, LONG, SEARCH, Bench


def answer(bench: Bench, search: Search = SEARCH) -> Tried:
    return conclude(search, bench.seek(search), (), cut_short=False)


def test_more_slots_win_and_the_reason_is_said() -> None:
    found = answer(Bench())
    assert found.winner == Candidate(24, 2)
    assert found.verdict is Verdict.PASS
    assert found.proof is not None
    assert found.proof.change is Change.BETTER
    assert found.factor is not None
    assert found.factor > 3
    assert "20 talkers on 1 slot wait for each other" in found.why
    assert "(20/1 - 1) x 330 ms = 6270 ms" in found.why
    assert found.lines == (("engine.slots", 24), ("engine.threads", 2))
    assert "OLLAMA_NUM_PARALLEL=24" in show.terminal(found)


def test_chance_alone_wins_nothing() -> None:
    found = answer(Bench(slots_matter=False))
    assert found.winner is None
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.lines == ()


def test_a_leader_that_fails_more_often_wins_nothing() -> None:
    """Three of a hundred requests hide above the p95, which is sooner all the same."""
    rng = np.random.default_rng(3)

    def looks(candidate: Candidate, median: float, failing: int) -> list[Seen]:
        found = []
        for _ in range(4):
            failures = rng.permutation(np.repeat([1.0, 0.0], [failing, 300 - failing]))
            delays = np.where(failures == 1.0, np.inf, rng.lognormal(np.log(median), 0.2, 300))
            found.append(
                Seen(candidate, Stage.PROVE, delays, 300, failing, failures, 8.0, 3.0, 14.0)
            )
        return found

    before, after = looks(GUIDE, 4000.0, 0), looks(Candidate(24, 2), 400.0, 9)
    proof = prove(before, after)
    assert proof is not None
    assert (proof.change, proof.errors_change) == (Change.BETTER, Change.WORSE)
    sought = [replace(item, stage=Stage.SEEK) for item in (before[0], after[0])]
    found = conclude(SEARCH, [*sought, *before, *after], (), cut_short=False)
    assert found.winner is None
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.summary[-1].endswith("more of its requests failed: it does not win")


def test_a_reference_that_mostly_fails_is_told_without_a_number() -> None:
    delays = np.where(np.arange(90) % 3 == 0, np.inf, 4000.0)
    failures = np.isinf(delays).astype(float)
    reference = [Seen(GUIDE, Stage.PROVE, delays, 90, 30, failures, 8.0, 3.0, 14.0)] * 3
    calm = np.random.default_rng(1).lognormal(6.0, 0.2, 90)
    winner = [Seen(Candidate(24, 2), Stage.PROVE, calm, 90, 0, np.zeros(90), 8.0, 3.0, 14.0)] * 3
    sought = [replace(item, stage=Stage.SEEK) for item in (reference[0], winner[0])]
    found = conclude(SEARCH, [*sought, *reference, *winner], (), cut_short=False)
    assert found.proof is not None
    assert found.proof.factor == np.inf
    assert json.loads(show.to_json(found))["factor"] is None
    assert "∞ times sooner" in show.terminal(found)


def test_two_turns_that_agree_are_no_proof() -> None:
    """With one degree of freedom even a tenfold shift takes turns that are all but equal."""
    rng = np.random.default_rng(5)

    def looks(candidate: Candidate, levels: list[float]) -> list[Seen]:
        # Within a look the delays rise steadily: as a sample they are worth next to nothing.
        return [
            Seen(
                candidate, Stage.PROVE, np.sort(rng.lognormal(np.log(each), 0.1, 60)), 60, 0,
                np.zeros(60), 8.0, 3.0, 14.0,
            )
            for each in levels
        ]  # fmt: skip

    levels = [4000.0, 4600.0, 4200.0, 4800.0, 4300.0, 4500.0]
    sooner = [600.0, 500.0, 560.0, 530.0, 570.0, 520.0]
    few = prove(looks(GUIDE, levels[:2]), looks(Candidate(24, 2), sooner[:2]))
    many = prove(looks(GUIDE, levels), looks(Candidate(24, 2), sooner))
    assert few is not None
    assert many is not None
    assert (few.turns, few.change) == (2, Change.NONE)
    assert (many.turns, many.test, many.change) == (6, "turn by turn", Change.BETTER)
    assert many.ci_high - many.ci_low < few.ci_high - few.ci_low


def test_a_clock_that_cannot_be_trusted_is_said() -> None:
    found = conclude(
        SEARCH, Bench().seek(SEARCH), (), cut_short=False, faults=["clock error p99 9 ms"]
    )
    assert found.verdict is Verdict.UNTRUSTED
    assert "clock error p99 9 ms" in found.notes


def test_a_disturbed_machine_is_not_trusted() -> None:
    seen = [
        replace(item, disturbed=("other programs used 0.9 cores",)) for item in Bench().seek(SEARCH)
    ]
    found = conclude(SEARCH, seen, (), cut_short=False)
    assert found.verdict is Verdict.UNTRUSTED
    assert "other programs used 0.9 cores" in found.notes


def test_what_was_cut_short_claims_nothing() -> None:
    seen = Bench().seek(SEARCH)[:3]
    found = conclude(SEARCH, seen, (), cut_short=True)
    assert found.winner is None
    assert not found.finished
    assert found.summary[0].startswith("cut short")
    assert "proves nothing" in found.summary[1]
    alone = conclude(SEARCH, seen[:1], (), cut_short=False)
    assert alone.summary == ("the time sufficed for the reference only: give --seconds more",)
    assert conclude(SEARCH, [], (), cut_short=True).winner is None


def test_threads_explain_what_slots_do_not() -> None:
    levels = {item.candidate: item for item in levels_of(Bench().seek(LONG))}
    said = why(20, levels[Candidate(24, 1)], levels[Candidate(24, 2)])
    assert said.startswith("the slots are enough either way; 2 instead of 1 compute threads")
