"""The keys of the deployment guide, one model a block, and the project's keys beside them.

Of a backend's keys ``dialect``, ``api_key_env``, ``api_key_file``, ``slots``, ``model_aliases`` and
``price_per_1k_tokens`` are the project's own, and so are a remote's ``model``, ``timeout`` and
``max_tokens``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)

from firsttoken.core.settings import conditions
from firsttoken.core.settings.conditions import Condition, did_you_mean
from firsttoken.core.settings.kinds import (
    BackendName,
    Endpoint,
    EnvironmentName,
    FilePath,
    KeepAlive,
    ModelName,
    Patterns,
    Percent,
    Price,
    Seconds,
    Section,
    Sentences,
    Share,
    Slots,
    Tokens,
)

GUIDE_MODEL = "qwen2:1.5b-instruct-q4_0"
GUIDE_ENDPOINT = "http://localhost:11434"

Dialect = Literal["openai", "ollama", "dashscope"]
Aliases = Annotated[tuple[ModelName, ...], Strict(strict=False), Field(max_length=50)]


def _trigger(value: Any) -> Condition:
    if isinstance(value, Condition):
        return value
    if not isinstance(value, str):
        raise ValueError("is not text; expected a condition such as 'query_complexity > 0.7'")  # noqa: TRY004 - pydantic turns only ValueError into a finding
    return conditions.parse(value, conditions.TRIGGERS)


Trigger = Annotated[Condition, BeforeValidator(_trigger), PlainSerializer(str, return_type=str)]
Triggers = Annotated[tuple[Trigger, ...], Strict(strict=False), Field(max_length=20)]


class LocalModel(Section):
    """``llm_routing.local_model``."""

    endpoint: Endpoint = GUIDE_ENDPOINT
    model: ModelName = GUIDE_MODEL
    priority: Percent = 80
    max_tokens: Tokens = 1024
    timeout: Seconds = 5.0
    dialect: Dialect | None = None
    api_key_env: EnvironmentName | None = None
    api_key_file: FilePath | None = None
    slots: Slots | None = None
    model_aliases: Aliases = ()
    price_per_1k_tokens: Price = 0.0


class RemoteModel(Section):
    """One of ``llm_routing.remote_models``."""

    name: BackendName
    endpoint: Endpoint
    priority: Percent = 0
    trigger_conditions: Triggers = ()
    model: ModelName | None = None
    max_tokens: Tokens | None = None
    timeout: Seconds = 10.0
    dialect: Dialect | None = None
    api_key_env: EnvironmentName | None = None
    api_key_file: FilePath | None = None
    slots: Slots | None = None
    model_aliases: Aliases = ()
    price_per_1k_tokens: Price = 0.01

    @field_validator("name")
    @classmethod
    def _not_a_word_of_ours(cls, name: str) -> str:
        if name in {"local", "local_model", "remote_models", "cache", "none", "other"}:
            raise ValueError(f'"{name}" has a meaning of its own; expected another name')
        return name


RemoteModels = Annotated[tuple[RemoteModel, ...], Strict(strict=False), Field(max_length=20)]


class LlmRouting(Section):
    """``llm_routing``: the backends. ``share_mode`` and ``hybrid_mode`` are ours.

    Where neither a local nor a remote model is named, the local model is the guide's.
    """

    local_model: LocalModel | None = None
    remote_models: RemoteModels = ()
    share_mode: Literal["priority", "weighted"] = "priority"
    hybrid_mode: bool = True

    @model_validator(mode="before")
    @classmethod
    def _some_model(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("local_model") and not data.get("remote_models"):
            return {**data, "local_model": {}}
        return data


class PatternRule(Section):
    """Requests whose last user message matches one of ``patterns``, and where they go."""

    patterns: Patterns = ()
    route_to: str


class SimpleQueries(PatternRule):
    """``routing_logic.simple_queries``."""

    route_to: str = "local_model"


class ComplexQueries(PatternRule):
    """``routing_logic.complex_queries``."""

    route_to: str = "remote_models"


class DefaultStrategy(Section):
    """``routing_logic.default_strategy``."""

    first_try: str = "local_model"
    fallback: str = "remote_models"
    confidence_threshold: Share = 0.8


class RoutingLogic(Section):
    """``routing_logic``. A target is ``local_model``, ``remote_models`` or a remote's name."""

    simple_queries: SimpleQueries = SimpleQueries()
    complex_queries: ComplexQueries = ComplexQueries()
    default_strategy: DefaultStrategy = DefaultStrategy()


class ModelLoading(Section):
    """``local_optimization.model_loading``; ``num_ctx`` is of one slot."""

    preload: bool = True
    keep_alive: KeepAlive = "24h"
    num_ctx: Annotated[int, Field(ge=128, le=1_048_576)] = 2048
    num_predict: Tokens = 512


class Inference(Section):
    """``local_optimization.inference``."""

    num_thread: Annotated[int, Field(ge=1, le=1024)] = 4
    num_gpu: Annotated[int, Field(ge=0, le=1000)] = 0
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 1
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9


class Memory(Section):
    """``local_optimization.memory``, which an engine heeds when it loads a model."""

    mmap: bool = True
    mlock: bool = False
    numa: bool = False


class LocalOptimization(Section):
    """``local_optimization``: the options of the local engine."""

    model_loading: ModelLoading = ModelLoading()
    inference: Inference = Inference()
    memory: Memory = Memory()


class LocalCache(Section):
    """``caching_strategy.local_cache``: the router's exact cache."""

    enable: bool = False
    ttl: Seconds = 3600.0
    max_size: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000


class SemanticCache(Section):
    """``caching_strategy.semantic_cache``; ``verify_share`` is ours: the share of its hits that is
    checked against a model afterwards."""

    enable: bool = False
    similarity_threshold: Share = 0.9
    verify_share: Share = 0.02
    embedding_model: Annotated[str, Field(min_length=1, max_length=200)] = (
        "sentence-transformers/all-MiniLM-L6-v2"
    )


class CachingStrategy(Section):
    """``caching_strategy``: both caches are off where it is left out."""

    local_cache: LocalCache = LocalCache()
    semantic_cache: SemanticCache = SemanticCache()


class LocalHealth(Section):
    """``health_check.local_model``: ``interval`` and ``timeout`` in seconds; ``retries`` probes
    in a row must fail before the backend counts as unhealthy.

    An ``endpoint`` left out is the path of the dialect at the local endpoint.
    """

    endpoint: Endpoint | None = None
    interval: Seconds = 30.0
    timeout: Seconds = 5.0
    retries: Annotated[int, Field(ge=1, le=100)] = 3


class FallbackRule(Section):
    """One of ``health_check.fallback_strategy``: its actions are modes of the router."""

    condition: Literal["local_model_unhealthy", "local_model_slow", "local_model_overload"]
    threshold: Annotated[str | None, Field(validate_default=True)] = None
    action: Literal["switch_to_remote", "hybrid_mode", "reduce_local_traffic"]

    @field_validator("threshold")
    @classmethod
    def _of_its_condition(cls, threshold: str | None, info: ValidationInfo) -> str | None:
        state = info.data.get("condition")
        if state is None:
            return threshold
        names = conditions.STATES[state]
        if threshold is None:
            if names:
                raise ValueError(
                    f"{state} lacks its threshold; expected one such as "
                    f"'{conditions.STATE_EXAMPLES[state]}'"
                )
        elif not names:
            raise ValueError(f"{state} is found by the health check; expected no threshold")
        else:
            conditions.parse(threshold, names)
        return threshold

    @property
    def parsed(self) -> Condition | None:
        """The threshold, or None for a state that has none."""
        if self.threshold is None:
            return None
        return conditions.parse(self.threshold, conditions.STATES[self.condition])


class HealthCheck(Section):
    """``health_check``."""

    local_model: LocalHealth = LocalHealth()
    fallback_strategy: Annotated[
        tuple[FallbackRule, ...], Strict(strict=False), Field(max_length=20)
    ] = ()


def _metric(name: str) -> str:
    if name not in conditions.METRICS:
        raise ValueError(
            f'unknown metric "{name[:60]}"{did_you_mean(name, conditions.METRICS)}; '
            f"expected one of {', '.join(conditions.METRICS)}"
        )
    return name


MetricName = Annotated[str, AfterValidator(_metric)]
MetricNames = Annotated[tuple[MetricName, ...], Strict(strict=False), Field(max_length=50)]


class Alert(Section):
    """One of ``monitoring_metrics.alerts``."""

    metric: MetricName
    threshold: str
    action: Literal[
        "switch_to_remote",
        "hybrid_mode",
        "reduce_local_traffic",
        "investigate_performance",
        "restart_service",
    ]

    @field_validator("threshold")
    @classmethod
    def _of_its_metric(cls, threshold: str, info: ValidationInfo) -> str:
        metric = info.data.get("metric")
        if metric is not None:
            conditions.parse_threshold(threshold, metric, conditions.METRICS[metric])
        return threshold

    @property
    def parsed(self) -> Condition:
        """The metric compared with its threshold, in seconds, a share or tokens per second."""
        return conditions.parse_threshold(
            self.threshold, self.metric, conditions.METRICS[self.metric]
        )


class MonitoringMetrics(Section):
    """``monitoring_metrics``: the metrics shown, and the thresholds of the alerts."""

    performance: MetricNames = ()
    business: MetricNames = ()
    alerts: Annotated[tuple[Alert, ...], Strict(strict=False), Field(max_length=50)] = ()


class TuningRecommendations(Section):
    """``tuning_recommendations``: sentences shown when a target is missed."""

    slow_response: Sentences = ()
    high_memory: Sentences = ()
    high_error_rate: Sentences = ()
