"""Readers of /proc and the cgroup, on trees of our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from firsttoken.core import host

GIB = 1 << 30


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal: 8388608 kB\nMemFree: 1048576 kB\nMemAvailable: 4194304 kB\nCached: 1024 kB\n"


def test_without_a_limit_memory_is_the_hosts(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/meminfo": MEMINFO})
    assert host.memory(tmp_path) == host.Memory(unreclaimable=4 * GIB, file=1 << 20, limit=8 * GIB)
    assert host.memory_available(tmp_path) == 4 * GIB


def test_with_a_limit_mapped_files_do_not_count(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/box/memory.stat": (
                f"anon {GIB}\nfile {GIB}\nshmem 1\nkernel_stack 2\npagetables 3\n"
                "slab_unreclaimable 4\nslab_reclaimable 1000\n"
            ),
        },
    )
    assert host.memory(tmp_path) == host.Memory(GIB + 10, GIB - 1, 2 * GIB)
    assert host.memory_available(tmp_path) == GIB - 10


@pytest.mark.parametrize(("text", "cores"), [("50000 100000", 0.5), ("max 100000", None)])
def test_the_quota_limits_the_cores(tmp_path: Path, text: str, cores: float | None) -> None:
    tree(tmp_path, {"sys/fs/cgroup/cpu.max": text})
    assert host.cpu_quota(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_ticks_pressure_and_throttling(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/stat": "cpu  10 0 20 60 5 0 1 4 7 0\ncpu0 1 2 3\n",
            "proc/pressure/cpu": "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 9\nthrottled_usec 1234\n",
        },
    )
    assert host.cpu_ticks(tmp_path) == host.CpuTicks(
        total=100, idle=65, steal=4, programs=30, throttled_us=1234
    )
    assert host.cpu_pressure_some(tmp_path) == 0.125


def test_pressure_by_who_stood_still(tmp_path: Path) -> None:
    file = tmp_path / "memory.pressure"
    file.write_text(
        "some avg10=1.00 avg60=2.50 avg300=0.10 total=9\n"
        "full avg10=0.00 avg60=0.50 avg300=0.00 total=1\n"
    )
    assert host.pressure(file) == {"some": 0.025, "full": 0.005}
    assert host.pressure(tmp_path / "none") == {}


def test_the_group_of_another_process(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "proc/7/cgroup": "9:memory:/old\n0::/engine\n",
            "sys/fs/cgroup/engine/memory.max": "1000\n",
            "sys/fs/cgroup/engine/memory.stat": "anon 100\nfile 500\n",
            "sys/fs/cgroup/engine/cpu.max": "50000 100000\n",
        },
    )
    group = host.cgroup_dir(tmp_path, 7)
    assert host.group_memory(group) == host.Memory(100, 500, 1000)
    assert host.cpu_quota(tmp_path, os.getpid()) == len(os.sched_getaffinity(0))
    (group / "memory.max").write_text("max\n")
    assert host.group_memory(group) is None


def test_a_kernel_that_tells_nothing_gives_none(tmp_path: Path) -> None:
    assert host.memory(tmp_path) is None
    assert host.memory_available(tmp_path) is None
    assert host.cpu_ticks(tmp_path) is None
    assert host.cpu_pressure_some(tmp_path) is None


def test_this_machine_is_described() -> None:
    described = host.describe()
    assert described["cores"] > 0
    assert described["memory_bytes"] > GIB // 4
