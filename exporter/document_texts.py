"""What ``docs/metrics.md`` says that the catalogue does not."""

from __future__ import annotations

HEAD = (
    "<!-- Written by `python -m exporter.document`; change firsttoken/core/catalogue.py. -->",
    "",
    "# Metrics",
    "",
    "Every metric of the router (port 8080) and of `firsttoken exporter` (port 9464), both at",
    "`/metrics`. Each is defined once, in `firsttoken/core/catalogue.py`; rules, boards and this",
    "page are made from there. Histograms have the series `_bucket`, `_sum` and `_count`.",
    "",
)

EXPORTER = (
    "## Where the figures of a bare engine come from",
    "",
    "`firsttoken exporter --target http://127.0.0.1:11434` watches one engine; the label `backend`",
    "is `local`. `/metrics` shows what was learned last and never waits for the engine.",
    "",
    "- **Probe**, every 15 s: one streamed question of a few words, answered with four tokens at",
    "  most, timed as a user would. It is made while the engine is busy too: the wait in its queue",
    "  is what a user would feel. There is never more than one under way, it is given up after",
    "  10 s (then it counts as `timeout` and has no time in the histogram), and times that fall",
    "  due meanwhile are left out. Each question begins with another number, so that no cache of",
    "  prompts answers it. A model that Ollama has not loaded is not probed (`cancelled`): that",
    "  would load it. With `--config` the probe brings the options of the settings, as the router",
    "  does; with others Ollama would load the model anew each time.",
    "- **The engine's own account**, every 5 s: llama.cpp (`/props`, `/metrics`, `/slots`,",
    "  `/v1/models`), Ollama (`/api/ps`, `/api/tags`; how long it worked on a probe comes with its",
    "  answer), vLLM (`/metrics`, `/v1/models`). An engine that does not answer has no figures.",
    "  Seconds are summed over requests: several at once make more than one second a second.",
    "- **Memory and CPU** at each scrape, where the engine's process is on this machine and may be",
    "  seen: it is found by its port, or named with `--pid`. Memory is that of its control group;",
    "  where that has no limit, that of its processes against the memory of the host.",
    "",
    "The router exposes the same memory and CPU figures of its local engine.",
)

GUIDE = (
    (
        "local_model_response_time",
        "seconds",
        (
            "95th percentile, over five minutes, of the time to the first token at backends of the "
            "tier `local`: `llm_backend_time_to_first_token_seconds`"
        ),
    ),
    (
        "local_model_throughput",
        "tokens a second",
        "output tokens of the backends of the tier `local`: `llm_tokens_total`",
    ),
    (
        "local_model_error_rate",
        "ratio",
        (
            "attempts at local backends that failed, timed out or were turned away / all but "
            "those that were given up, before any failover: `llm_attempts_total`"
        ),
    ),
    (
        "memory_usage",
        "ratio",
        (
            "`llm_memory_unreclaimable_bytes` / `llm_memory_limit_bytes`: a mapped model file, "
            "which the kernel can drop and read again, is not part of it"
        ),
    ),
    (
        "cpu_usage",
        "ratio",
        "CPU time of the engine a second / `llm_cpu_limit_cores`",
    ),
    (
        "local_vs_remote_ratio",
        "ratio",
        (
            "requests served by the tier `local` / by the tiers `local` and `remote`: "
            "`llm_requests_total`; what a cache answered is shown beside it"
        ),
    ),
    (
        "user_satisfaction_score",
        "1 to 5",
        "mean of the ratings: `llm_user_feedback_total`",
    ),
    (
        "first_response_time",
        "seconds",
        (
            "95th percentile, over five minutes, of the time to the first token as delivered, over "
            "all tiers: `llm_time_to_first_token_seconds`"
        ),
    ),
    (
        "conversation_completion_rate",
        "ratio",
        (
            "conversations that ended as `completed` / all that ended; those that still go on are "
            "in neither: `llm_conversations_ended_total`"
        ),
    ),
)
"""The names of the deployment guide: name, unit, definition."""
