"""The settings as the rest of the project sees them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import PrivateAttr

from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.document import KeyPath, dotted
from firsttoken.core.settings.guide import (
    CachingStrategy,
    HealthCheck,
    LlmRouting,
    LocalOptimization,
    MonitoringMetrics,
    RoutingLogic,
    TuningRecommendations,
)
from firsttoken.core.settings.kinds import Section
from firsttoken.core.settings.own import (
    Admission,
    AlertActions,
    Confidence,
    Conversations,
    Engine,
    Hedging,
    Recovery,
    Server,
)
from firsttoken.core.settings.tree import DEFAULT
from firsttoken.core.settings.voice import Voice


@dataclass(frozen=True, slots=True)
class Derived:
    """What loading found out beside the values themselves. Holds secrets; never shown whole."""

    backends: tuple[Backend, ...] = ()
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    alert_token: str | None = field(default=None, repr=False)
    sources: Mapping[KeyPath, str] = field(default_factory=dict)
    key_sources: Mapping[str, str] = field(default_factory=dict)
    """``set (from QWEN_API_KEY)`` or ``not set (QWEN_API_KEY)`` by backend, never a key."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Settings(Section):
    """All settings, frozen. Every section is optional in a file; each has defaults.

    Made by :func:`firsttoken.core.settings.load` or ``from_mapping``, which also find the
    backends, their keys, and where each value came from.
    """

    llm_routing: LlmRouting = LlmRouting()
    routing_logic: RoutingLogic = RoutingLogic()
    local_optimization: LocalOptimization = LocalOptimization()
    caching_strategy: CachingStrategy = CachingStrategy()
    health_check: HealthCheck = HealthCheck()
    monitoring_metrics: MonitoringMetrics = MonitoringMetrics()
    tuning_recommendations: TuningRecommendations = TuningRecommendations()
    server: Server = Server()
    admission: Admission = Admission()
    hedging: Hedging = Hedging()
    confidence: Confidence = Confidence()
    conversations: Conversations = Conversations()
    engine: Engine = Engine()
    recovery: Recovery = Recovery()
    alert_actions: AlertActions = AlertActions()
    voice: Voice = Voice()

    _derived: Derived = PrivateAttr(default_factory=Derived)

    def with_derived(self, derived: Derived) -> Settings:
        """Return the same settings with what loading found out about them."""
        copy = self.model_copy()
        copy._derived = derived  # noqa: SLF001 - its own class
        return copy

    def backends(self) -> tuple[Backend, ...]:
        """Return the backends in order of preference, local first, disabled ones included."""
        return self._derived.backends

    def client_keys(self) -> tuple[str, ...]:
        """Return the keys a client of the router may present; empty where none is asked for."""
        return self._derived.api_keys

    def alert_token(self) -> str | None:
        """Return the token that Alertmanager has to present, or None where none is asked for."""
        return self._derived.alert_token

    @property
    def hybrid_mode(self) -> bool:
        """Whether remote backends may be used at all."""
        return self.llm_routing.hybrid_mode

    @property
    def warnings(self) -> tuple[str, ...]:
        """What will probably not do what was meant; one line each."""
        return self._derived.warnings

    @property
    def notes(self) -> tuple[str, ...]:
        """What is read otherwise than one may think, or not yet acted on; one line each."""
        return self._derived.notes

    def source_of(self, key_path: str) -> str:
        """Return where a value came from: ``FILE:LINE``, ``environment variable NAME``,
        ``command line`` or ``default``.

        ``key_path`` is written ``llm_routing.remote_models[0].name``.
        """
        parts = re.findall(r"[^.\[\]]+", key_path)
        path = tuple(int(part) if part.isdecimal() else part for part in parts)
        return self._derived.sources.get(path, DEFAULT)

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Yield key path, effective value and source of every value, in the order of the keys.

        A backend's key appears as ``set (from NAME)`` or ``not set (NAME)``.
        """
        for path, value in _leaves(self.model_dump(mode="json"), ()):
            yield dotted(path), value, self._derived.sources.get(path, DEFAULT)
            if path[-1] in {"api_key_file", "api_keys_file", "token_file"}:
                found = self._derived.key_sources.get(dotted(path[:-1]))
                if found is not None:
                    yield dotted(path).removesuffix("_file"), found, "secret"

    def hash(self) -> str:
        """Return the SHA-256 of the effective values; no secret enters it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value
