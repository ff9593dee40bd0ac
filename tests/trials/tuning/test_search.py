"""What is tried next, for how long, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from firsttoken.core.errors import UserError
from firsttoken.trials.tuning.candidates import Candidate, parse_candidates
from firsttoken.trials.tuning.looks import Stage, leader
from firsttoken.trials.tuning.search import MOST_TURNS, next_step, untried
from tests.trials.tuning.bench import GUIDE, LONG, SEARCH, Bench


def test_every_slot_count_is_seen_then_threads_then_turns() -> None:
    bench = Bench()
    bench.seek(LONG)
    tried = [(step.stage, step.candidate) for step in bench.looks]
    assert tried[:10] == [
        (Stage.SEEK, GUIDE),
        *((Stage.SEEK, Candidate(slots, 2)) for slots in (24, 16, 8, 4)),
        (Stage.SEEK, Candidate(24, 1)),
        (Stage.PROVE, GUIDE),
        (Stage.PROVE, Candidate(24, 2)),
        (Stage.PROVE, Candidate(24, 2)),
        (Stage.PROVE, GUIDE),
    ]
    proving = [step.turn for step in bench.looks if step.stage is Stage.PROVE]
    assert proving == sorted([*range(len(proving) // 2)] * 2)


def test_proving_lasts_until_a_p95_can_be_told() -> None:
    bench = Bench()
    seen = [item for item in bench.seek(SEARCH) if item.stage is Stage.PROVE]
    for candidate in (GUIDE, Candidate(24, 2)):
        assert sum(item.accepted for item in seen if item.candidate == candidate) >= 73


def test_the_time_left_goes_into_more_turns() -> None:
    turns = []
    for seconds in (240.0, 600.0, 1200.0):
        bench = Bench()
        bench.seek(replace(SEARCH, seconds=seconds))
        turns.append([step.stage for step in bench.looks].count(Stage.PROVE) / 2)
    assert SEARCH.turns <= turns[0] < turns[1] < turns[2]
    bench = Bench()
    bench.seek(replace(SEARCH, seconds=86_400.0))
    assert [step.stage for step in bench.looks].count(Stage.PROVE) == 2 * MOST_TURNS


def test_the_time_is_kept() -> None:
    for seconds in (60.0, 120.0, 240.0):
        bench = Bench()
        bench.seek(replace(SEARCH, seconds=seconds))
        assert bench.now_s - 100.0 <= seconds


def test_little_time_is_left_for_proving_rather_than_for_more_candidates() -> None:
    bench = Bench()
    search = replace(SEARCH, seconds=200.0)
    seen = bench.seek(search)
    assert [step.stage for step in bench.looks].count(Stage.PROVE) == 2 * SEARCH.turns
    assert len({step.candidate for step in bench.looks}) < 6
    # Those with the fewest slots, which wait longest, are what is left out.
    assert Candidate(4, 2) in untried(search, seen, ())
    assert Candidate(24, 2) not in untried(search, seen, ())


def test_the_warm_up_grows_with_the_slots_that_start_cold() -> None:
    bench = Bench()
    bench.seek(LONG)
    warmups = {step.candidate: step.warmup for step in bench.looks if step.stage is Stage.SEEK}
    assert warmups[GUIDE] == 3.0
    assert warmups[Candidate(4, 2)] == pytest.approx(3 + 0.3 * 4, abs=0.06)
    # Twenty talkers use twenty slots; half the threads read half as fast.
    assert warmups[Candidate(24, 2)] == pytest.approx(3 + 0.3 * 20, abs=0.06)
    assert warmups[Candidate(24, 1)] == pytest.approx(3 + 0.3 * 40, abs=0.06)


def test_a_candidate_that_does_not_fit_is_left_out() -> None:
    bench = Bench()
    bench.seek(LONG, refused=(Candidate(24, 2), Candidate(24, 1)))
    assert leader([], GUIDE) is None
    assert max(step.candidate.slots for step in bench.looks) == 16


def test_the_reference_is_seen_first_whatever_the_time() -> None:
    step = next_step(replace(SEARCH, seconds=1.0), [], 0.0)
    assert step is not None
    assert step.candidate == GUIDE


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["slots=1,4", "threads=2,1"], {"slots": (1, 4), "threads": (1, 2)}),
        (["slots=8,8 threads=1"], {"slots": (8,), "threads": (1,)}),
        ([], {}),
    ],
)
def test_candidates(texts: list[str], found: dict[str, tuple[int, ...]]) -> None:
    assert parse_candidates(texts) == found


@pytest.mark.parametrize("text", ["slots", "slots=", "slots=a", "ctx=1", "slots=0", "slots=1025"])
def test_candidates_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--candidates"):
        parse_candidates([text])
