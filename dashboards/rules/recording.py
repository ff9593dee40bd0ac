"""Recording rules: the guide's nine figures under the guide's names, and our own, named
``level:metric:operations``."""

from __future__ import annotations

from dashboards.metrics import TTFT
from dashboards.promql import duration, over, quantile, series, total
from dashboards.rules import terms
from dashboards.rules.model import HOUR, USUAL, Group, Pace, Recording
from dashboards.rules.windows import MONTH, WindowSet
from firsttoken.core.slo import Slo

SLOW_INTERVAL = 120
"""Seconds between evaluations of windows of hours. A figure must not grow older than five minutes,
after which Prometheus takes it for gone."""

OPINION = HOUR
"""Window of what people say and of how their conversations end; both are rare."""

GUIDE_NAMES = (
    "local_model_response_time",
    "local_model_throughput",
    "local_model_error_rate",
    "memory_usage",
    "cpu_usage",
    "local_vs_remote_ratio",
    "user_satisfaction_score",
    "first_response_time",
    "conversation_completion_rate",
)
"""Names of the guide's ``monitoring_metrics``."""


def within_target(span: int) -> str:
    """Return the name of the share of first tokens within the target over ``span`` seconds."""
    return f"job:llm_ttft_within_target:ratio_rate{duration(span)}"


def late(span: int) -> str:
    """Return the name of the number of late first tokens in ``span`` seconds."""
    return f"job:llm_ttft_late:increase{duration(span)}"


def failed_share(span: int) -> str:
    """Return the name of the share of requests that failed the user over ``span`` seconds."""
    return f"job:llm_requests_failed:ratio_rate{duration(span)}"


def failed(span: int) -> str:
    """Return the name of the number of requests that failed the user in ``span`` seconds."""
    return f"job:llm_requests_failed:increase{duration(span)}"


def groups(slo: Slo, windows: WindowSet = MONTH, pace: Pace = USUAL) -> tuple[Group, ...]:
    """Return every recording rule.

    Raises:
        UserError: the target of the first token is no edge of a bucket.
    """
    recent, target = pace.recent, slo.ttft_p95_ms / 1000
    spans = sorted({recent, *windows.spans()})
    short = tuple(rule for span in spans if span < HOUR for rule in _budget(target, span, windows))
    long = tuple(rule for span in spans if span >= HOUR for rule in _budget(target, span, windows))
    buckets = total(over("rate", series(TTFT, part="_bucket"), recent), "tier", "le")
    by_tier = tuple(
        Recording(f"tier:{TTFT.name}:{name}_{duration(recent)}", quantile(share, buckets))
        for name, share in (("p50", 0.5), ("p95", 0.95))
    )
    return (
        Group("firsttoken-guide", _guide(recent)),
        Group("firsttoken-first-token", by_tier),
        Group("firsttoken-budgets-short", short),
        Group("firsttoken-budgets-long", long, SLOW_INTERVAL),
    )


def _guide(recent: int) -> tuple[Recording, ...]:
    queries = (
        terms.local_response_time(recent),
        terms.local_throughput(recent),
        terms.local_error_rate(recent),
        terms.memory_share(),
        terms.cpu_share(min(recent, 60)),
        terms.local_share(recent),
        terms.satisfaction(OPINION),
        terms.first_response_time(recent),
        terms.completion_rate(OPINION),
    )
    return tuple(Recording(name, query) for name, query in zip(GUIDE_NAMES, queries, strict=True))


def _budget(target: float, span: int, windows: WindowSet) -> tuple[Recording, ...]:
    shares = (
        Recording(within_target(span), terms.within_target(target, span)),
        Recording(failed_share(span), terms.failed_share(span)),
    )
    if span not in {each.long for each in windows.windows}:
        return shares
    return (
        *shares,
        Recording(late(span), terms.late(target, span)),
        Recording(failed(span), terms.failed(span)),
    )
