"""What Alertmanager posts, made up for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def written(unix_s: float) -> str:
    """Return a time as Alertmanager writes it."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def alert(name: str, action: str | None, starts_s: float, **changes: Any) -> dict[str, Any]:
    """Return one alert of a delivery."""
    labels = {"alertname": name, "severity": "critical"}
    labels |= {} if action is None else {"action": action}
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "a summary"},
        "startsAt": written(starts_s),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "0123456789abcdef",
        **changes,
    }


def delivery(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a delivery."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="x"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "loop",
        "groupLabels": {"alertname": "x"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(alerts),
        **changes,
    }
