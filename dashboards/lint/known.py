"""The metrics and labels that a query may use: those of the catalogue, and Prometheus' own."""

from __future__ import annotations

from dashboards.metrics import PROMETHEUS_OWN
from firsttoken.core.catalogue import CATALOGUE, Kind, Metric

_PARTS = ("_bucket", "_sum", "_count")
TARGET_LABELS = frozenset({"job", "instance"})


def histogram_or_self(name: str) -> Metric | None:
    """Return the metric that a series of this name belongs to, or None."""
    known = CATALOGUE | PROMETHEUS_OWN
    for part in _PARTS:
        base = known.get(name.removesuffix(part))
        if name.endswith(part) and base is not None and base.kind is Kind.HISTOGRAM:
            return base
    metric = known.get(name)
    return None if metric is None or metric.kind is Kind.HISTOGRAM else metric


def labels(name: str) -> frozenset[str]:
    """Return the labels of a series of this name; none if it is not known."""
    metric = histogram_or_self(name)
    if metric is None:
        return frozenset()
    edge = {"le"} if name.endswith("_bucket") else set()
    return frozenset({*metric.labels, *TARGET_LABELS, *edge})
