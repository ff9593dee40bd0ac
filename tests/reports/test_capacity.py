"""The answer of a search: kept whole, said in words, judged with its clock."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict
from reports import build, capacity, figures, terminal, write
from reports.capacity import Capacity, Of, carried, factor, factor_sentence
from reports.limits import Limit, Resource
from reports.search import Look, Search
from tests.reports import runs
from tests.reports.runs import CALIBRATED, Block

SLO = slo_room.load(None)
SEARCH = Search(target_ms=400, error_target=0.02, minimum=72, start=4, cap=200)


def history(capacity_of_it: int, *loads: int) -> list[Look]:
    """Two looks at each load: far within the target up to the capacity, never after it."""
    delays = {True: np.full(120, 200.0), False: np.full(120, math.inf)}
    return [
        Look(load, delays[load <= capacity_of_it], 120, 0, block=number)
        for number, load in enumerate(load for load in loads for _ in range(2))
    ]


def answer() -> Capacity:
    target = replace(
        carried("target", history(20, 10, 20, 21), SEARCH, in_time=True),
        limit=Limit(Resource.PROCESSOR, "the engine used 1.99 of 2 cores", ("memory: 95 %",)),
    )
    against = carried("against", history(5, 5, 6), SEARCH, in_time=True)
    return Capacity(
        Of.DEVICES, "sessions", 400.0, 0.02, (target, against), (factor(target, against),)
    )


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert capacity.read(tmp_path) is None
    capacity.write(answer(), tmp_path)
    found = capacity.read(tmp_path)
    assert found is not None
    assert [item.levels[-1].p95.value for item in found.arms] == [math.inf, math.inf]
    capacity.write(found, tmp_path)
    assert capacity.read(tmp_path) == found


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 9}'])
def test_what_is_no_answer_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / capacity.FILE).write_text(content)
    with pytest.raises(UserError, match=r"capacity\.json"):
        capacity.read(tmp_path)


def test_it_is_said_in_words() -> None:
    found = answer()
    line = found.sentence(found.arms[0])
    assert line.startswith("target carries 20 devices within TTFT p95 400 ms and 2 % errors; ")
    assert "21 devices is too many" in line
    assert line.endswith("Limited by: processor (the engine used 1.99 of 2 cores)")
    assert "[3.33, 4.20]" in factor_sentence(found.factors[0])


def test_an_end_that_is_missing_is_open() -> None:
    known = carried("target", history(20, 10, 20, 21), SEARCH, in_time=True)
    open_above = carried("against", history(200, 100, 200), SEARCH, in_time=True)
    nothing = carried("against", [], SEARCH, in_time=True)
    assert "[0, 0.1" in factor_sentence(factor(known, open_above))
    assert "cannot be compared" in factor_sentence(factor(known, nothing))
    assert nothing.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("error_p99_ms", "verdict"), [(1.0, Verdict.PASS), (99.0, Verdict.UNTRUSTED)]
)
def test_the_report_gives_the_answer_for_the_verdict(
    tmp_path: Path, error_p99_ms: float, verdict: Verdict
) -> None:
    blocks = [Block("target", 21, runs.lognormal(900, 100)), Block("against", 6, [500.0] * 90)]
    # A search begins with few talkers: what vouches for the most of them comes after.
    clock = [
        replace(CALIBRATED, users=4),
        replace(CALIBRATED, users=21, error_p99_ms=error_p99_ms, when="after"),
    ]
    runs.write(tmp_path, blocks, with_attempts=False, calibration=clock)
    capacity.write(answer(), tmp_path)
    report = build.report(tmp_path, SLO)
    assert report.verdict is verdict
    assert not any(check.judged for check in report.checks)
    shown = terminal.table(report)
    assert "target carries" in shown
    assert max(map(len, shown.splitlines())) <= terminal.WIDTH
    suite = write.junit(report)
    assert ('errors="0"' in suite) is (verdict is Verdict.PASS)
    page = write.markdown(report)
    assert "| target | 21 | 2 | 240 | never |" in page
    assert report.as_dict()["capacity"]["arms"][0]["holds"] == 20
    (picture,) = (item for item in figures.PICTURES if item.name == "capacity")
    figure = figures.draw(picture, report, figures.PAGE_WIDTH)
    assert figure is not None
    named = {text.get_text().partition("\n")[0] for text in figure.axes[0].texts}
    assert {"target", "against", "target 400 ms"} <= named
