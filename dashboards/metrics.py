"""The metrics that boards draw, as objects of the catalogue: one that is renamed there stops the
build here. Beside them what Prometheus itself says of its targets and alerts."""

from __future__ import annotations

from firsttoken.core.catalogue import CATALOGUE, Kind, Metric

TTFT = CATALOGUE["llm_time_to_first_token_seconds"]
FIRST_SENTENCE = CATALOGUE["llm_time_to_first_sentence_seconds"]
VOICE_TURNS = CATALOGUE["llm_voice_turn_requests"]
SEGMENTS = CATALOGUE["llm_speech_segments_total"]
STUTTERS = CATALOGUE["llm_speech_stutters_total"]
SPOKEN_FAILURES = CATALOGUE["llm_spoken_failures_total"]
RETRIES = CATALOGUE["llm_client_retries_total"]
BACKEND_TTFT = CATALOGUE["llm_backend_time_to_first_token_seconds"]
DURATION = CATALOGUE["llm_request_duration_seconds"]
TPOT = CATALOGUE["llm_time_per_output_token_seconds"]
QUEUE = CATALOGUE["llm_queue_duration_seconds"]
REQUESTS = CATALOGUE["llm_requests_total"]
ATTEMPTS = CATALOGUE["llm_attempts_total"]
ERRORS = CATALOGUE["llm_errors_total"]
DECISIONS = CATALOGUE["llm_routing_decisions_total"]
FALLBACKS = CATALOGUE["llm_fallbacks_total"]
HEDGES = CATALOGUE["llm_hedges_total"]
CACHE_LOOKUPS = CATALOGUE["llm_cache_lookups_total"]
CACHE_CHECKS = CATALOGUE["llm_cache_verifications_total"]
TOKENS = CATALOGUE["llm_tokens_total"]
IN_FLIGHT = CATALOGUE["llm_requests_in_flight"]
BACKEND_INFO = CATALOGUE["llm_backend_info"]
BACKEND_UP = CATALOGUE["llm_backend_up"]
CIRCUIT = CATALOGUE["llm_circuit_state"]
MODE = CATALOGUE["llm_mode"]
MEMORY_UNRECLAIMABLE = CATALOGUE["llm_memory_unreclaimable_bytes"]
MEMORY_RECLAIMABLE = CATALOGUE["llm_memory_reclaimable_bytes"]
MEMORY_LIMIT = CATALOGUE["llm_memory_limit_bytes"]
MEMORY_PRESSURE = CATALOGUE["llm_memory_pressure_ratio"]
CPU_PRESSURE = CATALOGUE["llm_cpu_pressure_ratio"]
CPU_LIMIT = CATALOGUE["llm_cpu_limit_cores"]
PROCESS_MEMORY = CATALOGUE["llm_process_resident_memory_bytes"]
PROCESS_CPU = CATALOGUE["llm_process_cpu_seconds_total"]
FEEDBACK = CATALOGUE["llm_user_feedback_total"]
CONVERSATIONS_STARTED = CATALOGUE["llm_conversations_started_total"]
CONVERSATIONS_ENDED = CATALOGUE["llm_conversations_ended_total"]
COST = CATALOGUE["llm_cost_usd_total"]
ACTIONS = CATALOGUE["llm_alert_actions_total"]
ACTION_TIME = CATALOGUE["llm_alert_action_last_timestamp_seconds"]
DELIVERIES = CATALOGUE["llm_alert_deliveries_total"]
PROBE_TTFT = CATALOGUE["llm_probe_time_to_first_token_seconds"]
PROBES = CATALOGUE["llm_probes_total"]
ENGINE_SLOTS = CATALOGUE["llm_engine_slots"]
ENGINE_REQUESTS = CATALOGUE["llm_engine_requests"]
ENGINE_TOKENS = CATALOGUE["llm_engine_tokens_total"]
ENGINE_BUSY = CATALOGUE["llm_engine_busy_seconds_total"]
ENGINE_LOADED = CATALOGUE["llm_engine_model_loaded"]
COLLECTIONS = CATALOGUE["llm_exporter_collections_total"]
COLLECTION_TIME = CATALOGUE["llm_exporter_last_collection_seconds"]
LOAD_TEST = CATALOGUE["llm_load_test_run_info"]
BUILD = CATALOGUE["llm_build_info"]

UP = Metric("up", Kind.GAUGE, "", (), "1 while Prometheus can scrape the target.")
SCRAPE_TIME = Metric(
    "scrape_duration_seconds", Kind.GAUGE, "seconds", (), "How long the last scrape took."
)
SCRAPE_SERIES = Metric(
    "scrape_samples_scraped", Kind.GAUGE, "", (), "Series that the last scrape brought."
)
ALERTS = Metric(
    "ALERTS",
    Kind.GAUGE,
    "",
    ("alertname", "alertstate", "severity"),
    "1 for each alert that is pending or firing.",
)

PROMETHEUS_OWN: dict[str, Metric] = {
    metric.name: metric for metric in (UP, SCRAPE_TIME, SCRAPE_SERIES, ALERTS)
}
"""What every Prometheus has without an exporter."""
