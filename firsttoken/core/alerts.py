"""Names of the alerts that may ask for an action: rules bear them, and the router acts on no other.

What an alert on a metric of ``monitoring_metrics.alerts`` asks for stands there, beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from firsttoken.core.catalogue import Action

GUIDE_ALERTS: Mapping[str, str] = {
    "local_model_response_time": "LLMHighLocalResponseTime",
    "local_model_throughput": "LLMLowLocalThroughput",
    "local_model_error_rate": "LLMHighLocalErrorRate",
    "memory_usage": "LLMHighMemoryUsage",
    "cpu_usage": "LLMHighCpuUsage",
    "local_vs_remote_ratio": "LLMLocalRatioOffTarget",
    "user_satisfaction_score": "LLMLowUserSatisfaction",
    "first_response_time": "LLMHighFirstResponseTime",
    "conversation_completion_rate": "LLMLowConversationCompletion",
}
"""By the guide's metric."""

OWN_ALERTS: Mapping[str, Action] = {
    "LLMLocalBackendDown": Action.RESTART_SERVICE,
    "LLMFallbackStorm": Action.REDUCE_LOCAL_TRAFFIC,
}
"""Alerts of ours, with the action that each asks for."""
