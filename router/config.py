"""What the router needs of the settings, checked and with everything derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.engine_cpu import loopback_port
from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.conditions import Condition, Kind
from firsttoken.core.settings.guide import CachingStrategy
from firsttoken.core.settings.own import Admission, Hedging, Recovery
from firsttoken.core.settings.voice import Voice
from firsttoken.core.words import Tier
from firsttoken.engines.adapters import Adapter, of_settings
from firsttoken.engines.options import usable_threads
from router.actions.settings import AlertRules, alert_rules
from router.backends.requests import ReplyOptions
from router.gate import ConfidenceRules
from router.health.breaker import BreakerRules
from router.health.modes import ModeRules, mode_rules
from router.policy.plan import CONFIDENCE, Rules
from router.policy.signals import Patterns, compile_patterns


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients may send."""

    body_bytes: int = 2_097_152
    body_seconds: float = 30.0
    """For the whole body to arrive."""
    in_flight: int = 256
    """Requests served at once; more are rejected."""
    keep_texts: bool = False
    """Whether the decision log holds what users said."""


@dataclass(frozen=True, slots=True)
class Health:
    """When the local backend is probed."""

    endpoint: str | None = None
    """None: the path of the backend's dialect."""
    interval_s: float = 30.0
    timeout_s: float = 5.0
    retries: int = 3
    active: bool = True
    """Whether it is probed while no request has failed."""


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Everything the router is told before it starts."""

    rules: Rules
    patterns: Patterns = field(default_factory=Patterns)
    options: Mapping[str, ReplyOptions] = field(default_factory=dict)
    """By backend: caps and defaults of its replies."""
    breaker: BreakerRules = field(default_factory=BreakerRules)
    health: Health = field(default_factory=Health)
    modes: ModeRules = field(default_factory=ModeRules)
    recovery: Recovery = field(default_factory=Recovery)
    adapter: Adapter | None = None
    """Restarts the local engine; None where nothing does."""
    alerts: AlertRules = field(default_factory=AlertRules)
    """What alerts may make the router do."""
    hedging: Hedging = field(default_factory=Hedging)
    confidence: ConfidenceRules = field(default_factory=ConfidenceRules)
    admission: Admission = field(default_factory=Admission)
    caching: CachingStrategy = field(default_factory=CachingStrategy)
    conversation_idle_s: float = 120.0
    """A conversation has ended when nothing was asked for so long."""
    preload: bool = False
    """Whether a local backend makes one token before the first user comes."""
    limits: Limits = field(default_factory=Limits)
    voice: Voice = field(default_factory=Voice)
    """What talking devices get."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys that clients may present; empty: none is asked for."""


def from_settings(settings: Settings, engine: Adapter | None = None) -> RouterConfig:
    """Read the router's part of the settings; ``engine`` is the one that this process started.

    Raises:
        UserError: no backend is enabled, a pattern cannot be compiled, or the recovery asks for
            an engine of this process and there is none.
    """
    backends = tuple(backend for backend in settings.backends() if backend.enabled)
    _check(backends, hybrid=settings.hybrid_mode)
    routing, logic = settings.llm_routing, settings.routing_logic
    health = settings.health_check.local_model
    threshold = logic.default_strategy.confidence_threshold
    options = {backend.name: reply_options(backend, settings) for backend in backends}
    local = next((each for each in backends if each.tier is Tier.LOCAL), None)
    return RouterConfig(
        rules=Rules(
            backends=backends,
            hybrid=settings.hybrid_mode,
            weighted=routing.share_mode == "weighted",
            simple_target=logic.simple_queries.route_to,
            complex_target=logic.complex_queries.route_to,
            first_try=logic.default_strategy.first_try,
            fallback=logic.default_strategy.fallback,
            doubt=_doubt(threshold),
        ),
        patterns=compile_patterns(logic.simple_queries.patterns, logic.complex_queries.patterns),
        options=options,
        breaker=BreakerRules.of_probes(health.retries, health.interval, health.timeout),
        health=Health(
            health.endpoint,
            health.interval,
            health.timeout,
            health.retries,
        ),
        modes=mode_rules(settings.health_check.fallback_strategy, hybrid=settings.hybrid_mode),
        recovery=settings.recovery,
        adapter=of_settings(
            settings, engine=engine, options=options[local.name].loading if local else None
        ),
        alerts=alert_rules(settings),
        hedging=settings.hedging,
        confidence=ConfidenceRules(settings.confidence.tokens, settings.confidence.budget),
        admission=settings.admission,
        caching=settings.caching_strategy,
        conversation_idle_s=settings.conversations.idle_seconds,
        preload=settings.local_optimization.model_loading.preload,
        limits=Limits(
            body_bytes=settings.server.max_body_bytes,
            in_flight=settings.server.max_concurrency,
            keep_texts=settings.server.keep_texts,
        ),
        voice=settings.voice,
        api_keys=settings.client_keys(),
    )


def _doubt(threshold: float) -> Condition:
    text = f"{CONFIDENCE} < {threshold}"
    return Condition(CONFIDENCE, "<", threshold, Kind.SHARE, text)


def _check(backends: tuple[Backend, ...], *, hybrid: bool) -> None:
    if not backends:
        raise UserError(
            "llm_routing: no backend is enabled; expected a local_model, or a remote model whose "
            "key is set"
        )
    if not hybrid and not any(backend.tier is Tier.LOCAL for backend in backends):
        raise UserError("llm_routing: hybrid mode is off and there is no local_model to serve")


def reply_options(backend: Backend, settings: Settings) -> ReplyOptions:
    """Return the caps and defaults of the replies of one backend."""
    if backend.tier is not Tier.LOCAL:
        return ReplyOptions(max_tokens=backend.max_tokens)
    options = settings.local_optimization
    inference, loading = options.inference, options.model_loading
    threads = inference.num_thread
    if loopback_port(backend.base_url) is not None:
        threads = usable_threads(threads)
    return ReplyOptions(
        backend.max_tokens,
        inference.temperature,
        inference.top_p,
        loading.keep_alive,
        {
            "num_ctx": loading.num_ctx,
            "num_gpu": inference.num_gpu,
            "num_thread": threads,
            "use_mmap": options.memory.mmap,
        },
    )
