"""For every alert: what makes it fire, and what lies just below each of its thresholds.

The figures stand within a fifth of the thresholds on both sides, so that a threshold that is off
by a fifth is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.dashboards.rules.promtool import Level, Rate, Signal, level

LOCAL: Signal = {'llm_backend_info{backend="local", tier="local"}': level(1)}
REMOTE: Signal = {'llm_backend_info{backend="cloud", tier="remote"}': level(1)}
ROUTER = 'job="firsttoken-router", instance="router:8080"'


@dataclass(frozen=True)
class Subject:
    """One rule under test."""

    alert: str
    fires: Signal
    quiet: tuple[Signal, ...]
    """Each is below one threshold and beyond all others; the first is taken for what follows
    once the trouble has ended."""
    found: Mapping[str, str] = field(default_factory=dict)
    """Labels that come from the result of the query."""
    window: str = ""
    """The label of that name, where several rules bear one name."""
    minutes: int = 5
    """Length of the longest window of the query."""
    fires_when_missing: Mapping[str, str] | None = None
    """Labels of the alert that fires when no series is there at all."""
    recorded: bool = False
    """The signal is what recording rules make of traffic: without traffic it is not there."""


def first_tokens(metric: str, labels: str, per_minute: float, below: float, upto: float) -> Signal:
    """Nine tenths of first tokens end exactly by ``below`` seconds, the rest by ``upto``: the 95th
    percentile lies half-way between the two."""
    nine_tenths, every = Rate(per_minute * 0.9), Rate(per_minute)
    return {
        f'{metric}_bucket{{{labels}, le="{below}"}}': nine_tenths,
        f'{metric}_bucket{{{labels}, le="{upto}"}}': every,
        f'{metric}_bucket{{{labels}, le="+Inf"}}': every,
        f"{metric}_count{{{labels}}}": every,
    }


def attempts(per_minute: float, failed: float) -> Signal:
    """Local attempts, ``failed`` of them as a share of those that were not cancelled."""
    series = 'llm_attempts_total{{backend="local", model="m", outcome="{}"}}'
    return {
        **LOCAL,
        series.format("success"): Rate(per_minute * (1 - failed)),
        series.format("error"): Rate(per_minute * failed / 2),
        series.format("timeout"): Rate(per_minute * failed / 4),
        series.format("rejected"): Rate(per_minute * failed / 4),
        # Whoever hangs up is no failure and no success.
        series.format("cancelled"): Rate(per_minute),
    }


def local_first_tokens(per_minute: float, below: float, upto: float) -> Signal:
    labels = 'backend="local", model="m"'
    metric = "llm_backend_time_to_first_token_seconds"
    return {
        **LOCAL,
        **REMOTE,
        **first_tokens(metric, labels, per_minute, below, upto),
        # A remote backend that is always slow must not count.
        **first_tokens(metric, 'backend="cloud", model="c"', 100, 3.0, 5.0),
    }


def requests(per_minute: float, local: float) -> Signal:
    """Answered requests, ``local`` of them as a share."""
    series = 'llm_requests_total{{tier="{0}", backend="{0}", model="m", outcome="success"}}'
    return {
        series.format("local"): Rate(per_minute * local),
        series.format("remote"): Rate(per_minute * (1 - local)),
        series.format("cache"): Rate(1),
    }


def fallbacks(per_minute: float, moved: float) -> Signal:
    pair = 'from="{}", to="{}", error_type="connect"'
    return {
        **attempts(per_minute, 0.0),
        **REMOTE,
        f"llm_fallbacks_total{{{pair.format('local', 'cloud')}}}": Rate(per_minute * moved),
        f"llm_fallbacks_total{{{pair.format('cloud', 'local')}}}": Rate(100),
    }


def ratings(per_hour: float, stars: float) -> Signal:
    """Ratings of 1 and 5 alone, whose mean is ``stars``: most ratings were never given."""
    best = (stars - 1) / 4
    return {
        'llm_user_feedback_total{rating="1"}': Rate(per_hour / 60 * (1 - best)),
        'llm_user_feedback_total{rating="5"}': Rate(per_hour / 60 * best),
    }


def conversations(per_hour: float, completed: float) -> Signal:
    return {
        'llm_conversations_ended_total{end="completed"}': Rate(per_hour / 60 * completed),
        'llm_conversations_ended_total{end="abandoned"}': Rate(per_hour / 60 * (1 - completed)),
    }


def memory(share: float) -> Signal:
    return {
        f"llm_memory_unreclaimable_bytes{{{ROUTER}}}": level(share * 1000),
        f"llm_memory_limit_bytes{{{ROUTER}}}": level(1000),
    }


def processor(share: float) -> Signal:
    return {
        f'llm_process_cpu_seconds_total{{{ROUTER}, component="engine"}}': Rate(60 * 2 * share),
        f"llm_cpu_limit_cores{{{ROUTER}}}": level(2),
    }


def throughput(per_minute: float, tokens_per_second: float) -> Signal:
    return {
        **attempts(per_minute, 0.0),
        'llm_tokens_total{backend="local", model="m", type="output"}': Rate(60 * tokens_per_second),
        'llm_tokens_total{backend="local", model="m", type="input"}': Rate(60_000),
    }


def backend_up(backend: str, *values: float) -> Signal:
    return {
        f'llm_backend_up{{backend="{backend}", {ROUTER}}}': Level(values),
        **LOCAL,
        **REMOTE,
    }


def late(long: str, short: str, long_share: float, short_share: float, bad: float) -> Signal:
    name = "job:llm_ttft_within_target:ratio_rate"
    job = '{job="firsttoken-router"}'
    return {
        f"{name}{long}{job}": level(1 - long_share),
        f"{name}{short}{job}": level(1 - short_share),
        f"job:llm_ttft_late:increase{long}{job}": level(bad),
    }


def failing(long: str, short: str, long_share: float, short_share: float, bad: float) -> Signal:
    name = "job:llm_requests_failed:ratio_rate"
    job = '{job="firsttoken-router"}'
    return {
        f"{name}{long}{job}": level(long_share),
        f"{name}{short}{job}": level(short_share),
        f"job:llm_requests_failed:increase{long}{job}": level(bad),
    }


def burns(factors: Mapping[tuple[str, str], float]) -> tuple[Subject, ...]:
    """Both budgets: 5 % of first tokens may be late, 0.1 % of requests may fail."""
    made = []
    for name, budget, signal in (
        ("LLMTTFTBudgetBurn", 0.05, late),
        ("LLMErrorBudgetBurn", 0.001, failing),
    ):
        for (long, short), factor in factors.items():
            over, under = factor * budget * 1.1, factor * budget * 0.9
            made.append(
                Subject(
                    name,
                    signal(long, short, over, over, 5),
                    (
                        signal(long, short, over, under, 5),
                        signal(long, short, under, over, 5),
                        signal(long, short, over, over, 4),
                    ),
                    {"job": "firsttoken-router"},
                    window=long,
                    recorded=True,
                )
            )
    return tuple(made)


def target(job: str, up: float) -> Signal:
    return {f'up{{job="{job}", instance="a"}}': level(up)}


def failed_action(per_minute: float) -> Signal:
    series = 'llm_alert_actions_total{{action="restart_service", result="{}"}}'
    return {series.format("failed"): Rate(per_minute), series.format("succeeded"): Rate(1)}


DEFAULT_SUBJECTS = (
    Subject(
        "LLMHighLocalResponseTime",
        local_first_tokens(4.4, 0.5, 0.6),
        (local_first_tokens(4.4, 0.45, 0.5), local_first_tokens(3.6, 0.5, 0.6)),
    ),
    Subject(
        "LLMHighLocalErrorRate",
        attempts(4.4, 0.055),
        (attempts(4.4, 0.045), attempts(3.6, 0.055)),
    ),
    Subject("LLMHighMemoryUsage", memory(0.9), (memory(0.8),)),
    *burns({("1h", "5m"): 14.4, ("6h", "30m"): 6, ("1d", "2h"): 3, ("3d", "6h"): 1}),
    Subject(
        "LLMLocalBackendDown",
        {**backend_up("local", 0), **backend_up("cloud", 1)},
        (backend_up("local", 1), backend_up("cloud", 0)),
        {"backend": "local"},
    ),
    Subject(
        "LLMRemoteBackendDown",
        {**backend_up("cloud", 0), **backend_up("local", 1)},
        (
            backend_up("cloud", 1),
            backend_up("local", 0),
            # The settings no longer name it.
            {
                **backend_up("cloud", 0),
                'llm_backend_info{backend="cloud", tier="remote"}': level(0),
            },
        ),
        {"backend": "cloud"},
    ),
    Subject(
        "LLMBreakerFlapping",
        backend_up("local", *(1, 1, 1, 1, 0) * 20),
        (backend_up("local", 1, 0, 1, 0, 1, 0), backend_up("local", 0)),
        {"backend": "local"},
        minutes=15,
    ),
    Subject(
        "LLMLocalShareLow",
        requests(22 / 15, 0.36),
        (requests(22 / 15, 0.44), requests(18 / 15, 0.36)),
        minutes=15,
    ),
    Subject(
        "LLMFallbackStorm",
        fallbacks(4.4, 0.22),
        (fallbacks(4.4, 0.18), fallbacks(3.6, 0.22)),
        {"backend": "local"},
    ),
    Subject(
        "LLMSatisfactionDrop",
        ratings(22, 3.2),
        (ratings(22, 3.8), ratings(18, 3.2)),
        minutes=60,
    ),
    Subject(
        "LLMRouterAbsent",
        target("firsttoken-router", 0),
        (target("firsttoken-router", 1),),
        {"job": "firsttoken-router", "instance": "a"},
        fires_when_missing={"job": "firsttoken-router"},
    ),
    Subject(
        "LLMExporterAbsent",
        target("firsttoken-exporter", 0),
        (target("firsttoken-exporter", 1),),
        {"job": "firsttoken-exporter", "instance": "a"},
        fires_when_missing={"job": "firsttoken-exporter"},
    ),
    Subject(
        "LLMMemoryPressure",
        {f'llm_memory_pressure_ratio{{{ROUTER}, kind="full"}}': level(0.11)},
        (
            {
                f'llm_memory_pressure_ratio{{{ROUTER}, kind="full"}}': level(0.09),
                f'llm_memory_pressure_ratio{{{ROUTER}, kind="some"}}': level(0.9),
            },
        ),
    ),
    Subject(
        "LLMActionFailed",
        failed_action(0.1),
        (failed_action(0),),
        {"failed_action": "restart_service"},
        minutes=15,
    ),
    Subject(
        "LLMLoadTestRunning",
        {'llm_load_test_run_info{run_id="r", scenario="steps"}': level(1)},
        ({'llm_load_test_run_info{run_id="r", scenario="steps"}': level(0)},),
        {"scenario": "steps"},
    ),
    Subject("Watchdog", {}, (), fires_when_missing={}),
)
"""One for each rule that the packaged settings make."""

EVERY_METRIC = (
    ("local_model_response_time", "> 500ms", "investigate_performance"),
    ("local_model_throughput", "< 20 tokens/s", "investigate_performance"),
    ("local_model_error_rate", ">= 10%", "hybrid_mode"),
    ("memory_usage", "> 70%", "restart_service"),
    ("cpu_usage", "> 90%", "reduce_local_traffic"),
    ("local_vs_remote_ratio", "< 0.5", "investigate_performance"),
    ("user_satisfaction_score", "< 80%", "investigate_performance"),
    ("first_response_time", "> 400ms", "switch_to_remote"),
    ("conversation_completion_rate", "<= 80%", "investigate_performance"),
)
"""Alerts as a person may write them into the settings: one on each of the guide's metrics."""

DELIVERED = 'tier="local", backend="local", model="m"'

WRITTEN_SUBJECTS = (
    DEFAULT_SUBJECTS[0],
    Subject(
        "LLMLowLocalThroughput",
        throughput(4.4, 18),
        (throughput(4.4, 22), throughput(3.6, 18)),
    ),
    Subject(
        "LLMHighLocalErrorRate",
        attempts(4.4, 0.105),
        (attempts(4.4, 0.095), attempts(3.6, 0.105)),
    ),
    Subject("LLMHighMemoryUsage", memory(0.75), (memory(0.65),)),
    Subject("LLMHighCpuUsage", processor(0.95), (processor(0.85),), minutes=1),
    Subject(
        "LLMLocalRatioOffTarget", requests(4.4, 0.45), (requests(4.4, 0.55), requests(3.6, 0.45))
    ),
    Subject(
        "LLMLowUserSatisfaction",
        ratings(22, 3.6),
        (ratings(22, 4.4), ratings(18, 3.6)),
        minutes=60,
    ),
    Subject(
        "LLMHighFirstResponseTime",
        first_tokens("llm_time_to_first_token_seconds", DELIVERED, 4.4, 0.4, 0.45),
        (
            first_tokens("llm_time_to_first_token_seconds", DELIVERED, 4.4, 0.35, 0.4),
            first_tokens("llm_time_to_first_token_seconds", DELIVERED, 3.6, 0.4, 0.45),
        ),
    ),
    Subject(
        "LLMLowConversationCompletion",
        conversations(22, 0.75),
        (conversations(22, 0.85), conversations(18, 0.75)),
        minutes=60,
    ),
)
"""One for each of :data:`EVERY_METRIC`."""
