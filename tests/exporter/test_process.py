"""Memory and CPU of real processes, summed by component."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from exporter.process import ProcessCollector

CPU = "llm_process_cpu_seconds_total"
RESIDENT = "llm_process_resident_memory_bytes"


def read(collector: Collector) -> dict[tuple[str, str], float]:
    """Return the samples by name and the value of the only label, if there is one."""
    registry = CollectorRegistry()
    registry.register(collector)
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_this_process_and_none() -> None:
    own = psutil.Process()
    samples = read(ProcessCollector({"router": lambda: [own], "engine": list}))
    assert set(samples) == {(CPU, "router"), (RESIDENT, "router")}
    assert abs(samples[RESIDENT, "router"] - own.memory_info().rss) < 2e7
    times = own.cpu_times()
    assert 0 < samples[CPU, "router"] <= times.user + times.system


def test_the_time_of_a_child_that_ended_stays_in_the_sum() -> None:
    busy = (
        "import time, sys\nwhile time.process_time() < 0.1: pass\n"
        "print(flush=True)\nsys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", busy], stdin=-1, stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    own, child = psutil.Process(os.getpid()), psutil.Process(process.pid)
    present: Sequence[psutil.Process] = [own, child]
    collector = ProcessCollector({"engine": lambda: present})
    before = read(collector)
    process.communicate()
    gone = read(collector)
    present = [own]
    after = read(collector)
    assert before[CPU, "engine"] <= gone[CPU, "engine"] <= after[CPU, "engine"]
    assert after[CPU, "engine"] < before[CPU, "engine"] + 1
    assert after[RESIDENT, "engine"] < before[RESIDENT, "engine"] + 2e7
