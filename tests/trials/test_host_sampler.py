"""Who used the cores: told from the tree of processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.host import Usage, processes
from firsttoken.core.records import consolidate, read_table
from firsttoken.trials.host_sampler import HostSampler, owners_of, used_between

TREE = {
    1: Usage(0, "init", 10, 1),
    2: Usage(0, "kthreadd", 1, 1),
    3: Usage(2, "kworker", 5, 1),
    10: Usage(1, "firsttoken", 100, 5),
    11: Usage(10, "engine", 900, 6),
    12: Usage(11, "engine", 50, 7),
    13: Usage(10, "cloud", 20, 7),
    20: Usage(1, "browser", 400, 2),
}
ROOTS = {"kernel": [2], "other": [10], "engine": [11]}


def test_a_process_belongs_to_its_nearest_ancestor_that_is_known() -> None:
    assert owners_of(TREE, ROOTS) == {
        2: "kernel",
        3: "kernel",
        10: "other",
        11: "engine",
        12: "engine",
        13: "other",
    }


def test_a_circle_of_parents_ends() -> None:
    assert owners_of({7: Usage(8, "a", 1, 1), 8: Usage(7, "b", 1, 1)}, {"other": [9]}) == {}


def test_what_began_in_between_counts_from_its_start_and_what_was_reused_too() -> None:
    now = {
        **TREE,
        11: Usage(10, "engine", 30, 99),
        14: Usage(10, "new", 7, 98),
        20: Usage(1, "browser", 460, 2),
    }
    used = used_between(TREE, now, owners_of(now, ROOTS))
    assert used.by_owner == {"kernel": 0, "other": 7, "engine": 30}
    assert used.foreign_program == "browser"


def test_a_name_may_hold_anything(tmp_path: Path) -> None:
    stat = tmp_path / "proc/42/stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("42 (a) b) (c) S 7 " + " ".join(str(n) for n in range(5, 45)))
    (tmp_path / "proc/43").mkdir()
    assert processes(tmp_path) == {42: Usage(7, "a) b) (c", 14 + 15, 22)}


def spin(seconds: float) -> None:
    """Keep a core busy: a clock tick, the unit of the kernel's figures, is 10 ms."""
    until_ns = monotonic_ns() + int(seconds * NS_PER_S)
    while monotonic_ns() < until_ns:
        sum(range(1000))


def test_a_component_and_this_process_are_told_apart(tmp_path: Path) -> None:
    with Child.start([sys.executable, "-c", "print('{}', flush=True)\nwhile True: pass"]) as busy:
        sampler = HostSampler(tmp_path, {"engine": lambda: [busy.pid]})
        spin(0.3)
        sampler.sample()
        sampler.close()
    consolidate(tmp_path)
    row = read_table(tmp_path, "host").to_pylist()[0]
    assert row["engine_cpu"] > 0.05
    assert row["other_cpu"] > 0.05
    assert row["foreign_cpu"] >= 0


def test_nothing_is_foreign_where_the_server_is_not_known(tmp_path: Path) -> None:
    sampler = HostSampler(tmp_path, {}, servers_known=lambda: False)
    spin(0.05)
    sampler.sample()
    sampler.close()
    consolidate(tmp_path)
    row = read_table(tmp_path, "host").to_pylist()[0]
    assert row["foreign_cpu"] is None
    assert row["engine_cpu"] is None
    assert row["generator_cpu"] is None


def test_an_unknown_component_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cloud"):
        HostSampler(tmp_path, {"cloud": list})
