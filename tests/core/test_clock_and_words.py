"""The clock's anchor and the order of verdicts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import WallAnchor, milliseconds
from firsttoken.core.words import EXIT_CODE, VERDICT_ORDER, ExitCode, Verdict, worst


def test_an_anchor_turns_monotonic_time_into_wall_time() -> None:
    anchor = WallAnchor.now()
    assert abs(anchor.wall_ns(time.monotonic_ns()) - time.time_ns()) < 1_000_000_000
    assert WallAnchor(100, 5_000_000_000).wall_ns(350) == 5_000_000_250
    assert WallAnchor(0, 0).isoformat() == "1970-01-01T00:00:00+00:00"


def test_milliseconds_of_missing_stamps_are_missing() -> None:
    assert milliseconds(1_000_000, 3_500_000) == 2.5
    assert milliseconds(None, 1) is None
    assert milliseconds(1, None) is None


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_the_worst_verdict_wins(verdicts: list[Verdict]) -> None:
    found = worst(verdicts)
    assert found in verdicts
    assert all(VERDICT_ORDER.index(found) <= VERDICT_ORDER.index(other) for other in verdicts)


def test_nothing_shown_is_inconclusive() -> None:
    assert worst([]) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("verdict", "code"), [("PASS", 0), ("FAIL", 1), ("INCONCLUSIVE", 3), ("UNTRUSTED", 4)]
)
def test_exit_codes(verdict: str, code: int) -> None:
    assert EXIT_CODE[Verdict(verdict)] is ExitCode(code)
