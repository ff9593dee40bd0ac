"""Targets, intervals and circumstances to verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.words import VERDICT_ORDER, Verdict
from reports import verdict
from reports.statistics import Estimate
from tests.reports.runs import CALIBRATED, calibrated

SLO = slo_room.Slo()
MINIMUMS = verdict.minimum_samples(SLO)


def made(
    name: str, value: float | None, low: float | None, high: float | None, n: int = 500
) -> verdict.Check:
    target = {"ttft_p95_ms": 400.0, "error_rate": 0.02, "availability": 0.999}[name]
    return verdict.check(
        name,
        Estimate(value, low, high, n),
        target,
        minimum=MINIMUMS[name],
        arm="hybrid",
        step_users=20,
        judged=True,
    )


@pytest.mark.parametrize(
    ("name", "low", "high", "n", "expected"),
    [
        ("ttft_p95_ms", 300.0, 380.0, 500, Verdict.PASS),
        ("ttft_p95_ms", 300.0, 400.0, 500, Verdict.PASS),
        ("ttft_p95_ms", 300.0, 400.1, 500, Verdict.INCONCLUSIVE),
        ("ttft_p95_ms", 400.0, 500.0, 500, Verdict.INCONCLUSIVE),
        ("ttft_p95_ms", 400.1, 500.0, 500, Verdict.FAIL),
        ("ttft_p95_ms", 450.0, math.inf, 500, Verdict.FAIL),
        ("ttft_p95_ms", math.inf, math.inf, 500, Verdict.FAIL),
        ("ttft_p95_ms", 300.0, None, 60, Verdict.INCONCLUSIVE),
        ("ttft_p95_ms", 300.0, 310.0, 71, Verdict.INCONCLUSIVE),
        ("ttft_p95_ms", 4_000.0, 5_000.0, 71, Verdict.INCONCLUSIVE),
        ("ttft_p95_ms", 300.0, 310.0, 72, Verdict.PASS),
        ("ttft_p95_ms", None, None, 0, Verdict.INCONCLUSIVE),
        ("error_rate", 0.0, 0.0199, 500, Verdict.PASS),
        ("error_rate", 0.0, 0.02, 500, Verdict.INCONCLUSIVE),
        ("error_rate", 0.02, 0.05, 500, Verdict.FAIL),
        ("error_rate", None, None, 0, Verdict.INCONCLUSIVE),
        ("availability", 0.999, 1.0, 4_000, Verdict.PASS),
        ("availability", 0.99, 1.0, 4_000, Verdict.INCONCLUSIVE),
        ("availability", 0.98, 0.99, 4_000, Verdict.FAIL),
        ("availability", 0.9991, 1.0, 2_999, Verdict.INCONCLUSIVE),
    ],
)
def test_interval_against_target(
    name: str, low: float | None, high: float | None, n: int, expected: Verdict
) -> None:
    assert made(name, low, low, high, n).verdict is expected


def test_sentences_say_what_was_measured_and_why_it_is_doubtful() -> None:
    def say(check: verdict.Check) -> str:
        return verdict.sentence(check, MINIMUMS[check.name])

    assert say(made("ttft_p95_ms", 465.0, 430.0, 510.0, 212)) == (
        "hybrid, 20 users: TTFT p95 465.0 ms (430.0..510.0), target at most 400 ms, n=212"
    )
    assert "too few requests, 72 needed" in say(made("ttft_p95_ms", 300.0, None, None, 9))
    assert "straddles" in say(made("ttft_p95_ms", 380.0, 350.0, 430.0))
    assert say(made("error_rate", None, None, None, 0)).endswith("not measured, n=0")
    assert "never (430.0..∞)" in say(made("ttft_p95_ms", math.inf, 430.0, math.inf))


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        (["remote_only", "hybrid"], "hybrid"),
        (["target"], "target"),
        (["local_only", "remote_only"], None),
    ],
)
def test_judged_arm(arms: list[str], expected: str | None) -> None:
    assert verdict.judged_arm(arms) == expected


def test_calibration_that_vouches() -> None:
    assert verdict.calibration_faults(calibrated(), 20, SLO) == []
    assert verdict.calibration_faults(calibrated(), 5, SLO) == []


@pytest.mark.parametrize(
    ("calibrations", "users", "words"),
    [
        ([], 20, "never"),
        ([CALIBRATED], 50, "only at 20 users, needed at 50 users"),
        ([CALIBRATED], 20, "not calibrated after the measurement"),
        ([replace(CALIBRATED, when="after")], 20, "not calibrated before the measurement"),
        (calibrated(error_p99_ms=5.1), 20, "own error was p99 5.1 ms at 20 users"),
        ([CALIBRATED, replace(CALIBRATED, when="after", error_p99_ms=9.0)], 20, "after"),
        (calibrated(error_p99_ms=math.nan), 20, "own error"),
        (calibrated(requests=0, error_p99_ms=0.0), 20, "holds no request"),
        ([replace(CALIBRATED, users=300)], 250, "no budget"),
        # The stored budget does not count: it could be anything.
        (calibrated(error_p99_ms=7.0, budget_p99_ms=99.0), 20, "budget 3 ms"),
    ],
)
def test_calibration_that_does_not_vouch(calibrations, users: int, words: str) -> None:  # type: ignore[no-untyped-def]
    faults = verdict.calibration_faults(calibrations, users, SLO)
    assert 1 <= len(faults) <= 2
    assert all(words in fault for fault in faults)


def test_budget_is_that_of_the_users_calibrated() -> None:
    at_200 = calibrated(users=200, error_p99_ms=14.0)
    assert verdict.calibration_faults(at_200, 150, SLO) == []
    # At 20 users its own calibration counts, not the one at 200.
    assert verdict.calibration_faults([*calibrated(), *at_200], 20, SLO) == []


def test_disturbed_host() -> None:
    assert verdict.host_faults(0.05, 0.05) == []
    assert verdict.host_faults(None, None) == []
    assert "7.00 %" in verdict.host_faults(0.07, 0.0, 20)[0]
    assert "quota" in verdict.host_faults(0.0, 0.2)[0]


def test_faults_make_every_verdict_untrusted() -> None:
    checks = [made("ttft_p95_ms", 300.0, 290.0, 310.0), made("error_rate", 0.5, 0.4, 0.6)]
    settled = verdict.settle(checks, ["x"], finished=True)
    assert {check.verdict for check in settled} == {Verdict.UNTRUSTED}
    result, reasons = verdict.conclude(settled, ["the clock was off"], MINIMUMS)
    assert result is Verdict.UNTRUSTED
    assert reasons[-1] == "UNTRUSTED: the clock was off"


def test_an_unfinished_run_fails_but_never_passes() -> None:
    good, bad = made("ttft_p95_ms", 300.0, 290.0, 310.0), made("error_rate", 0.5, 0.4, 0.6)
    settled = verdict.settle([good, bad], [], finished=False)
    assert [check.verdict for check in settled] == [Verdict.INCONCLUSIVE, Verdict.FAIL]
    assert "cut short" in verdict.sentence(settled[0], 72)


def test_run_verdict_is_the_worst_judged_and_stands_last() -> None:
    good, bad = made("error_rate", 0.0, 0.0, 0.01), made("ttft_p95_ms", 465.0, 430.0, 510.0)
    informs = replace(bad, judged=False)
    assert verdict.conclude([good, informs], [], MINIMUMS)[0] is Verdict.PASS
    result, reasons = verdict.conclude([bad, good], [], MINIMUMS)
    assert result is Verdict.FAIL
    assert reasons[-1].startswith("FAIL: hybrid, 20 users: TTFT p95 465.0 ms")
    assert reasons[0].startswith("PASS")


def test_nothing_judged_is_inconclusive() -> None:
    result, reasons = verdict.conclude([], [], MINIMUMS)
    assert result is Verdict.INCONCLUSIVE
    assert "none of them hybrid" in reasons[-1]


def test_every_verdict_has_a_place() -> None:
    assert set(verdict._BEST_FIRST) == set(VERDICT_ORDER)
