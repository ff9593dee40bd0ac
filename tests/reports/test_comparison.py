"""Two arms in turns: the ratio's interval holds the truth, and drift falls on both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo as slo_room
from reports import build, load, write
from reports.comparison import NEVER_MS, Round, compare, of_run
from tests.reports import runs
from tests.reports.runs import Block


def drifting_rounds(
    seed: int, ratio: float, *, rounds: int = 8, n: int = 60, drift: float = 0.3
) -> list[Round]:
    """Rounds in which the machine is now slow, now fast, for both arms alike."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        median = np.log(200 * np.exp(random.normal(0, drift)))
        wobble = random.normal(0, 0.03)
        first = random.lognormal(median + np.log(ratio) + wobble, 0.3, n)
        found.append(Round(first, random.lognormal(median, 0.3, n)))
    return found


def test_the_interval_covers_the_true_ratio() -> None:
    """In at least 34 of 40 experiments: nominally 38, fewer with so few rounds."""
    covered = 0
    for seed in range(40):
        (p50,) = compare("target", "against", drifting_rounds(seed, 1.2), (0.5,))
        covered += p50.ratio_low <= 1.2 <= p50.ratio_high
    assert covered >= 34


def test_an_arm_against_itself_shows_no_difference() -> None:
    same = [Round(item.second, item.second) for item in drifting_rounds(3, 1.0)]
    for item in compare("target", "against", same):
        assert item.ratio == 1
        assert item.ratio_low <= 1 <= item.ratio_high
        assert "no difference shown" in item.sentence


def test_a_difference_is_said_with_its_sign() -> None:
    p50, p95 = compare("target", "against", drifting_rounds(4, 0.5))
    assert p50.ratio_high < 1
    assert p50.sentence.endswith("sooner; later in 0 of 8 rounds")
    assert (p50.name, p95.name) == ("p50", "p95")
    assert len(p50.differences_ms) == 8


def test_what_never_came_is_later_than_everything() -> None:
    late = Round(np.full(40, NEVER_MS), np.full(40, 200.0))
    p50, _ = compare("target", "against", [late, late])
    assert p50.ratio_low > 1
    assert "target never" in p50.sentence


def test_a_round_that_one_arm_missed_is_left_out() -> None:
    whole = Round(np.full(20, 100.0), np.full(20, 100.0))
    half = Round(np.full(20, 900.0), np.empty(0))
    p50, _ = compare("target", "against", [whole, half])
    assert (p50.arm_ms, len(p50.differences_ms)) == (100, 1)
    assert compare("target", "against", [half]) == ()


@pytest.mark.parametrize("users", [20, 5])
def test_it_is_read_from_a_run_whose_arms_began_in_turn(tmp_path: Path, users: int) -> None:
    order = ("target", "against", "against", "target", "target", "against", "against", "target")
    blocks = [
        Block(
            arm,
            20 if number < 2 else users,
            runs.lognormal(150 if arm == "target" else 300, 80, seed=number),
        )
        for number, arm in enumerate(order)
    ]
    data = load.read(numbered(runs.write(tmp_path, blocks, with_attempts=False)))
    found = of_run(data, 400)
    # At two loads the rounds are not of one kind: nothing is claimed.
    assert bool(found) is (users == 20)
    if found:
        page = write.markdown(build.report(tmp_path, slo_room.load(None)))
        assert "Side by side" in page
        assert found[0].ratio == pytest.approx(0.5, abs=0.1)
        assert all(difference < 0 for difference in found[0].differences_ms)
        assert len(found[0].differences_ms) == 4


def numbered(run_dir: Path) -> Path:
    """Write the number of each block into the records, which bear it in their ids."""
    path = run_dir / "requests.parquet"
    table = pq.read_table(path)
    numbers = [int(item[1:].split("-")[0]) for item in table.column("request_id").to_pylist()]
    at = table.schema.get_field_index("block")
    field = pa.field("block", pa.int32())
    pq.write_table(table.set_column(at, field, pa.array(numbers, pa.int32())), path)
    return run_dir
