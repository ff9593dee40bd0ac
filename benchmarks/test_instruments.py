"""What the metrics cost: of one request with everything that is counted, and of one scrape.

The instruments are held to 15 us a request; on a slow or busy machine compare only within one run.
"""

from __future__ import annotations

from typing import Any

from firsttoken.core.catalogue import TokenType
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Outcome, Reason, Tier
from router.meters import Meters
from router.policy.plan import Rules

REQUESTS = 1_000
BUDGET_US = 15.0

RULES = Rules(
    (
        Backend("local", Tier.LOCAL, "http://127.0.0.1:9", "openai", "local-model"),
        Backend("qwen_cloud", Tier.REMOTE, "http://127.0.0.1:9", "openai", "qwen-flash"),
        Backend("openai_backup", Tier.REMOTE, "http://127.0.0.1:9", "openai", "gpt-4o-mini"),
    )
)


def enter(meters: Meters) -> None:
    """Enter one streamed request that the local backend served, as the account does it."""
    tier, backend, model = Tier.LOCAL, "local", "local-model"
    meters.model_label(model)
    meters.decisions(tier, Reason.DEFAULT_LOCAL).inc()
    meters.in_flight(backend).inc()
    meters.queue(backend).observe(0.001)
    meters.backend_ttft(backend, model).observe(0.21)
    meters.ttft(tier, backend, model).observe(0.22)
    meters.cost(backend).inc(0.0)
    for kind in TokenType:
        meters.tokens(backend, model, kind).inc(7)
    meters.tpot(tier, backend).observe(0.04)
    meters.in_flight(backend).dec()
    meters.attempts(backend, model, Outcome.SUCCESS).inc()
    meters.requests(tier, backend, model, Outcome.SUCCESS).inc()
    meters.duration(tier, Outcome.SUCCESS).observe(0.6)


def test_instruments_of_a_thousand_requests(benchmark: Any) -> None:
    meters = Meters(RULES)

    def all_of_them() -> None:
        for _ in range(REQUESTS):
            enter(meters)

    benchmark(all_of_them)
    best_us = 1e6 * benchmark.stats.stats.min / REQUESTS
    print(f"\ninstruments: {best_us:.1f} us a request (budget {BUDGET_US:g} us)")
    assert best_us < 2 * BUDGET_US  # loosely: the machine may be busy


def test_a_scrape(benchmark: Any) -> None:
    meters = Meters(RULES)
    enter(meters)
    assert b"llm_requests_total" in benchmark(meters.render)
