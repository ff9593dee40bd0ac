"""``python -m exporter.document``: writes ``docs/metrics.md`` from the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from exporter import buckets
from exporter.document_texts import EXPORTER, GUIDE, HEAD
from firsttoken.core.catalogue import (
    CATALOGUE,
    DURATION_BUCKETS,
    LABEL_VALUES,
    TPOT_BUCKETS,
    TTFT_BUCKETS,
    ActionResult,
    CacheCheck,
    CacheResult,
    CircuitState,
    DeliveryResult,
    EngineRequestState,
    HedgeResult,
    Metric,
)

FILE = Path("docs/metrics.md")

_LAYOUTS = {
    TTFT_BUCKETS: "first token",
    TPOT_BUCKETS: "token",
    DURATION_BUCKETS: "duration",
}

_OWN_VALUES: dict[tuple[str, str], tuple[str, ...]] = {
    ("llm_hedges_total", "result"): tuple(HedgeResult),
    ("llm_alert_actions_total", "result"): tuple(ActionResult),
    ("llm_alert_deliveries_total", "result"): tuple(DeliveryResult),
    ("llm_cache_lookups_total", "result"): tuple(CacheResult),
    ("llm_cache_verifications_total", "result"): tuple(CacheCheck),
    ("llm_circuit_state", "state"): tuple(CircuitState),
    ("llm_engine_requests", "state"): tuple(EngineRequestState),
}
"""Closed sets of labels whose values depend on the metric."""

_FROM_SETTINGS = {
    "backend": "the configured backends; `none`: no backend served it",
    "model": "the configured models; every other name is `other`",
    "from": "the configured backends",
    "to": "the configured backends",
    "run_id": "the load test that runs",
    "scenario": "the scenario of the load test that runs",
    "version": "of this package",
}


def render() -> str:
    """Return the document."""
    return "\n".join(
        (
            *HEAD,
            *_metrics(),
            "",
            *EXPORTER,
            "",
            *_labels(),
            "",
            *_layouts(),
            "",
            *_guide(),
            "",
            *_opentelemetry(),
            "",
            *_errors(),
            "",
        )
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def _code(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _metrics() -> list[str]:
    def row(metric: Metric) -> Sequence[str]:
        layout = _LAYOUTS.get(metric.buckets, "")
        kind = f"{metric.kind} ({layout})" if layout else str(metric.kind)
        return f"`{metric.name}`", kind, metric.unit or "count", _code(metric.labels), metric.help

    return _table(("name", "type", "unit", "labels", "meaning"), map(row, CATALOGUE.values()))


def _labels() -> list[str]:
    used = dict.fromkeys(label for metric in CATALOGUE.values() for label in metric.labels)
    rows = []
    for label in used:
        of_metrics = {
            metric: values for (metric, name), values in _OWN_VALUES.items() if name == label
        }
        if of_metrics:
            rows += [(f"`{label}` of `{m}`", _code(values)) for m, values in of_metrics.items()]
        elif label in LABEL_VALUES:
            rows.append((f"`{label}`", _code(LABEL_VALUES[label])))
        elif label in _FROM_SETTINGS:
            rows.append((f"`{label}`", _FROM_SETTINGS[label]))
    return [
        "## Labels",
        "",
        "All values come from closed sets, so that nothing a client sends can add a series.",
        "",
        *_table(("label", "values"), rows),
    ]


def _layouts() -> list[str]:
    rows = [
        (name, str(len(edges)), ", ".join(f"{edge:g}" for edge in edges))
        for edges, name in _LAYOUTS.items()
    ]
    return [
        "## Buckets",
        "",
        "Edges in seconds. Those of the first token stand 50 ms apart where it is decided, with",
        "one on every number that is judged or alerted on.",
        "",
        *_table(("layout", "edges", "seconds"), rows),
    ]


def _guide() -> list[str]:
    rows = [(f"`{name}`", unit, meaning) for name, unit, meaning in GUIDE]
    return [
        "## The names of the deployment guide",
        "",
        "Recording rules over the metrics above; nothing else bears these names.",
        "",
        *_table(("name", "unit", "definition"), rows),
    ]


def _opentelemetry() -> list[str]:
    rows = [
        (f"`{m.name}`", f"`{m.otel_name}`", f"`{prometheus_name(m)}`")
        for m in CATALOGUE.values()
        if m.otel_name
    ]
    return [
        "## OpenTelemetry",
        "",
        "The instruments of the GenAI conventions with the same meaning, and the names that a",
        "collector gives them in Prometheus: dots become underscores, the unit is appended. The",
        "conventions have no counter of tokens: theirs is a histogram, of which ours is the sum.",
        "",
        *_table(("metric", "OpenTelemetry", "in Prometheus"), rows),
    ]


def prometheus_name(metric: Metric) -> str:
    """Return what a collector calls the OpenTelemetry instrument of a metric.

    Dots become underscores and the unit is appended, ``s`` as ``seconds``; a unit in braces such
    as ``{token}`` is left out.
    """
    name = metric.otel_name.replace(".", "_")
    return f"{name}_seconds" if metric.unit == "seconds" else name


def _errors() -> list[str]:
    head = ("buckets", *(shape.name for shape in buckets.SHAPES))
    rows = []
    for layout in buckets.LAYOUTS:
        errors = [buckets.errors(shape, layout.edges) for shape in buckets.SHAPES]
        cells = [" / ".join(f"{round(100 * error):+d}" for error in each) for each in errors]
        rows.append((f"{layout.name} ({len(layout.edges)})", *cells))
    exact = [
        " / ".join(f"{value:.3f}" for value in buckets.exact(shape)) for shape in buckets.SHAPES
    ]
    return [
        "## How far a quantile may be off",
        "",
        "Prometheus interpolates within a bucket. Error, in percent, of its p50 / p90 / p95",
        f"against the exact quantiles of {buckets.DRAWS:,} draws of four lognormal distributions",
        "of first-token times; the first row has the exact values in seconds. A blend of fast",
        "local and slow remote first tokens has no bucket where its quantile falls: show tiers",
        'apart, or the share within 400 ms, which is exact: `{le="0.4"}` / count.',
        "",
        *_table(head, [("exact, s", *exact), *rows]),
    ]


def main() -> int:
    """Write the document; return the exit code."""
    FILE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
