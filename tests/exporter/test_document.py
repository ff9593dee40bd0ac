"""``docs/metrics.md`` is what the catalogue says, and names translate as collectors do it."""

from __future__ import annotations

from pathlib import Path

from exporter import document
from exporter.document_texts import GUIDE
from firsttoken.core.catalogue import CATALOGUE, LABEL_VALUES, TTFT_BUCKETS

COMMITTED = Path(__file__).parents[2] / document.FILE


def test_the_committed_document_is_the_catalogue() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == document.render(), (
        "run: python -m exporter.document"
    )


def test_it_has_every_metric_and_label() -> None:
    text = document.render()
    for metric in CATALOGUE.values():
        assert f"| `{metric.name}` |" in text
    for values in LABEL_VALUES.values():
        assert all(f"`{value}`" in text for value in values)
    assert all(f"{edge:g}" in text for edge in TTFT_BUCKETS)


def test_every_label_tells_its_values() -> None:
    text = document.render()
    for metric in CATALOGUE.values():
        for label in metric.labels:
            anywhere = f"\n| `{label}` |" in text
            assert anywhere or f"\n| `{label}` of `{metric.name}` |" in text, (metric.name, label)


def test_the_names_of_the_guide() -> None:
    names = [name for name, *_ in GUIDE]
    assert len(names) == len(set(names)) == 9
    assert not set(names) & CATALOGUE.keys()


def test_opentelemetry_names_in_prometheus() -> None:
    assert {
        m.otel_name: document.prometheus_name(m) for m in CATALOGUE.values() if m.otel_name
    } == {
        "gen_ai.client.operation.time_to_first_chunk": (
            "gen_ai_client_operation_time_to_first_chunk_seconds"
        ),
        "gen_ai.server.time_to_first_token": "gen_ai_server_time_to_first_token_seconds",
        "gen_ai.client.operation.duration": "gen_ai_client_operation_duration_seconds",
        "gen_ai.server.time_per_output_token": "gen_ai_server_time_per_output_token_seconds",
        "gen_ai.client.token.usage": "gen_ai_client_token_usage",
    }
