"""Runs side by side: known shifts are found, equal runs show none, and gaps are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.records import ArmTarget, BlockResult, Manifest
from firsttoken.core.words import Verdict
from reports.compare import build, words
from reports.compare.change import Change, Direction
from reports.compare.changes import bounded
from reports.compare.model import Compared, Comparison
from tests.reports import runs
from tests.reports.runs import Block, lognormal
from tests.reports.test_comparison import numbered

SLO = slo_room.load(None)


def written(folder: Path, *blocks: Block, **changes: Any) -> Path:
    return runs.write(folder, blocks, with_attempts=False, **changes)


def compared(*folders: Path, arms: tuple[str, str] | None = None) -> Comparison:
    return build.read(folders, SLO, arms)


def change(pair: Compared, label: str, users: int = 20, tier: str | None = None) -> Change:
    (found,) = (
        item
        for item in pair.changes
        if (item.label, item.step_users, item.tier) == (label, users, tier)
    )
    return found


def scaled(values: list[float | None], factor: float) -> list[float | None]:
    return [None if value is None else value * factor for value in values]


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A run, and one whose first tokens come a quarter later, at 5 and 20 users."""
    one = [Block("hybrid", users, lognormal(200, 400, seed=users)) for users in (5, 20)]
    other = [Block("hybrid", users, lognormal(250, 400, seed=users + 1)) for users in (5, 20)]
    return (
        written(tmp_path / "before", *one),
        written(tmp_path / "after", *other, run_id="20260602T101500Z-steps"),
    )


def test_a_known_shift_is_found_within_its_interval(two: tuple[Path, Path]) -> None:
    (pair,) = compared(*two).pairs
    for users in (5, 20):
        for label in ("TTFT p50", "TTFT p95"):
            found = change(pair, label, users)
            assert found.ci_low is not None
            assert found.ci_high is not None
            assert found.ci_low < 0.25 < found.ci_high
            assert (found.word, found.direction) == ("slower", Direction.WORSE)
            assert (found.n_reference, found.n_candidate) == (400, 400)
    # Each further token took as long in both.
    tpot = change(pair, "TPOT p50")
    assert (tpot.reference, tpot.candidate, tpot.relative) == (40.0, 40.0, 0.0)
    assert tpot.word == "no difference shown"
    assert "hybrid" in {item.arm for item in pair.changes}
    assert words.summary(pair).startswith("TTFT p95 at 20 users")


def test_either_way_round_tells_the_same(two: tuple[Path, Path]) -> None:
    (there,), (back,) = compared(*two).pairs, compared(*reversed(two)).pairs
    for label in ("TTFT p50", "TTFT p95", "TTFS p50", "E2E p95"):
        one, other = change(there, label), change(back, label)
        assert one.relative is not None
        assert other.relative is not None
        assert one.ci_low is not None
        assert other.ci_high is not None
        assert (1 + one.relative) * (1 + other.relative) == pytest.approx(1, abs=1e-3)
        assert (1 + one.ci_low) * (1 + other.ci_high) == pytest.approx(1, abs=0.02)
        assert (one.word, other.word) == ("slower", "faster")
    one, other = change(there, "goodput"), change(back, "goodput")
    assert one.absolute is not None
    assert one.absolute == -(other.absolute or 0.0)


def test_a_run_beside_itself_shows_nothing(two: tuple[Path, Path], tmp_path: Path) -> None:
    (pair,) = compared(two[0], two[0]).pairs
    assert {item.word for item in pair.changes} == {"no difference shown"}
    assert all(item.shift == 0 for item in pair.changes)
    assert [item.condition for item in pair.differences] == ["run"]


def test_two_draws_of_one_thing_show_nothing(tmp_path: Path) -> None:
    one, other = (
        written(
            tmp_path / name,
            Block("hybrid", 20, lognormal(200, 400, seed=seed)),
            run_id=name,
        )
        for name, seed in (("one", 3), ("other", 4))
    )
    found = compared(one, other)
    assert {item.direction for item in found.pairs[0].changes} == {Direction.NONE}
    assert found.pairs[0].differences == ()
    assert found.verdict is Verdict.PASS


def test_three_runs_are_each_held_against_the_first(two: tuple[Path, Path], tmp_path: Path) -> None:
    third = written(tmp_path / "third", Block("hybrid", 20, lognormal(100, 400, seed=9)))
    found = compared(*two, third)
    assert [side.letter for side in found.sides] == ["A", "B", "C"]
    assert [pair.match.reference.name for pair in found.pairs] == ["before", "before"]
    assert change(found.pairs[0], "TTFT p50").word == "slower"
    assert change(found.pairs[1], "TTFT p50").word == "faster"
    # The step that the third run lacks is left out and named.
    assert {item.step_users for item in found.pairs[1].changes} == {20}
    (steps,) = (item for item in found.pairs[1].differences if item.condition == "steps")
    assert (steps.reference, steps.candidate) == ("5", "none")


def test_without_a_common_step_nothing_is_compared(tmp_path: Path) -> None:
    one = written(tmp_path / "one", Block("hybrid", 5, lognormal(200, 400)))
    other = written(tmp_path / "other", Block("hybrid", 20, lognormal(200, 400)))
    found = compared(one, other)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert words.summary(found.pairs[0]) == (
        "nothing to compare: hybrid was measured at 5 users in A, at 20 in B"
    )


def test_without_a_common_arm_nothing_is_compared(tmp_path: Path) -> None:
    one = written(
        tmp_path / "one",
        Block("hybrid", 20, lognormal(200, 80)),
        Block("local_only", 20, lognormal(200, 80)),
    )
    other = written(tmp_path / "other", Block("target", 20, lognormal(200, 80)))
    found = compared(one, other)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "none in common; name two with --arms" in words.summary(found.pairs[0])
    named = compared(one, other, arms=("local_only", "target"))
    assert {item.arm for item in named.pairs[0].changes} == {"local_only > target"}
    assert "arm" in {item.condition for item in named.pairs[0].differences}


def test_runs_of_one_arm_each_are_compared_whatever_it_is_called(tmp_path: Path) -> None:
    one = written(tmp_path / "one", Block("hybrid", 20, lognormal(200, 80)))
    other = written(tmp_path / "other", Block("target", 20, lognormal(200, 80)))
    assert compared(one, other).verdict is Verdict.PASS


@pytest.mark.parametrize("n", [1, 5])
def test_a_handful_of_requests_claims_nothing(tmp_path: Path, n: int) -> None:
    one = written(tmp_path / "one", Block("hybrid", 20, lognormal(200, n)))
    other = written(tmp_path / "other", Block("hybrid", 20, lognormal(900, 400)))
    found = compared(one, other)
    assert {item.word for item in found.pairs[0].changes} == {"too few"}
    assert all(item.ci_low is None for item in found.pairs[0].changes)
    assert found.verdict is Verdict.INCONCLUSIVE


def test_a_rare_quantile_takes_a_large_sample(tmp_path: Path) -> None:
    small, large = (
        written(tmp_path / str(n), Block("hybrid", 20, lognormal(200, n, seed=n)))
        for n in (200, 900)
    )
    labels = [
        {item.label for item in compared(large, other).pairs[0].changes} for other in (small, large)
    ]
    assert ["TTFT p99" in each for each in labels] == [False, True]


@pytest.mark.parametrize(
    ("n", "worth", "p", "enough"),
    [
        (72, 72, 0.95, True),
        (71, 71, 0.95, False),
        (400, 400, 0.99, True),
        (300, 300, 0.99, False),
        (141, 6, 0.50, True),
        (141, 6, 0.95, False),
        (5, 5, 0.50, False),
        (0, 1, 0.50, False),
    ],
)
def test_what_a_sample_bounds(n: int, worth: int, p: float, enough: bool) -> None:
    assert bounded(n, worth, p) is enough


def test_all_failed_is_later_than_everything(tmp_path: Path) -> None:
    good = written(tmp_path / "good", Block("hybrid", 20, lognormal(200, 200)))
    bad = written(tmp_path / "bad", Block("hybrid", 20, [None] * 200))
    found = compared(good, bad)
    (pair,) = found.pairs
    p50 = change(pair, "TTFT p50")
    assert (p50.word, p50.relative) == ("slower", None)
    errors, goodput = change(pair, "errors"), change(pair, "goodput")
    assert (errors.absolute, errors.word) == (1.0, "more errors")
    assert (goodput.absolute, goodput.word) == (-1.0, "fewer in time")
    told = build.as_dict(found)["comparisons"][0]["changes"][0]
    assert (told["candidate"], told["word"]) == (None, "slower")
    both = compared(bad, bad).pairs[0]
    assert change(both, "TTFT p50").word == "no difference shown"


def test_a_few_failures_move_the_tail(tmp_path: Path) -> None:
    good = written(tmp_path / "good", Block("hybrid", 20, lognormal(200, 400)))
    worse = lognormal(200, 400)
    worse[::10] = [None] * 40
    (pair,) = compared(good, written(tmp_path / "bad", Block("hybrid", 20, worse))).pairs
    assert change(pair, "TTFT p95").word == "slower"
    assert change(pair, "TTFT p50").word == "no difference shown"
    assert change(pair, "errors").absolute == pytest.approx(0.1)


def test_tiers_are_compared_apart(tmp_path: Path) -> None:
    one, other = (
        written(
            tmp_path / name,
            Block("hybrid", 20, lognormal(200, 200, seed=1), tier="local"),
            Block("hybrid", 20, lognormal(remote, 100, seed=2), tier="remote"),
        )
        for name, remote in (("one", 2_000), ("other", 1_000))
    )
    (pair,) = compared(one, other).pairs
    assert change(pair, "TTFT p50", tier="local").relative == 0
    assert change(pair, "TTFT p50", tier="remote").word == "faster"
    assert change(pair, "TTFT p50", tier="remote").n_reference == 100


def test_arms_that_took_turns_are_compared_in_pairs(tmp_path: Path) -> None:
    """The machine wanders by far more than the arms differ; unpaired, that hides it."""
    order = ("target", "against", "against", "target") * 4
    wander = [1.0, 1.6, 0.7, 1.3, 0.8, 1.5, 0.6, 1.2]
    blocks = [
        Block(
            arm,
            20,
            scaled(
                lognormal(170 if arm == "target" else 200, 60, seed=number, sigma=0.1),
                wander[number // 2],
            ),
        )
        for number, arm in enumerate(order)
    ]
    run = numbered(written(tmp_path / "run", *blocks))
    (pair,) = compared(run).pairs
    assert pair.rounds == 8
    assert pair.method.startswith("paired")
    p50 = change(pair, "TTFT p50")
    # "against" is the reference: the target came sooner.
    assert p50.paired
    assert p50.word == "faster"
    assert p50.ci_low is not None
    assert p50.ci_high is not None
    assert p50.ci_low < -0.15 < p50.ci_high
    (swapped,) = compared(run, arms=("target", "against")).pairs
    assert change(swapped, "TTFT p50").word == "slower"


def test_arms_that_did_not_take_turns_are_not_paired(tmp_path: Path) -> None:
    run = numbered(
        written(
            tmp_path / "run",
            Block("local_only", 20, lognormal(300, 100, seed=1)),
            Block("hybrid", 20, lognormal(200, 100, seed=2)),
        )
    )
    (pair,) = compared(run).pairs
    assert pair.rounds == 0
    assert "did not take turns" in pair.method
    assert change(pair, "TTFT p50").word == "faster"


@pytest.mark.parametrize(
    ("arms", "said"),
    [(None, "has 1 arm(s), hybrid"), (("hybrid", "nobody"), "has no arm 'nobody'")],
)
def test_one_run_needs_two_arms(tmp_path: Path, arms: tuple[str, str] | None, said: str) -> None:
    run = written(tmp_path / "run", Block("hybrid", 20, lognormal(300, 100)))
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")):
        compared(run, arms=arms)


def test_a_late_start_shows_in_what_users_waited(tmp_path: Path) -> None:
    folders = []
    for name, late_ms in (("one", 0), ("other", 500)):
        folder = written(tmp_path / name, Block("target", 20, lognormal(200, 200)))
        table = pq.read_table(folder / "requests.parquet").to_pandas()
        table["t_sched_ns"] -= late_ms * 1_000_000
        table["planned_rate"] = 3.0
        schema = pq.read_schema(folder / "requests.parquet")
        pq.write_table(
            pa.Table.from_pandas(table, schema=schema, preserve_index=False),
            folder / "requests.parquet",
        )
        folders.append(folder)
    (pair,) = compared(*folders).pairs
    assert change(pair, "TTFT p50").word == "no difference shown"
    assert change(pair, "TTFT_user p50").word == "slower"
    assert change(pair, "TTFT_user p50").absolute == pytest.approx(500, abs=1)


def test_a_shift_below_the_minimum_effect_is_marked(tmp_path: Path) -> None:
    values = lognormal(200, 900, sigma=0.02)
    one = written(tmp_path / "one", Block("hybrid", 20, values))
    other = written(tmp_path / "other", Block("hybrid", 20, scaled(values, 1.02)))
    found = change(compared(one, other).pairs[0], "TTFT p50")
    assert (found.word, found.small) == ("slower", True)
    assert words.word(found) == "slower, under 5 %"


def test_arms_keep_their_manifest(tmp_path: Path) -> None:
    """A manifest that plans an arm that never answered leaves it out."""
    planned = [
        ArmTarget(arm, "http://127.0.0.1:1", "m", "openai") for arm in ("hybrid", "local_only")
    ]
    one, other = (
        written(tmp_path / name, Block("hybrid", 20, lognormal(200, 100)), arms=planned)
        for name in ("one", "other")
    )
    (pair,) = compared(one, other).pairs
    assert {item.arm for item in pair.changes} == {"hybrid"}
    assert replace(pair, changes=()).headline is None


def test_many_requests_that_resemble_each_other_are_few(tmp_path: Path) -> None:
    """First tokens that climb all the while tell hardly more of their median than one does."""
    climbing: list[float | None] = [100.0 + at for at in range(200)]
    one = written(tmp_path / "one", Block("hybrid", 20, climbing))
    other = written(tmp_path / "other", Block("hybrid", 20, lognormal(200, 200)))
    (pair,) = compared(one, other).pairs
    p95 = change(pair, "TTFT p95")
    assert p95.word == "too few"
    assert p95.worth_reference < 20 < p95.n_reference
    assert words.dependence(pair).startswith("too few in spite of many")
    assert words.dependence(compared(other, other).pairs[0]) == ""


def test_a_start_that_was_never_made_is_a_request_that_nobody_answered(tmp_path: Path) -> None:
    block = BlockResult(
        number=0,
        arm="target",
        step_users=20,
        planned_rate=3.0,
        started_ns=0,
        steady_ns=0,
        stop_ns=0,
        ended_ns=0,
        requests=200,
        errors=0,
        ttft_p50_ms=None,
        ttft_p95_ms=None,
        tokens_counted_here=0,
        loop_lag_p99_ms=0.0,
        loop_lag_max_ms=0.0,
        generator_cpu=0.0,
    )
    folders = []
    for name, dropped in (("one", 0), ("other", 200)):
        folder = written(tmp_path / name, Block("target", 20, lognormal(200, 200)))
        replace(Manifest.read(folder), blocks=[replace(block, dropped=dropped)]).write(folder)
        path = folder / "requests.parquet"
        frame = pq.read_table(path).to_pandas().assign(planned_rate=3.0)
        table = pa.Table.from_pandas(frame, schema=pq.read_schema(path), preserve_index=False)
        pq.write_table(table, path)
        folders.append(folder)
    (pair,) = compared(*folders).pairs
    errors = change(pair, "errors")
    assert (errors.n_reference, errors.n_candidate, errors.candidate) == (200, 400, 0.5)
    assert errors.word == "more errors"
    waited = change(pair, "TTFT_user p95")
    assert (waited.n_candidate, waited.relative) == (400, None)
    assert change(pair, "TTFT p95").n_candidate == 200
