"""Instruments made from the catalogue, and the text they give."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from exporter.instruments import Instruments, LabelSet
from firsttoken.core.catalogue import CATALOGUE, TTFT_BUCKETS, Kind


def test_known_label_sets_are_there_at_zero_and_nothing_else() -> None:
    known = LabelSet("llm_attempts_total", (("a", "m", "success"), ("a", "m", "error")))
    instruments = Instruments(["llm_attempts_total", "llm_build_info"], [known])
    instruments.counter("llm_attempts_total")("a", "m", "error").inc(2)
    text = instruments.render().decode()
    samples = {
        (sample.name, sample.labels.get("outcome")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples == {
        ("llm_attempts_total", "success"): 0.0,
        ("llm_attempts_total", "error"): 2.0,
    }
    assert "_created" not in text
    assert "# HELP llm_build_info " in text


def test_every_metric_of_the_catalogue_can_be_made() -> None:
    instruments = Instruments(CATALOGUE)
    for metric in CATALOGUE.values():
        labels = ["x"] * len(metric.labels)
        if metric.kind is Kind.COUNTER:
            instruments.counter(metric.name)(*labels).inc()
        elif metric.kind is Kind.GAUGE:
            instruments.gauge(metric.name)(*labels).set(1)
        else:
            instruments.histogram(metric.name)(*labels).observe(0.4)
    families = {
        family.name: family
        for family in text_string_to_metric_families(instruments.render().decode())
    }
    for metric in CATALOGUE.values():
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        assert set(metric.labels) == set(family.samples[0].labels) - {"le"}


def test_an_edge_counts_what_lies_on_it() -> None:
    instruments = Instruments(["llm_time_to_first_token_seconds"])
    child = instruments.histogram("llm_time_to_first_token_seconds")("local", "local", "m")
    for seconds in (0.4, 0.401):
        child.observe(seconds)
    buckets = {
        sample.labels["le"]: sample.value
        for family in text_string_to_metric_families(instruments.render().decode())
        for sample in family.samples
        if sample.name.endswith("_bucket")
    }
    assert buckets["0.4"] == 1.0
    assert buckets["0.45"] == 2.0
    assert len(buckets) == len(TTFT_BUCKETS) + 1


def test_children_are_made_once() -> None:
    family = Instruments(["llm_mode"]).gauge("llm_mode")
    assert family("normal") is family("normal")
