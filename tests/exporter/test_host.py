"""The engine's control group over trees of our own, and what is not told."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from exporter.host import HostCollector
from tests.core.test_host import tree
from tests.exporter.test_process import read

PSI = "some avg10=9.00 avg60={} avg300=0.00 total=1\nfull avg10=9.00 avg60={} avg300=0.00 total=1\n"
OWN = psutil.Process()


def group_of_engine(root: Path) -> Path:
    return tree(
        root,
        {
            f"proc/{os.getpid()}/cgroup": "0::/engine\n",
            "proc/pressure/memory": PSI.format("1.00", "1.00"),
            "sys/fs/cgroup/engine/memory.max": "2000\n",
            "sys/fs/cgroup/engine/memory.stat": "anon 700\nshmem 100\nfile 600\n",
            "sys/fs/cgroup/engine/memory.pressure": PSI.format("20.00", "10.00"),
            "sys/fs/cgroup/engine/cpu.pressure": PSI.format("50.00", "0.00"),
            "sys/fs/cgroup/engine/cpu.max": "50000 100000\n",
        },
    )


def test_a_control_group(tmp_path: Path) -> None:
    group_of_engine(tmp_path)
    assert read(HostCollector(lambda: [OWN], tmp_path)) == {
        ("llm_memory_unreclaimable_bytes", ""): 800.0,
        ("llm_memory_reclaimable_bytes", ""): 500.0,
        ("llm_memory_limit_bytes", ""): 2000.0,
        ("llm_memory_pressure_ratio", "some"): 0.2,
        ("llm_memory_pressure_ratio", "full"): 0.1,
        ("llm_cpu_pressure_ratio", ""): 0.5,
        ("llm_cpu_limit_cores", ""): 0.5,
    }


def test_an_engine_that_is_not_here_leaves_the_pressure_of_the_host(tmp_path: Path) -> None:
    group_of_engine(tmp_path)
    assert read(HostCollector(tuple, tmp_path)) == {
        ("llm_memory_pressure_ratio", "some"): 0.01,
        ("llm_memory_pressure_ratio", "full"): 0.01,
    }


def test_without_control_groups_the_processes_and_the_host_are_read(tmp_path: Path) -> None:
    samples = read(HostCollector(lambda: [OWN], tmp_path))
    assert set(samples) == {
        ("llm_memory_unreclaimable_bytes", ""),
        ("llm_memory_reclaimable_bytes", ""),
        ("llm_memory_limit_bytes", ""),
        ("llm_cpu_limit_cores", ""),
    }
    total = psutil.virtual_memory().total
    assert samples["llm_memory_limit_bytes", ""] == total
    assert 1e6 < samples["llm_memory_unreclaimable_bytes", ""] < total
    assert samples["llm_cpu_limit_cores", ""] == len(os.sched_getaffinity(0))


def test_this_machine_gives_what_it_can() -> None:
    samples = read(HostCollector(lambda: [OWN]))
    assert samples["llm_memory_limit_bytes", ""] > samples["llm_memory_unreclaimable_bytes", ""]
    assert all(0 <= value <= 1 for (name, _), value in samples.items() if name.endswith("_ratio"))
