"""Which differences forbid comparing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firsttoken.core import slo
from firsttoken.core.records import ArmTarget
from reports.gate import samples
from reports.gate.likeness import differences
from tests.reports import runs
from tests.reports.gate import made

SLO = slo.load()
HOST = {"cpu_model": "Example CPU", "cores": 2.0, "memory_bytes": 8_000_000_000}
ARM = ArmTarget("hybrid", "http://127.0.0.1:8080", "smollm2-135m", "openai", runs.NOTES["hybrid"])


def arm(**changes: str) -> list[ArmTarget]:
    """Return the arm with other words in it."""
    told = {"arm": ARM.arm, "url": ARM.url, "model": ARM.model, "dialect": ARM.dialect}
    return [ArmTarget(**{**told, "note": ARM.note, **changes})]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"host": {**HOST, "cpu_model": "Other CPU"}}, "CPU model"),
        ({"host": {**HOST, "cores": 4.0}}, "cores"),
        ({"host": {}}, "CPU model"),
        ({"scenario": "sessions"}, "scenario"),
        ({"steps": [5, 20]}, "steps"),
        ({"arms": arm(model="qwen2:1.5b")}, "model"),
        ({"arms": arm(dialect="ollama")}, "dialect"),
        ({"arms": arm(note="router")}, "remote tier"),
        ({"affinity": {"servers": [0], "generator": [1]}}, "pinned"),
    ],
)
def test_forbidden(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    one = samples.read(made.run(tmp_path / "a", n=5), SLO)
    other = samples.read(made.run(tmp_path / "b", n=5, **changes), SLO)
    found = differences(one.conditions, other.conditions)
    assert name in [item.name for item in found if item.forbids]
    assert found[0].forbids


def test_versions_may_differ(tmp_path: Path) -> None:
    one = samples.read(made.run(tmp_path / "a", n=5, git_sha="aaa"), SLO)
    changes: dict[str, Any] = {
        "git_sha": "bbb",
        "versions": {"firsttoken": "0.2.0", "locust": "2.47.0"},
        "settings_hash": "ccc",
        "seed": 8,
        "arms": arm(url="http://127.0.0.1:9999"),
    }
    other = samples.read(made.run(tmp_path / "b", n=5, **changes), SLO)
    found = differences(one.conditions, other.conditions)
    assert [(item.name, item.baseline, item.candidate) for item in found] == [
        ("git sha", "aaa", "bbb"),
        ("version of firsttoken", "0.1.0", "0.2.0"),
        ("version of python", "3.11.7", None),
        ("settings hash", None, "ccc"),
        ("seed", 7.0, 8.0),
        ("version of locust", None, "2.47.0"),
    ]
    assert not any(item.forbids for item in found)


def test_alike(tmp_path: Path) -> None:
    one = samples.read(made.run(tmp_path / "a", n=5), SLO)
    assert differences(one.conditions, one.conditions) == []


@pytest.mark.parametrize(
    ("one", "other", "forbids"),
    [(63.0, 65.0, False), (60.0, 91.0, True), (91.0, 60.0, True), (60.0, None, False)],
)
def test_prompts_of_about_one_length(one: float, other: float | None, forbids: bool) -> None:
    found = differences({"prompt tokens": one}, {"prompt tokens": other})
    assert [item.forbids for item in found] == [forbids]


def test_who_answered_is_not_known_where_all_failed() -> None:
    router, other = {"answered by": "this router"}, {"answered by": "another server"}
    assert [item.forbids for item in differences(router, other)] == [True]
    assert [item.forbids for item in differences(router, {"answered by": None})] == [False]


def test_benchmarks_of_another_machine(tmp_path: Path) -> None:
    one = samples.read(made.benchmarks(tmp_path / "a.json", {"b.py::t": 1.0}), SLO)
    file = made.benchmarks(tmp_path / "b.json", {"b.py::t": 1.0}, cpu="Other CPU")
    found = differences(one.conditions, samples.read(file, SLO).conditions)
    assert [(item.name, item.forbids) for item in found] == [("benchmarks: CPU model", True)]
