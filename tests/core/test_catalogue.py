"""The catalogue keeps the naming rules, and its labels are closed sets."""

from __future__ import annotations

import re

import pytest

from firsttoken.core.catalogue import (
    CATALOGUE,
    DURATION_BUCKETS,
    LABEL_VALUES,
    TPOT_BUCKETS,
    TTFT_BUCKETS,
    Kind,
    Metric,
)

UNITS = {"seconds", "bytes", "ratio", "usd", "tokens", "cores", ""}

OPEN_LABELS = {"backend", "model", "from", "to", "run_id", "scenario", "version"}
"""Their values come from the settings, the package or the run."""

OTHER_CLOSED = {"result"}
"""Closed where they are set, each metric for itself."""


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_naming_rules(metric: Metric) -> None:
    assert re.fullmatch(r"llm_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert metric.unit in UNITS
    assert metric.help.endswith(".")
    assert metric.name.endswith("_total") is (metric.kind is Kind.COUNTER)
    if metric.unit and metric.unit != "tokens":
        assert metric.name.removesuffix("_total").endswith(f"_{metric.unit}")
    assert bool(metric.buckets) is (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert len(set(metric.labels)) == len(metric.labels)
    assert set(metric.labels) <= {*LABEL_VALUES, *OPEN_LABELS, *OTHER_CLOSED}
    assert re.fullmatch(r"(gen_ai\.[a-z_.]+)?", metric.otel_name)


def test_every_judged_number_is_a_bucket_edge() -> None:
    assert {0.2, 0.3, 0.4, 0.5, 1.0, 1.5, 3.0} <= set(TTFT_BUCKETS)
    assert len(TTFT_BUCKETS) == 19
    assert len(TPOT_BUCKETS) == 14
    assert {0.3, 0.4, 0.5, 2.0} <= set(DURATION_BUCKETS)


def test_keys_are_names() -> None:
    assert all(name == metric.name for name, metric in CATALOGUE.items())
