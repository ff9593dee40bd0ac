"""The process collector over a made-up process file system."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from exporter.process import ProcessCollector


def _samples(collector: ProcessCollector) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(collector)
    return {
        (sample.name, sample.labels["component"]): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_memory_and_cpu_of_a_process(tmp_path: Path) -> None:
    fields = ["S", *(str(number) for number in range(4, 50))]
    fields[11], fields[12], fields[21] = "150", "50", "10"
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (odd ) name) {' '.join(fields)}")
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert _samples(ProcessCollector({"router": 7, "engine": 8}, tmp_path)) == {
        ("llm_process_cpu_seconds_total", "router"): 200 / ticks,
        ("llm_process_resident_memory_bytes", "router"): 10 * page,
    }


def test_this_process() -> None:
    samples = _samples(ProcessCollector({"router": os.getpid()}))
    assert samples["llm_process_resident_memory_bytes", "router"] > 1e7
    assert samples["llm_process_cpu_seconds_total", "router"] > 0
