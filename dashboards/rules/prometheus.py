"""The configuration of Prometheus: two jobs, our rules, one Alertmanager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboards.promql import duration
from dashboards.rules.model import USUAL, Pace
from dashboards.rules.terms import EXPORTER_JOB, ROUTER_JOB

RULE_FILES = ("recording.yml", "alerts.yml")
"""Beside the configuration."""

SAMPLE_LIMIT = 5_000
"""Of one scrape; our own stay below 1,500. A target that grows past it is refused as a whole,
which ``LLMRouterAbsent`` reports, rather than filling the disk."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """``host:port`` of each server, as Prometheus reaches it."""

    router: str = "router:8080"
    exporter: str = "exporter:9464"
    alertmanager: str = "alertmanager:9093"


def config(addresses: Addresses, pace: Pace = USUAL) -> dict[str, Any]:
    """Return the content of ``prometheus.yml``."""
    return {
        "global": {
            "scrape_interval": duration(pace.scrape),
            "scrape_timeout": duration(max(1, min(pace.scrape - 1, 10))),
            "evaluation_interval": duration(pace.evaluation),
        },
        "rule_files": list(RULE_FILES),
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [addresses.alertmanager]}]}]
        },
        "scrape_configs": [
            _job(ROUTER_JOB, addresses.router),
            _job(EXPORTER_JOB, addresses.exporter),
        ],
    }


def _job(name: str, address: str) -> dict[str, Any]:
    return {
        "job_name": name,
        "metrics_path": "/metrics",
        "follow_redirects": False,
        "sample_limit": SAMPLE_LIMIT,
        "label_limit": 20,
        "label_name_length_limit": 60,
        "label_value_length_limit": 250,
        "body_size_limit": "4MB",
        "static_configs": [{"targets": [address]}],
    }
