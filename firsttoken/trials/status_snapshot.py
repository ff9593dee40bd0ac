"""How a router is doing at one moment, made of what it tells of itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from firsttoken.core.catalogue import Action, ConversationEnd, Rating
from firsttoken.core.words import Outcome, Tier

WINDOW_S = 300.0
"""Over which first tokens, requests and the local share are told."""

_FAILED = frozenset({Outcome.ERROR, Outcome.TIMEOUT, Outcome.REJECTED})


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One configured backend."""

    name: str
    tier: str
    model: str
    up: bool
    circuit: str
    in_flight: int
    slots: int | None
    """None where it is not known, or no limit."""
    waiting: int | None
    """In the router's queue before it; None where there is none."""


@dataclass(frozen=True, slots=True)
class FirstTokens:
    """First tokens of one tier, or of ``all``, as handed to clients."""

    tier: str
    n: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class ActionStatus:
    """What became of one kind of action since the router started."""

    action: str
    last_unix_s: float | None
    """When it was last carried out; None: never, or not told."""
    results: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a router at one moment. Memory is in bytes; None is what it does not tell."""

    url: str
    version: str
    unix_s: float
    ready: bool
    mode: str
    backends: tuple[BackendStatus, ...]
    window_s: float
    """How far back requests are told: :data:`WINDOW_S`, or less where the router keeps fewer."""
    first_tokens: tuple[FirstTokens, ...]
    requests: int
    failed: int
    """Of the requests; those that the client cancelled are no failures."""
    cancelled: int
    error_types: Mapping[str, int] = field(default_factory=dict)
    """Of those that failed."""
    local_share: float | None = None
    memory_unreclaimable: int | None = None
    memory_limit: int | None = None
    router_memory: int | None = None
    conversations: Mapping[str, int] = field(default_factory=dict)
    """Ended since the router started, by how."""
    ratings: Mapping[str, int] = field(default_factory=dict)
    actions: tuple[ActionStatus, ...] = ()
    load_test: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is remembered of one request."""

    unix_s: float
    tier: str
    outcome: str
    error_type: str | None
    ttft_ms: float | None


class Samples:
    """The samples of one reading of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self._by_name: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._by_name.setdefault(sample.name, []).append((sample.labels, sample.value))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def of(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of the samples that bear these labels."""
        found = self._by_name.get(name, ())
        return [each for each in found if labels.items() <= each[0].items()]

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of the first sample with these labels; None without one, or for NaN."""
        value = next((value for _, value in self.of(name, **labels)), math.nan)
        return None if math.isnan(value) else value

    def where_set(self, name: str, label: str, **labels: str) -> str | None:
        """Return the ``label`` of the sample that is not 0, as of a metric that tells a state."""
        return next((each[label] for each, value in self.of(name, **labels) if value), None)

    def totals(self, name: str, label: str, **labels: str) -> dict[str, int]:
        """Return the sums by the values of ``label``; those of 0 are left out."""
        totals: Counter[str] = Counter()
        for each, value in self.of(name, **labels):
            totals[each[label]] += int(value)
        return dict(+totals)


def quantile(values: Iterable[float], p: float) -> float:
    """Return the smallest of ``values``, at least one, that a share ``p`` of them does not exceed
    (type 1 of Hyndman and Fan, as in the reports)."""
    ordered = sorted(values)
    rank = math.ceil(len(ordered) * p - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def snapshot(
    url: str,
    samples: Samples,
    health: Mapping[str, Any],
    requests: Iterable[Request],
    *,
    unix_s: float,
    window_s: float = WINDOW_S,
) -> Snapshot:
    """Return the state of a router from what it told of itself.

    Args:
        url: its address.
        samples: its metrics.
        health: its answer at ``/readyz``.
        requests: those that began in the last ``window_s`` seconds.
        unix_s: now.
        window_s: see :attr:`Snapshot.window_s`.
    """
    recent = list(requests)
    failed = [each for each in recent if each.outcome in _FAILED]
    return Snapshot(
        url=url,
        version=samples.where_set("llm_build_info", "version") or "unknown",
        unix_s=unix_s,
        ready=bool(health.get("ready")),
        mode=samples.where_set("llm_mode", "mode") or "unknown",
        backends=_backends(samples, health.get("queues") or {}),
        window_s=window_s,
        first_tokens=_first_tokens(recent),
        requests=len(recent),
        failed=len(failed),
        cancelled=sum(each.outcome == Outcome.CANCELLED for each in recent),
        error_types=dict(Counter(each.error_type or each.outcome for each in failed)),
        local_share=samples.value("llm_local_share_ratio"),
        memory_unreclaimable=_whole(samples.value("llm_memory_unreclaimable_bytes")),
        memory_limit=_whole(samples.value("llm_memory_limit_bytes")),
        router_memory=_whole(
            samples.value("llm_process_resident_memory_bytes", component="router")
        ),
        conversations=_in_order(
            samples.totals("llm_conversations_ended_total", "end"), ConversationEnd
        ),
        ratings=_in_order(samples.totals("llm_user_feedback_total", "rating"), Rating),
        actions=_actions(samples),
        load_test=samples.where_set("llm_load_test_run_info", "run_id"),
    )


def _backends(samples: Samples, queues: Mapping[str, Any]) -> tuple[BackendStatus, ...]:
    """Return the backends that have a circuit; one that a reload took away has none any longer."""
    found = []
    names = dict.fromkeys(each["backend"] for each, _ in samples.of("llm_circuit_state"))
    for name in names:
        circuit = samples.where_set("llm_circuit_state", "state", backend=name)
        if circuit is None:
            continue
        queue = queues.get(name) or {}
        served = samples.of("llm_attempts_total", backend=name)
        found.append(
            BackendStatus(
                name,
                samples.where_set("llm_backend_info", "tier", backend=name) or "",
                # The newest: a reload may have given it another one.
                served[-1][0]["model"] if served else "",
                bool(samples.value("llm_backend_up", backend=name)),
                circuit,
                int(samples.value("llm_requests_in_flight", backend=name) or 0),
                queue.get("slots"),
                queue.get("waiting"),
            )
        )
    # As the policy prefers them: the order of the settings, local ones first.
    return tuple(sorted(found, key=lambda each: each.tier != Tier.LOCAL))


def _first_tokens(requests: Iterable[Request]) -> tuple[FirstTokens, ...]:
    by_tier: dict[str, list[float]] = {tier: [] for tier in Tier}
    for request in requests:
        if request.ttft_ms is not None:
            by_tier.setdefault(request.tier, []).append(request.ttft_ms)
    every = [value for values in by_tier.values() for value in values]
    return tuple(
        FirstTokens(tier, len(values), quantile(values, 0.5), quantile(values, 0.95))
        for tier, values in (*by_tier.items(), ("all", every))
        if values
    )


def _actions(samples: Samples) -> tuple[ActionStatus, ...]:
    found = []
    for action in Action:
        results = samples.totals("llm_alert_actions_total", "result", action=action)
        last = samples.value("llm_alert_action_last_timestamp_seconds", action=action)
        if results or last:
            found.append(ActionStatus(action, last or None, results))
    return tuple(found)


def _in_order(counts: Mapping[str, int], order: Iterable[str]) -> dict[str, int]:
    return {str(key): counts[key] for key in order if key in counts}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
