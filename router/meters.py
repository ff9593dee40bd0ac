"""The metrics that the router sets, with every label set that is known from its settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import product

import psutil

from exporter.host import HostCollector
from exporter.instruments import Instruments, LabelSet
from exporter.process import ProcessCollector, Processes
from firsttoken.core.catalogue import (
    LABEL_VALUES,
    NO_BACKEND,
    OTHER_MODEL,
    Action,
    ActionResult,
    CacheCheck,
    CacheResult,
    CircuitState,
    ConversationEnd,
    DeliveryResult,
    HedgeResult,
    Mode,
    Rating,
    TokenType,
)
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType, Outcome, Reason, Tier
from router.load_test import LoadTest
from router.policy.plan import Rules
from router.voice import meters as voice

NAMES = (
    "llm_time_to_first_token_seconds",
    "llm_backend_time_to_first_token_seconds",
    "llm_request_duration_seconds",
    "llm_time_per_output_token_seconds",
    "llm_prompt_uncached_ratio",
    "llm_queue_duration_seconds",
    "llm_requests_total",
    "llm_attempts_total",
    "llm_errors_total",
    "llm_routing_decisions_total",
    "llm_fallbacks_total",
    "llm_hedges_total",
    "llm_cache_lookups_total",
    "llm_cache_verifications_total",
    "llm_cache_false_hit_ratio",
    "llm_tokens_total",
    "llm_cost_usd_total",
    "llm_requests_in_flight",
    "llm_backend_info",
    "llm_backend_up",
    "llm_circuit_state",
    "llm_mode",
    "llm_alert_actions_total",
    "llm_alert_action_last_timestamp_seconds",
    "llm_alert_deliveries_total",
    "llm_user_feedback_total",
    "llm_conversations_started_total",
    "llm_conversations_ended_total",
    "llm_local_share_ratio",
    "llm_load_test_run_info",
    "llm_build_info",
    *voice.NAMES,
)
"""Metrics of the catalogue that the router sets itself."""


class Meters:
    """The router's instruments, one attribute each, children looked up by label values."""

    def __init__(self, rules: Rules) -> None:
        instruments = Instruments(NAMES, tuple(_known(rules.backends)))
        own = (psutil.Process(),)
        self.engine: Processes = tuple
        """The processes of the local engine, as whoever looks for them finds them."""
        components: dict[str, Processes] = {"router": lambda: own, "engine": self._engine}
        instruments.registry.register(ProcessCollector(components))
        instruments.registry.register(HostCollector(self._engine))
        self.render = instruments.render
        self.ttft = instruments.histogram("llm_time_to_first_token_seconds")
        self.backend_ttft = instruments.histogram("llm_backend_time_to_first_token_seconds")
        self.voice = voice.VoiceMeters(instruments)
        self.duration = instruments.histogram("llm_request_duration_seconds")
        self.tpot = instruments.histogram("llm_time_per_output_token_seconds")
        self.prompt_uncached = instruments.histogram("llm_prompt_uncached_ratio")
        self.queue = instruments.histogram("llm_queue_duration_seconds")
        self.requests = instruments.counter("llm_requests_total")
        self.attempts = instruments.counter("llm_attempts_total")
        self.errors = instruments.counter("llm_errors_total")
        self.decisions = instruments.counter("llm_routing_decisions_total")
        self.fallbacks = instruments.counter("llm_fallbacks_total")
        self.hedges = instruments.counter("llm_hedges_total")
        self.cache_lookups = instruments.counter("llm_cache_lookups_total")
        self._cache_checks = instruments.counter("llm_cache_verifications_total")
        self._false_hits = instruments.gauge("llm_cache_false_hit_ratio")
        self._checked = dict.fromkeys(CacheCheck, 0)
        self.tokens = instruments.counter("llm_tokens_total")
        self._actions = instruments.counter("llm_alert_actions_total")
        self._acted_at = instruments.gauge("llm_alert_action_last_timestamp_seconds")
        self._deliveries = instruments.counter("llm_alert_deliveries_total")
        self.cost = instruments.counter("llm_cost_usd_total")
        self.in_flight = instruments.gauge("llm_requests_in_flight")
        self.feedback = instruments.counter("llm_user_feedback_total")
        self.conversations_started = instruments.counter("llm_conversations_started_total")()
        self.conversations_ended = instruments.counter("llm_conversations_ended_total")
        self._local_share = instruments.gauge("llm_local_share_ratio")()
        self._load_test_run = instruments.gauge("llm_load_test_run_info")
        self._load_test: LoadTest | None = None
        self._backend_info = instruments.gauge("llm_backend_info")
        self._backend_up = instruments.gauge("llm_backend_up")
        self._circuit_state = instruments.gauge("llm_circuit_state")
        self._backends: dict[str, Tier] = {}
        self._mode = instruments.gauge("llm_mode")
        instruments.gauge("llm_build_info")(_version()).set(1)
        self.local_share(None)
        self.configured(rules)

    def configured(self, rules: Rules) -> None:
        """Take the backends of new settings; one that is gone is not up any longer."""
        tiers = {backend.name: backend.tier for backend in rules.backends}
        for name, tier in self._backends.items() - tiers.items():
            self._backend_info(name, tier).set(0)
        for gone in self._backends.keys() - tiers.keys():
            self._backend_up(gone).set(0)
            for each in CircuitState:
                self._circuit_state(gone, each).set(0)
        for name, tier in tiers.items():
            self._backend_info(name, tier).set(1)
        self._backends = tiers
        self._models = {backend.model for backend in rules.backends}
        self.mode_changed(Mode.NORMAL if rules.hybrid else Mode.LOCAL_ONLY)

    def _engine(self) -> Sequence[psutil.Process]:
        return self.engine()

    def model_label(self, model: str) -> str:
        """Return the ``model`` label of a name that a client sent."""
        return model if model in self._models else OTHER_MODEL

    def mode_changed(self, mode: Mode) -> None:
        """Show the router's mode."""
        for each in Mode:
            self._mode(each).set(each is mode)

    def local_share(self, ratio: float | None) -> None:
        """Show the share of the local model; None where nobody asked anything."""
        self._local_share.set(math.nan if ratio is None else ratio)

    def load_test(self, run: LoadTest | None) -> None:
        """Show which load test runs; there is a series for that one alone."""
        before, self._load_test = self._load_test, run
        if before is not None and before != run:
            self._load_test_run.remove(before.run_id, before.scenario)
        if run is not None:
            self._load_test_run(run.run_id, run.scenario).set(1)

    def acted(self, action: Action, result: ActionResult) -> None:
        """Count what became of an action, and note the time of one that was carried out."""
        self._actions(action, result).inc()
        if result in {ActionResult.SUCCEEDED, ActionResult.FAILED}:
            self._acted_at(action).set_to_current_time()

    def delivered(self, result: DeliveryResult) -> None:
        """Count a delivery of the alert webhook."""
        self._deliveries(result).inc()

    def cache_checked(self, result: CacheCheck) -> None:
        """Count a hit of the semantic cache that was checked."""
        self._cache_checks(result).inc()
        self._checked[result] += 1
        told = self._checked[CacheCheck.AGREED] + self._checked[CacheCheck.DIFFERED]
        if told:
            self._false_hits().set(self._checked[CacheCheck.DIFFERED] / told)

    def circuit_changed(self, backend: str, state: CircuitState) -> None:
        """Show the state of a backend's circuit."""
        self._backend_up(backend).set(state is CircuitState.CLOSED)
        for each in CircuitState:
            self._circuit_state(backend, each).set(each is state)


def _version() -> str:
    try:
        return version("firsttoken")
    except PackageNotFoundError:
        return "unknown"


def _known(backends: Sequence[Backend]) -> Iterable[LabelSet]:
    models = [*dict.fromkeys(backend.model for backend in backends), OTHER_MODEL]
    tiers = [*dict.fromkeys(backend.tier for backend in backends), Tier.CACHE, Tier.NONE]
    served = [(b.tier, b.name, b.model, outcome) for b in backends for outcome in Outcome]
    nobody = [(Tier.NONE, NO_BACKEND, *rest) for rest in product(models, Outcome)]
    cached = [(Tier.CACHE, NO_BACKEND, model) for model in models]
    names = [backend.name for backend in backends]
    pairs = [pair for pair in product(names, names) if pair[0] != pair[1]]
    by_metric: dict[str, Iterable[tuple[str, ...]]] = {
        "llm_time_to_first_token_seconds": [
            *((b.tier, b.name, b.model) for b in backends),
            *cached,
        ],
        "llm_backend_time_to_first_token_seconds": [(b.name, b.model) for b in backends],
        "llm_request_duration_seconds": product(tiers, Outcome),
        "llm_time_per_output_token_seconds": [(b.tier, b.name) for b in backends],
        "llm_prompt_uncached_ratio": [(b.name,) for b in backends if b.tier is Tier.LOCAL],
        "llm_queue_duration_seconds": [(b.name,) for b in backends if b.tier is Tier.LOCAL],
        "llm_requests_total": [*served, *nobody, *((*each, Outcome.SUCCESS) for each in cached)],
        "llm_attempts_total": [(b.name, b.model, outcome) for b in backends for outcome in Outcome],
        "llm_errors_total": product(names, ErrorType),
        "llm_routing_decisions_total": [
            *product([each for each in tiers if each is not Tier.CACHE], Reason),
            (Tier.CACHE, Reason.CACHE_EXACT),
            (Tier.CACHE, Reason.CACHE_SEMANTIC),
        ],
        "llm_hedges_total": [(result,) for result in HedgeResult],
        "llm_cache_lookups_total": product(LABEL_VALUES["cache"], CacheResult),
        "llm_cache_verifications_total": [(result,) for result in CacheCheck],
        "llm_cost_usd_total": [(name,) for name in names],
        "llm_fallbacks_total": [(*pair, error) for pair, error in product(pairs, ErrorType)],
        "llm_tokens_total": [(b.name, b.model, kind) for b in backends for kind in TokenType],
        "llm_requests_in_flight": [(name,) for name in names],
        "llm_mode": [(mode,) for mode in Mode],
        "llm_alert_actions_total": product(Action, ActionResult),
        "llm_alert_action_last_timestamp_seconds": [(action,) for action in Action],
        "llm_alert_deliveries_total": [(result,) for result in DeliveryResult],
        "llm_user_feedback_total": [(rating,) for rating in Rating],
        "llm_conversations_ended_total": [(end,) for end in ConversationEnd],
    }
    for metric, values in by_metric.items():
        yield LabelSet(metric, tuple(values))
    yield from voice.known([tier for tier in tiers if tier is not Tier.NONE])
