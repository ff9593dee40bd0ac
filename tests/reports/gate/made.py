"""Measurements whose contents are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.reports import runs
from tests.reports.runs import Block, lognormal


def run(
    folder: Path,
    median_ms: float = 200.0,
    n: int = 400,
    *,
    draw: int = 1,
    failed: int = 0,
    **changes: Any,
) -> Path:
    """Write a run of the hybrid arm at 20 users in which ``failed`` further requests failed."""
    ttft = [*lognormal(median_ms, n, seed=draw), *([None] * failed)]
    np.random.default_rng(draw).shuffle(ttft)
    return runs.write(
        folder, [Block("hybrid", 20, ttft, tier="local")], with_attempts=False, **changes
    )


def benchmarks(
    file: Path, seconds: dict[str, float], *, n: int = 300, seed: int = 1, cpu: str = "Example CPU"
) -> Path:
    """Write pytest-benchmark's file with rounds around the median of each test."""
    random = np.random.default_rng(seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    listed = [
        {
            "fullname": name,
            "stats": {"median": median, "data": (median * random.lognormal(0, 0.1, n)).tolist()},
        }
        for name, median in seconds.items()
    ]
    machine = {
        "python_version": "3.11.7",
        "python_implementation": "CPython",
        "cpu": {"brand_raw": cpu, "count": 2},
    }
    told = {"machine_info": machine, "commit_info": {"id": "abc"}, "benchmarks": listed}
    file.write_text(json.dumps(told), encoding="utf-8")
    return file
