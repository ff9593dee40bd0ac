"""pytest-benchmark's file: the raw rounds of each benchmark, and where they were measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from firsttoken.core.errors import UserError
from reports import files
from reports.statistics import FloatArray

MAX_BYTES = 512 * 1024 * 1024
MAX_ROUNDS = 2_000
"""Rounds that are looked at: more of one process in one second tell no more of the next."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What the gate reads of such a file."""

    seconds: Mapping[str, FloatArray] = field(repr=False)
    """By full name (``benchmarks/test_x.py::test_y[case]``), in the order of time."""
    conditions: Mapping[str, str | float | None]


def _document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is over {MAX_BYTES} bytes: expected pytest-benchmark's file")
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path} as pytest-benchmark's JSON: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("benchmarks"), list):
        raise UserError(f"{path} has no list of benchmarks: expected pytest-benchmark's JSON")
    if not data["benchmarks"]:
        raise UserError(f"{path} holds no benchmark: nothing was measured")
    return data


def _section(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _seconds(path: Path, item: object) -> tuple[str, FloatArray]:
    """Return name and rounds of one benchmark.

    Raises:
        UserError: it has none, or they are no durations.
    """
    entry = item if isinstance(item, dict) else {}
    name = str(entry.get("fullname") or entry.get("name") or "")
    data = _section(entry, "stats").get("data")
    if not name or not isinstance(data, list) or not data:
        raise UserError(
            f"{path}: {name or 'a benchmark'} has no raw rounds (stats.data): write the file with "
            "pytest --benchmark-json=FILE, or store it with --benchmark-save-data"
        )
    try:
        values = np.asarray(data, dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {name} has rounds that are no numbers") from error
    if values.ndim != 1 or not (np.isfinite(values) & (values >= 0)).all():
        raise UserError(f"{path}: {name} has rounds that are no durations")
    return name, _thinned(values)


def _thinned(values: FloatArray) -> FloatArray:
    """Return at most :data:`MAX_ROUNDS` of the values, at equal distances."""
    if values.size <= MAX_ROUNDS:
        return values
    at = np.linspace(0, values.size - 1, MAX_ROUNDS).round().astype(np.intp)
    return values[at]


def read(path: Path) -> Rounds:
    """Read the file.

    Raises:
        UserError: it is missing, no file of pytest-benchmark, empty, or without raw rounds.
    """
    data = _document(path)
    machine, commit = _section(data, "machine_info"), _section(data, "commit_info")
    cpu = _section(machine, "cpu")
    count, sha = cpu.get("count"), commit.get("id")
    return Rounds(
        seconds=dict(_seconds(path, item) for item in data["benchmarks"]),
        conditions={
            "benchmarks: git sha": None if sha is None else str(sha),
            "benchmarks: Python": _word(machine.get("python_version")),
            "benchmarks: CPU model": _word(cpu.get("brand_raw")),
            "benchmarks: cores": float(count) if isinstance(count, int) else None,
            "benchmarks: implementation": _word(machine.get("python_implementation")),
        },
    )


def _word(value: object) -> str | None:
    return str(value) if value else None


def save(source: Path, target: Path) -> None:
    """Write the file anew with what the gate reads.

    Raises:
        UserError: ``source`` cannot be read.
        OSError: ``target`` cannot be written.
    """
    data, found = _document(source), read(source)
    kept = {
        "machine_info": data.get("machine_info"),
        "commit_info": data.get("commit_info"),
        "benchmarks": [
            {"fullname": name, "stats": {"data": values.tolist()}}
            for name, values in found.seconds.items()
        ],
    }
    files.put(target, json.dumps(kept) + "\n")
