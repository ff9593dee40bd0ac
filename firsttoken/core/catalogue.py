"""Every metric of the project, once.

The exporter makes its instruments from here; rules, boards, reports and documentation take names,
labels and bucket edges from here too. Labels come from closed sets; a model name that is not
configured is :data:`OTHER_MODEL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from firsttoken.core.words import CallClass, ErrorType, Outcome, Reason, Tier

OTHER_MODEL = "other"
"""The ``model`` label of every name that is not configured, so that names sent by clients cannot
add series."""

NO_BACKEND = "none"
"""The ``backend`` label where no backend served the request."""

TTFT_BUCKETS = (
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0,
    10.0, 30.0,
)  # fmt: skip
"""Seconds: 50 ms steps over the zone of decision (200-500 ms), an edge on every judged number."""

TPOT_BUCKETS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.5, 1.0)
"""Seconds a token."""

DURATION_BUCKETS = (
    0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0,
    120.0,
)  # fmt: skip
"""Seconds of a whole request."""

SHARE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 0.9, 1.0)
"""Shares of a whole, finer where they are small."""

TURN_BUCKETS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
"""Requests of one turn: 1 without tools, one more for each round of them."""


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class TokenType(StrEnum):
    """Values of the label ``type`` of ``llm_tokens_total``; ``cached`` is a part of ``input``."""

    INPUT = "input"
    OUTPUT = "output"
    CACHED = "cached"


class CircuitState(StrEnum):
    """Values of the label ``state`` of ``llm_circuit_state``."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Mode(StrEnum):
    """Values of the label ``mode`` of ``llm_mode``."""

    NORMAL = "normal"
    HYBRID = "hybrid"
    """The local backend is slow: its share moves."""
    REDUCED_LOCAL = "reduced_local"
    REMOTE_ONLY = "remote_only"
    LOCAL_ONLY = "local_only"
    """The settings turn hybrid mode off."""


class CacheAnswer(StrEnum):
    """What the caches had for a request: the header ``x-firsttoken-cache``."""

    EXACT = "exact"
    SEMANTIC = "semantic"
    MISS = "miss"
    BYPASS = "bypass"
    """They were not asked: off, or the request is of a kind that is never kept."""


class CacheResult(StrEnum):
    """Values of the label ``result`` of ``llm_cache_lookups_total``."""

    HIT = "hit"
    MISS = "miss"


class CacheCheck(StrEnum):
    """Values of the label ``result`` of ``llm_cache_verifications_total``."""

    AGREED = "agreed"
    DIFFERED = "differed"
    FAILED = "failed"
    """No backend gave the two answers that are compared."""


class HedgeResult(StrEnum):
    """Values of the label ``result`` of ``llm_hedges_total``."""

    WON = "won"
    LOST = "lost"
    FAILED = "failed"
    """It failed while the first attempt still ran."""
    DENIED = "denied"
    """It was due, and the budget for extra load was spent."""


class ConversationEnd(StrEnum):
    """Values of the label ``end`` of ``llm_conversations_ended_total``."""

    COMPLETED = "completed"
    """Its last request was answered, and nothing followed for a while."""
    ABANDONED = "abandoned"
    """The user hung up during its last reply."""
    FAILED = "failed"
    """Its last request got no answer."""


class Rating(StrEnum):
    """Values of the label ``rating`` of ``llm_user_feedback_total``: stars."""

    ONE = "1"
    TWO = "2"
    THREE = "3"
    FOUR = "4"
    FIVE = "5"


class Action(StrEnum):
    """Values of the label ``action``: everything that may be done without a person."""

    INVESTIGATE_PERFORMANCE = "investigate_performance"
    SWITCH_TO_REMOTE = "switch_to_remote"
    RESTART_SERVICE = "restart_service"
    REDUCE_LOCAL_TRAFFIC = "reduce_local_traffic"


class ActionResult(StrEnum):
    """Values of the label ``result`` of ``llm_alert_actions_total``."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    """A limit, a cool-down, an interlock or the kill switch forbade it."""
    DRY_RUN = "dry_run"
    """It would have been carried out."""
    DUPLICATE = "duplicate"
    STARTED = "started"
    """It takes longer than an answer may; how it ended is counted once more."""
    IGNORED = "ignored"
    """There was nothing to act on: resolved, too old, or not on the list."""


class DeliveryResult(StrEnum):
    """Values of the label ``result`` of ``llm_alert_deliveries_total``."""

    ACCEPTED = "accepted"
    UNAUTHORIZED = "unauthorized"
    """No token, or a wrong one."""
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"


class EngineRequestState(StrEnum):
    """Values of the label ``state`` of ``llm_engine_requests``."""

    PROCESSING = "processing"
    DEFERRED = "deferred"
    """They wait for a slot inside the engine."""


class PressureKind(StrEnum):
    """Values of the label ``kind`` of the pressure metrics: who stood still (PSI)."""

    SOME = "some"
    FULL = "full"


class ProbePhase(StrEnum):
    """Values of the label ``phase`` of ``llm_probe_engine_seconds``, in their order."""

    QUEUE = "queue"
    """Waiting inside the engine."""
    LOAD = "load"
    """Loading the model."""
    PROMPT = "prompt"
    """Reading the prompt."""
    PREDICT = "predict"
    """Making the tokens."""


class Collector(StrEnum):
    """Values of the label ``collector`` of what the exporter says of itself."""

    PROBE = "probe"
    LLAMA_CPP = "llama_cpp"
    OLLAMA = "ollama"
    VLLM = "vllm"
    HOST = "host"


LABEL_VALUES: dict[str, tuple[str, ...]] = {
    "tier": tuple(Tier),
    "outcome": tuple(Outcome),
    "reason": tuple(Reason),
    "error_type": tuple(ErrorType),
    "type": tuple(TokenType),
    "state": (*CircuitState, *EngineRequestState),
    "mode": tuple(Mode),
    "component": ("engine", "router"),
    "cache": ("exact", "semantic"),
    "rating": tuple(Rating),
    "end": tuple(ConversationEnd),
    "action": tuple(Action),
    "kind": tuple(PressureKind),
    "collector": tuple(Collector),
    "phase": tuple(ProbePhase),
    "call": tuple(CallClass),
}
"""The closed sets behind the labels. Those of ``backend`` and ``model`` come from the settings."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name as exposed, its unit, its labels in order, what it means."""

    name: str
    kind: Kind
    unit: str
    """``seconds``, ``bytes``, ``ratio``, ``usd``, ``tokens``, ``cores``, or empty for a plain
    count."""
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    otel_name: str = ""
    """The instrument of the OpenTelemetry GenAI conventions with the same meaning, if any."""


_METRICS = (
    Metric(
        "llm_time_to_first_token_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("tier", "backend", "model"),
        "Streamed requests: request read until the first token was handed to the client, time "
        "lost in failed attempts included.",
        TTFT_BUCKETS,
        "gen_ai.client.operation.time_to_first_chunk",
    ),
    Metric(
        "llm_time_to_first_sentence_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("tier",),
        "Streams of talking devices: request read until the first segment that a voice server can "
        "speak was handed over.",
        TTFT_BUCKETS,
    ),
    Metric(
        "llm_time_to_first_speakable_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("tier",),
        "Streams of talking devices: request read until the first letter, digit or Chinese "
        "character was handed over, with which speech that is made while it is read begins.",
        TTFT_BUCKETS,
    ),
    Metric(
        "llm_backend_time_to_first_token_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("backend", "model"),
        "Streamed attempts: start of the attempt until the backend's first token was read.",
        TTFT_BUCKETS,
        "gen_ai.server.time_to_first_token",
    ),
    Metric(
        "llm_request_duration_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("tier", "outcome"),
        "Request read until its end.",
        DURATION_BUCKETS,
        "gen_ai.client.operation.duration",
    ),
    Metric(
        "llm_time_per_output_token_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("tier", "backend"),
        "First to last token, divided by the number of output tokens minus one.",
        TPOT_BUCKETS,
        "gen_ai.server.time_per_output_token",
    ),
    Metric(
        "llm_prompt_uncached_ratio",
        Kind.HISTOGRAM,
        "ratio",
        ("backend",),
        "Prompts of talking devices sent to a local backend: share that was taken not to be in its "
        "cache, from what it was sent before.",
        SHARE_BUCKETS,
    ),
    Metric(
        "llm_queue_duration_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("backend",),
        "Wait for a free slot of the backend, before the attempt began.",
        TTFT_BUCKETS,
    ),
    Metric(
        "llm_requests_total",
        Kind.COUNTER,
        "",
        ("tier", "backend", "model", "outcome"),
        "Accepted requests by how they ended; each is counted once.",
    ),
    Metric(
        "llm_attempts_total",
        Kind.COUNTER,
        "",
        ("backend", "model", "outcome"),
        "Tries at one backend by how they ended.",
    ),
    Metric(
        "llm_errors_total",
        Kind.COUNTER,
        "",
        ("backend", "error_type"),
        "Attempts that did not succeed, by why.",
    ),
    Metric(
        "llm_routing_decisions_total",
        Kind.COUNTER,
        "",
        ("tier", "reason"),
        "Accepted requests by the tier that was chosen first, and why.",
    ),
    Metric(
        "llm_fallbacks_total",
        Kind.COUNTER,
        "",
        ("from", "to", "error_type"),
        "Moves from a failed attempt to the next backend, by why the attempt failed.",
    ),
    Metric(
        "llm_hedges_total",
        Kind.COUNTER,
        "",
        ("result",),
        "Second attempts that were due while the first still ran, by what became of them.",
    ),
    Metric(
        "llm_cache_lookups_total",
        Kind.COUNTER,
        "",
        ("cache", "result"),
        "Lookups in a cache, by what they found.",
    ),
    Metric(
        "llm_cache_verifications_total",
        Kind.COUNTER,
        "",
        ("result",),
        "Hits of the semantic cache that were checked against a model afterwards.",
    ),
    Metric(
        "llm_cache_false_hit_ratio",
        Kind.GAUGE,
        "ratio",
        (),
        "Share of the checked hits of the semantic cache whose answer differed.",
    ),
    Metric(
        "llm_tokens_total",
        Kind.COUNTER,
        "tokens",
        ("backend", "model", "type"),
        "Tokens as the backends counted them; cached ones are a part of the input.",
        otel_name="gen_ai.client.token.usage",
    ),
    Metric(
        "llm_requests_in_flight",
        Kind.GAUGE,
        "",
        ("backend",),
        "Attempts under way.",
    ),
    Metric(
        "llm_backend_info",
        Kind.GAUGE,
        "",
        ("backend", "tier"),
        "1 for each configured backend; joins the tier to what bears the backend alone.",
    ),
    Metric(
        "llm_backend_up",
        Kind.GAUGE,
        "",
        ("backend",),
        "Router: 1 while requests are sent to the backend, 0 while its circuit is open. Exporter: "
        "1 while the engine answers and its last probe succeeded.",
    ),
    Metric(
        "llm_circuit_state",
        Kind.GAUGE,
        "",
        ("backend", "state"),
        "1 for the state the circuit breaker is in, 0 for the others.",
    ),
    Metric(
        "llm_mode",
        Kind.GAUGE,
        "",
        ("mode",),
        "1 for the router's mode, 0 for the others.",
    ),
    Metric(
        "llm_memory_unreclaimable_bytes",
        Kind.GAUGE,
        "bytes",
        (),
        "Memory of the engine's control group that cannot be reclaimed; mapped model files are "
        "not part of it.",
    ),
    Metric(
        "llm_memory_limit_bytes",
        Kind.GAUGE,
        "bytes",
        (),
        "Memory limit of the engine's control group, or of the host.",
    ),
    Metric(
        "llm_memory_reclaimable_bytes",
        Kind.GAUGE,
        "bytes",
        (),
        "Memory of the engine's control group that the kernel can take back: above all the mapped "
        "model file.",
    ),
    Metric(
        "llm_memory_pressure_ratio",
        Kind.GAUGE,
        "ratio",
        ("kind",),
        "Share of the last minute in which some or all tasks stood still for want of memory.",
    ),
    Metric(
        "llm_cpu_pressure_ratio",
        Kind.GAUGE,
        "ratio",
        (),
        "Share of the last minute in which some task waited for a processor.",
    ),
    Metric(
        "llm_cpu_limit_cores",
        Kind.GAUGE,
        "cores",
        (),
        "Processors that the engine's control group may use, or those of the host.",
    ),
    Metric(
        "llm_process_resident_memory_bytes",
        Kind.GAUGE,
        "bytes",
        ("component",),
        "Resident memory of a process.",
    ),
    Metric(
        "llm_process_cpu_seconds_total",
        Kind.COUNTER,
        "seconds",
        ("component",),
        "User and system CPU time of a process.",
    ),
    Metric(
        "llm_user_feedback_total",
        Kind.COUNTER,
        "",
        ("rating",),
        "Ratings sent by users.",
    ),
    Metric(
        "llm_conversations_started_total",
        Kind.COUNTER,
        "",
        (),
        "Conversations that began.",
    ),
    Metric(
        "llm_conversations_ended_total",
        Kind.COUNTER,
        "",
        ("end",),
        "Conversations that ended, by how.",
    ),
    Metric(
        "llm_voice_requests_total",
        Kind.COUNTER,
        "",
        ("call",),
        "Accepted requests of talking devices, by what they ask for.",
    ),
    Metric(
        "llm_voice_turn_requests",
        Kind.HISTOGRAM,
        "",
        (),
        "Turns of talking devices that came to a spoken answer: requests that each took, one more "
        "for each round of tools.",
        TURN_BUCKETS,
    ),
    Metric(
        "llm_speech_segments_total",
        Kind.COUNTER,
        "",
        ("tier",),
        "Segments in which replies to talking devices are spoken.",
    ),
    Metric(
        "llm_speech_stutters_total",
        Kind.COUNTER,
        "",
        ("tier",),
        "Segments that came after those before them had been spoken: the device fell silent within "
        "its answer.",
    ),
    Metric(
        "llm_spoken_failures_total",
        Kind.COUNTER,
        "",
        ("error_type",),
        "Requests of talking devices that nobody answered, so that the router spoke its sentence "
        "for that, by why the last attempt failed.",
    ),
    Metric(
        "llm_client_retries_total",
        Kind.COUNTER,
        "",
        (),
        "Accepted requests that the client said it was sending again.",
    ),
    Metric(
        "llm_cost_usd_total",
        Kind.COUNTER,
        "usd",
        ("backend",),
        "Fees of the tokens used, by the configured price; electricity is not counted.",
    ),
    Metric(
        "llm_alert_actions_total",
        Kind.COUNTER,
        "",
        ("action", "result"),
        "Remedial actions, whether an alert or a probe asked for them, by what became of them.",
    ),
    Metric(
        "llm_alert_action_last_timestamp_seconds",
        Kind.GAUGE,
        "seconds",
        ("action",),
        "Unix time at which an action was last carried out; 0: never.",
    ),
    Metric(
        "llm_alert_deliveries_total",
        Kind.COUNTER,
        "",
        ("result",),
        "Deliveries of the alert webhook, by whether they were accepted.",
    ),
    Metric(
        "llm_probe_time_to_first_token_seconds",
        Kind.HISTOGRAM,
        "seconds",
        ("backend", "model"),
        "Synthetic probes of the exporter: request sent until the first token came.",
        TTFT_BUCKETS,
    ),
    Metric(
        "llm_probes_total",
        Kind.COUNTER,
        "",
        ("backend", "outcome"),
        "Synthetic probes of the exporter, by how they ended.",
    ),
    Metric(
        "llm_probe_engine_seconds",
        Kind.GAUGE,
        "seconds",
        ("backend", "phase"),
        "The last probe that succeeded, by the engine's own account: where its time went.",
    ),
    Metric(
        "llm_engine_slots",
        Kind.GAUGE,
        "",
        ("backend",),
        "Requests that the engine can work on at once.",
    ),
    Metric(
        "llm_engine_requests",
        Kind.GAUGE,
        "",
        ("backend", "state"),
        "Requests inside the engine, by its own account.",
    ),
    Metric(
        "llm_engine_tokens_total",
        Kind.COUNTER,
        "tokens",
        ("backend", "type"),
        "Tokens by the engine's own account.",
    ),
    Metric(
        "llm_engine_busy_seconds_total",
        Kind.COUNTER,
        "seconds",
        ("backend", "type"),
        "Time that the engine spent on tokens, by its own account: input is prefill, output is "
        "decoding.",
    ),
    Metric(
        "llm_engine_model_loaded",
        Kind.GAUGE,
        "",
        ("backend",),
        "1 while the configured model is in memory.",
    ),
    Metric(
        "llm_engine_model_bytes",
        Kind.GAUGE,
        "bytes",
        ("backend",),
        "Memory that the loaded model takes, by the engine's own account.",
    ),
    Metric(
        "llm_exporter_collections_total",
        Kind.COUNTER,
        "",
        ("collector", "outcome"),
        "Readings of an engine or the host by the exporter, by how they ended.",
    ),
    Metric(
        "llm_exporter_last_collection_seconds",
        Kind.GAUGE,
        "seconds",
        ("collector",),
        "How long the last reading took.",
    ),
    Metric(
        "llm_load_test_run_info",
        Kind.GAUGE,
        "",
        ("run_id", "scenario"),
        "1 while a load test runs.",
    ),
    Metric(
        "llm_build_info",
        Kind.GAUGE,
        "",
        ("version",),
        "Always 1; the label tells the version.",
    ),
    Metric(
        "llm_local_share_ratio",
        Kind.GAUGE,
        "ratio",
        (),
        "Local / (local + remote) requests that ended in the last five minutes, NaN where there "
        "were none; a convenience, rules use the counters.",
    ),
)

CATALOGUE: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
"""Every metric by its name."""
