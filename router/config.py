"""What the router needs of the settings, checked and with everything derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from firsttoken.core.errors import UserError
from firsttoken.core.settings import Settings
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Tier
from router.backends.requests import ReplyOptions
from router.health.breaker import FIRST_COOL_DOWN_S, BreakerRules
from router.policy.plan import Rules
from router.policy.signals import Patterns, compile_patterns

SPOKEN_DIALECTS = frozenset({"openai"})
"""Dialects in which backends can be asked. A backend that names none is taken to speak OpenAI's,
which every engine of the guide serves under ``/v1``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients may send."""

    body_bytes: int = 2_097_152
    body_seconds: float = 30.0
    """For the whole body to arrive."""
    in_flight: int = 256
    """Requests served at once; more are rejected."""


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Everything the router is told before it starts."""

    rules: Rules
    patterns: Patterns = field(default_factory=Patterns)
    options: Mapping[str, ReplyOptions] = field(default_factory=dict)
    """By backend: caps and defaults of its replies."""
    breaker: BreakerRules = field(default_factory=BreakerRules)
    probe_timeout_s: float = 5.0
    limits: Limits = field(default_factory=Limits)
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys that clients may present; empty: none is asked for."""


def from_settings(settings: Settings) -> RouterConfig:
    """Read the router's part of the settings.

    Raises:
        UserError: no backend is enabled, one speaks a dialect that the router does not, or a
            pattern cannot be compiled.
    """
    backends = tuple(backend for backend in settings.backends() if backend.enabled)
    _check(backends, hybrid=settings.hybrid_mode)
    routing, logic = settings.llm_routing, settings.routing_logic
    health = settings.health_check.local_model
    return RouterConfig(
        rules=Rules(
            backends=backends,
            hybrid=settings.hybrid_mode,
            weighted=routing.share_mode == "weighted",
            simple_target=logic.simple_queries.route_to,
            complex_target=logic.complex_queries.route_to,
            first_try=logic.default_strategy.first_try,
            fallback=logic.default_strategy.fallback,
        ),
        patterns=compile_patterns(logic.simple_queries.patterns, logic.complex_queries.patterns),
        options={backend.name: _options(backend, settings) for backend in backends},
        breaker=BreakerRules(
            failures=health.retries,
            first_cool_down_s=min(FIRST_COOL_DOWN_S, health.interval),
            longest_cool_down_s=health.interval,
        ),
        probe_timeout_s=health.timeout,
        limits=Limits(
            body_bytes=settings.server.max_body_bytes, in_flight=settings.server.max_concurrency
        ),
        api_keys=settings.client_keys(),
    )


def _check(backends: tuple[Backend, ...], *, hybrid: bool) -> None:
    if not backends:
        raise UserError(
            "llm_routing: no backend is enabled; expected a local_model, or a remote model whose "
            "key is set"
        )
    if not hybrid and not any(backend.tier is Tier.LOCAL for backend in backends):
        raise UserError("llm_routing: hybrid mode is off and there is no local_model to serve")
    for backend in backends:
        if backend.dialect is not None and backend.dialect not in SPOKEN_DIALECTS:
            raise UserError(
                f"llm_routing: backend {backend.name} has dialect: {backend.dialect}, but backends "
                f"can be asked in {', '.join(sorted(SPOKEN_DIALECTS))} only; the same server "
                "serves it under /v1"
            )


def _options(backend: Backend, settings: Settings) -> ReplyOptions:
    if backend.tier is not Tier.LOCAL:
        return ReplyOptions(max_tokens=backend.max_tokens)
    inference = settings.local_optimization.inference
    return ReplyOptions(backend.max_tokens, inference.temperature, inference.top_p)
