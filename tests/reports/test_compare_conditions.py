"""What differs in the conditions comes first, the gravest first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.records import ArmTarget
from reports import build as reports
from reports.build import Report
from reports.compare import build, conditions
from reports.compare.difference import Difference, Weight
from reports.compare.sides import Lane, Match, Side
from tests.reports import runs
from tests.reports.runs import Block, lognormal

BLOCK = Block("hybrid", 20, lognormal(200, 100))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("run")
    return reports.report(runs.write(folder, [BLOCK], with_attempts=False), slo_room.load(None))


def differences(report: Report, one: dict[str, Any], other: dict[str, Any]) -> list[Difference]:
    """Compare a run with itself, but for what its two manifests say."""
    sides = []
    for letter, changes in (("A", one), ("B", other)):
        manifest = replace(report.data.manifest, **{"run_id": letter, **changes})
        changed = replace(
            report,
            data=replace(report.data, manifest=manifest),
            calibration=report.calibration if manifest.calibration else (),
        )
        sides.append(Side(letter, letter, changed))
    return list(conditions.differences(Match(sides[0], sides[1], (Lane("hybrid", "hybrid"),))))


def target(**changes: str) -> dict[str, Any]:
    made = {"url": "http://127.0.0.1:8080", "model": "small", "dialect": "openai", **changes}
    return {"arms": [ArmTarget("hybrid", **made)]}


@pytest.mark.parametrize(
    ("one", "other", "condition", "weight", "words"),
    [
        (
            {"host": {"cpu_model": "Slow", "cores": 2.0, "memory_bytes": 4e9}},
            {"host": {"cpu_model": "Fast", "cores": 8.0, "memory_bytes": 8e9}},
            "machine",
            Weight.SPOILS,
            "Slow, 2 cores, 4.0 GB in A, Fast, 8 cores, 8.0 GB in B",
        ),
        ({"host": {}}, {}, "machine", Weight.SPOILS, "not recorded in A"),
        ({}, {"scenario": "burst"}, "scenario", Weight.SPOILS, "steps in A, burst in B"),
        (target(), target(model="large"), "model", Weight.SPOILS, "small in A, large in B"),
        (
            target(note="emulated cloud"),
            target(note=""),
            "cloud",
            Weight.SPOILS,
            "emulated cloud in A, no emulated cloud in B",
        ),
        (target(note="4 slots"), target(note="24 slots"), "target", Weight.MAY_EXPLAIN, "24 slots"),
        (
            {"settings_hash": "a" * 64},
            {"settings_hash": "b" * 64},
            "settings",
            Weight.MAY_EXPLAIN,
            "aaaaaaaaaaaa in A, bbbbbbbbbbbb in B",
        ),
        ({"git_sha": "c" * 40}, {}, "code", Weight.MAY_EXPLAIN, "not recorded in B"),
        (
            {"versions": {"xllamacpp": "1", "python": "3.11"}},
            {"versions": {"xllamacpp": "2", "python": "3.11"}},
            "versions",
            Weight.MAY_EXPLAIN,
            "xllamacpp 1 in A, xllamacpp 2 in B",
        ),
        (
            {"command": ["firsttoken", "bench", "--max-tokens", "32", "--out", "x"]},
            {"command": ["firsttoken", "bench", "--max-tokens=8", "--pin", "--out", "y"]},
            "options",
            Weight.MAY_EXPLAIN,
            "--max-tokens 8, --pin given in B",
        ),
        ({"finished": False}, {}, "completeness", Weight.MAY_EXPLAIN, "was cut short in A"),
        ({}, {"seed": 8}, "seed", Weight.RECORD, "7 in A, 8 in B"),
        ({}, {"step_seconds": 60.0}, "length", Weight.RECORD, "60 s a step in B"),
        (
            {"calibration": runs.calibrated()},
            {"calibration": []},
            "clock error",
            Weight.SPOILS,
            "none in B",
        ),
    ],
)
def test_a_difference_is_told(
    report: Report,
    one: dict[str, Any],
    other: dict[str, Any],
    condition: str,
    weight: Weight,
    words: str,
) -> None:
    (found,) = (item for item in differences(report, one, other) if item.condition == condition)
    assert found.weight is weight
    assert words in found.sentence


def test_equal_conditions_leave_nothing_to_tell(report: Report) -> None:
    assert differences(report, {}, {}) == []


def test_the_gravest_come_first(report: Report) -> None:
    found = differences(
        report,
        {"seed": 1, "git_sha": "c" * 40},
        {"seed": 2, "git_sha": "d" * 40, "scenario": "burst"},
    )
    assert [item.condition for item in found] == ["scenario", "code", "seed"]


def test_an_untrusted_run_spoils_it_on_either_side(tmp_path: Path) -> None:
    folders = [
        runs.write(tmp_path / name, [BLOCK], with_attempts=False, run_id=name, calibration=[])
        for name in ("one", "other")
    ]
    (pair,) = build.read(folders, slo_room.load(None)).pairs
    assert [item.condition for item in pair.differences] == ["trust", "trust"]
    assert [item.sentence[:15] for item in pair.differences] == [
        "A is UNTRUSTED:",
        "B is UNTRUSTED:",
    ]


def rewritten(folder: Path, **columns: object) -> None:
    """Set columns of a run's requests."""
    path = folder / "requests.parquet"
    frame = pq.read_table(path).to_pandas().assign(**columns)
    table = pa.Table.from_pandas(frame, schema=pq.read_schema(path), preserve_index=False)
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("columns", "condition", "reference", "candidate"),
    [
        ({"prompt_tokens": 110}, "prompt tokens", "60", "110"),
        ({"cached_tokens": 54}, "cached share", "50 %", "90 %"),
        ({"output_tokens": 8}, "output tokens", "24", "8"),
        ({"e2e_ms": 9_000.0}, "concurrency", "7", "56.2"),
    ],
)
def test_what_was_measured_of_the_load_is_compared(
    tmp_path: Path, columns: dict[str, object], condition: str, reference: str, candidate: str
) -> None:
    one, other = (
        runs.write(tmp_path / name, [BLOCK], with_attempts=False, run_id=name)
        for name in ("one", "other")
    )
    rewritten(other, **columns)
    (pair,) = build.read([one, other], slo_room.load(None)).pairs
    (found,) = (item for item in pair.differences if item.condition == condition)
    assert found.weight is Weight.MAY_EXPLAIN
    assert (found.reference, found.candidate) == (reference, candidate)
    assert "(hybrid, 20 users)" in found.sentence
