"""The guide's metrics and what each is made of on the router's own page."""

from __future__ import annotations

from dataclasses import dataclass

from firsttoken.core.words import Outcome, Tier
from firsttoken.trials.status_snapshot import Samples


@dataclass(frozen=True, slots=True)
class Source:
    """One series behind a metric of the guide."""

    name: str
    """As exposed."""
    labels: tuple[tuple[str, str], ...] = ()
    moves: bool = True
    """Whether the doctor's questions make it grow."""

    def total(self, samples: Samples) -> float | None:
        """Return the sum over its samples; None where there are none."""
        found = samples.of(self.name, **dict(self.labels))
        return sum(value for _, value in found) if found else None


GUIDE_METRICS: dict[str, tuple[Source, ...]] = {
    "local_model_response_time": (
        Source("llm_backend_time_to_first_token_seconds_count", (("backend", "local"),)),
    ),
    "local_model_throughput": (
        Source("llm_tokens_total", (("backend", "local"), ("type", "output"))),
    ),
    "local_model_error_rate": (Source("llm_attempts_total", (("backend", "local"),)),),
    "memory_usage": (
        Source("llm_memory_unreclaimable_bytes", moves=False),
        Source("llm_memory_limit_bytes", moves=False),
    ),
    "cpu_usage": (
        Source("llm_process_cpu_seconds_total", (("component", "engine"),)),
        Source("llm_cpu_limit_cores", moves=False),
    ),
    "local_vs_remote_ratio": (
        Source("llm_requests_total", (("tier", Tier.LOCAL), ("outcome", Outcome.SUCCESS))),
    ),
    "user_satisfaction_score": (Source("llm_user_feedback_total", moves=False),),
    "first_response_time": (Source("llm_time_to_first_token_seconds_count"),),
    "conversation_completion_rate": (
        Source("llm_conversations_started_total"),
        Source("llm_conversations_ended_total", moves=False),
    ),
}
"""By the guide's name; ``dashboards`` makes the recording rules of the same names."""

OF_THE_MACHINE = frozenset({"memory_usage", "cpu_usage"})
"""The router has them only where the engine is on its own machine; elsewhere the exporter has."""


def lacking(before: Samples, after: Samples, *, answered: bool) -> dict[str, str]:
    """Return what is wrong by the guide's names: a source that is missing, or one that stood still
    although the local model ``answered`` questions between the two readings."""
    found = {}
    for metric, sources in GUIDE_METRICS.items():
        for source in sources:
            now, then = source.total(after), source.total(before)
            if now is None:
                found[metric] = f"{source.name} is missing"
            elif answered and source.moves and now <= (then or 0.0):
                found.setdefault(metric, f"{source.name} stands still")
    return found
