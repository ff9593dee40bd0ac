"""First tokens counted in buckets, held against the sorted values and the report's own rules."""

from __future__ import annotations

import math

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.words import ErrorType, Verdict
from firsttoken.load.exchange import Exchange
from firsttoken.load.first_token import (
    ALL,
    DIRECT,
    FELT,
    LAST_BUCKET_MS,
    FirstTokens,
    Goal,
    Tally,
    judge,
)
from firsttoken.wire.events import End, Reasoning, Text, ToolArgument
from reports import statistics

GOAL = Goal(400.0, statistics.minimum_n(0.95))
TTFTS = st.lists(st.floats(0, 5000), max_size=300)


def tally_of(ttfts: list[float], failed: int = 0) -> Tally:
    tally = Tally(failed=failed)
    for ttft_ms in ttfts:
        tally.add(ttft_ms)
    return tally


def exchange(
    ttft_ms: float | None, *, tier: str | None = "local", reason: str | None = "rule_simple"
) -> Exchange:
    """Return a request planned 100 ms before it was sent; None: it failed."""
    done = Exchange("one", 0)
    done.t_send_ns = 100 * NS_PER_MS
    done.tier, done.reason, done.conn_reused = tier, reason, True
    if ttft_ms is None:
        done.fail(ErrorType.HTTP_5XX, "no", 200 * NS_PER_MS)
    else:
        t_ns = done.t_send_ns + round(ttft_ms * NS_PER_MS)
        done.take(Text(t_ns, "Hello."))
        done.take(End(t_ns, "stop"))
    return done


@given(TTFTS, st.integers(0, 30), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_the_sorted_one_rounded_up(
    ttfts: list[float], failed: int, share: float
) -> None:
    found = tally_of(ttfts, failed).quantile(share)
    true = statistics.quantile([*ttfts, *[math.inf] * failed], share).value if share < 1 else None
    if share == 1.0 and ttfts:
        true = math.inf if failed else max(ttfts)
    if true is None:
        assert found is None or (math.isinf(found) and failed)
    else:
        assert found == (true if math.isinf(true) else math.ceil(true))


@given(TTFTS, st.integers(1, 1000))
def test_the_share_within_a_whole_number_is_exact(ttfts: list[float], target: int) -> None:
    assert tally_of(ttfts).within(target) == sum(ttft <= target for ttft in ttfts)


def test_memory_is_bounded_whatever_comes() -> None:
    tally = tally_of([float(ttft_ms) for ttft_ms in range(0, 300_000, 2)])
    assert len(tally.buckets) <= LAST_BUCKET_MS + 1
    tokens = FirstTokens()
    for number in range(1000):
        tokens.take(exchange(5, reason=f"invented_{number}"))
    assert tokens.names() == [("tier", "local"), ("reason", "other"), ("kind", "text")]


@given(st.integers(1, 3000), st.floats(0, 0.2))
def test_the_verdict_is_the_report_s(n: int, late_share: float) -> None:
    late = round(n * late_share)
    values = np.array([100.0] * (n - late) + [500.0] * late)
    estimate = statistics.quantile(values, 0.95)
    expected = Verdict.INCONCLUSIVE
    if n >= GOAL.minimum_n and estimate.ci_high is not None and estimate.ci_high <= 400:
        expected = Verdict.PASS
    elif n >= GOAL.minimum_n and estimate.ci_low is not None and estimate.ci_low > 400:
        expected = Verdict.FAIL
    found = judge(tally_of([100.0] * (n - late) + [500.0] * late), GOAL)
    # Beyond 2,000 the normal curve stands in: one request more or less may tip it.
    nearly = {judge(tally_of([100.0] * (n - k) + [500.0] * k), GOAL) for k in (late - 1, late + 1)}
    assert found == expected or (n > 2000 and expected in nearly)


def test_failures_count_as_late() -> None:
    assert judge(tally_of([100.0] * 200), GOAL) is Verdict.PASS
    assert judge(tally_of([100.0] * 200, failed=50), GOAL) is Verdict.FAIL


def test_what_workers_counted_adds_up() -> None:
    whole, master = FirstTokens(), FirstTokens()
    workers = [FirstTokens(), FirstTokens()]
    for number in range(60):
        done = exchange(number * 7.3 if number % 7 else None, tier=["local", "remote"][number % 2])
        whole.take(done)
        workers[number % 2].take(done)
        if number % 20 == 19:
            for worker in workers:
                # The wire that Locust's workers and master talk over.
                message = msgpack.unpackb(msgpack.packb(worker.drain()), strict_map_key=False)
                master.merge(message)
    assert master.names() == whole.names()
    for key in (ALL, FELT, *whole.names()):
        assert master.get(key) == whole.get(key)
    assert whole.get(ALL).n == 60


def test_what_is_told_apart() -> None:
    tokens = FirstTokens()
    tokens.take(exchange(50))
    tokens.take(exchange(None, tier=None, reason=None))
    thinking, calling = Exchange("two", 0), Exchange("three", 0)
    for done, event in (
        (thinking, Reasoning(30 * NS_PER_MS, "hm")),
        (calling, ToolArgument(40 * NS_PER_MS, 0, "id", "light", "{")),
    ):
        done.t_send_ns, done.tier = 0, "remote"
        done.take(event)
        done.take(Text(90 * NS_PER_MS, "Yes."))
        done.take(End(95 * NS_PER_MS, "stop"))
        tokens.take(done)
    assert tokens.names() == [
        *[("tier", name) for name in ("local", "remote", DIRECT)],
        ("reason", "rule_simple"),
        *[("kind", name) for name in ("reasoning", "text", "tool")],
    ]
    assert tokens.get(("kind", "reasoning")).quantile(0.5) == 30
    assert tokens.get(("kind", "tool")).quantile(0.5) == 40
    assert tokens.get(ALL).quantile(0.5) == 40
    # 50 ms after it was sent, 150 ms after it was planned.
    assert tokens.get(FELT).within(149) == 2
    assert tokens.get(ALL).failed == tokens.get(("tier", DIRECT)).failed == 1


@pytest.mark.parametrize("kind", ["text", "reasoning", "tool"])
def test_an_empty_table_says_nothing(kind: str) -> None:
    assert FirstTokens().get(("kind", kind)).quantile(0.95) is None
