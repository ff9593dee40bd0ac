"""The recorder's proof: fast, flat in memory, harmless to the clock, and safe from SIGKILL."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.records import consolidate, read_table
from firsttoken.trials.evidence import markdown_table

RATE = 6_000
LEAST_RATE = 5_000.0
MOST_GROWTH = 20 << 20
"""Bytes of resident memory beyond what the first rows took."""
MOST_P99_MS = 3.0
"""Error of the talkers' clock while records are written: the budget at 20 talkers."""
KEPT_S = 1.0
"""What was recorded longer ago than this survives SIGKILL."""
_KILL_AFTER_S = (2.0, 6.0)


@dataclass(frozen=True, slots=True)
class Killed:
    """What a SIGKILL left."""

    after_s: float
    given: int
    """Records that the recorder had been given by the last report."""
    given_before: int
    """Those of them that it had been given over a second before."""
    readable: int


@dataclass(frozen=True, slots=True)
class Consolidated:
    """Parts turned into one table."""

    rows: int
    seconds: float
    peak_growth: int
    """Bytes of resident memory that it took at most, beyond what the process had."""


@dataclass(frozen=True, slots=True)
class Proof:
    """All that was found."""

    load: dict[str, Any]
    killed: Killed
    consolidated: Consolidated

    @property
    def growth(self) -> int:
        """Bytes of resident memory from the first rows to the last one."""
        return int(self.load["resident_late"] - self.load["resident_early"])

    @property
    def held(self) -> bool:
        """Whether every claim was kept."""
        return all(kept for *_, kept in claims(self))


def _child(url: str, run_dir: Path, rows: int, rate: int, extra: Sequence[str]) -> Child:
    argv = [sys.executable, "-m", "benchmarks.client.recorder_load", "--url", url]
    argv += ["--run-dir", str(run_dir), "--rows", str(rows), "--rate", str(rate), *extra]
    return Child.start(argv, ready_timeout_s=None, cwd=Path(__file__).resolve().parents[2])


def _truth() -> Child:
    return Child.start([sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"])


def write(run_dir: Path, rows: int, rate: int, *extra: str) -> dict[str, Any]:
    """Write ``rows`` records beside talkers; return the figures of the process.

    Raises:
        UserError: it failed.
    """
    with _truth() as truth, _child(truth.url, run_dir, rows, rate, extra) as child:
        last = ""
        for line in child.lines():
            last = line
        if child.wait(30) != 0 or '"done"' not in last:
            raise UserError(f"the recorder's process failed: {child.last_error_line()}")
    found: dict[str, Any] = json.loads(last)
    return found


def kill(run_dir: Path, rate: int, after_s: float, *extra: str) -> Killed:
    """Have records written, end the process by SIGKILL after ``after_s``; count what is readable.

    Raises:
        UserError: it ended by itself.
    """
    reports: list[tuple[int, int]] = []
    with _truth() as truth, _child(truth.url, run_dir, 10**9, rate, extra) as child:
        kill_ns = 0
        for line in child.lines():
            report = json.loads(line)
            reports.append((report["t_ns"], report["written"]))
            if report["written"] and not kill_ns:
                kill_ns = monotonic_ns() + int(after_s * NS_PER_S)
            if kill_ns and monotonic_ns() >= kill_ns:
                break
        killed_ns = monotonic_ns()
        os.kill(child.pid, signal.SIGKILL)
        if child.wait(10) != -signal.SIGKILL:
            raise UserError(f"the recorder's process ended: {child.last_error_line()}")
    before = [n for t_ns, n in reports if t_ns <= killed_ns - KEPT_S * NS_PER_S]
    return Killed(after_s, reports[-1][1], max(before, default=0), readable_rows(run_dir))


def readable_rows(run_dir: Path) -> int:
    """Return how many whole records the parts of a run hold."""
    rows = 0
    for part in run_dir.glob("parts/requests-*.arrow"):
        with part.open("rb") as file:
            try:
                with pa.ipc.open_stream(file) as stream:
                    for batch in stream:
                        rows += batch.num_rows
            except (pa.ArrowInvalid, OSError, EOFError):
                continue
    return rows


def _consolidate(run_dir: Path) -> Consolidated:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s = time.perf_counter()
    consolidate(run_dir)
    seconds = time.perf_counter() - began_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Consolidated(read_table(run_dir, "requests", ["turn"]).num_rows, seconds, peak * 1024)


def prove(rows: int, rate: int) -> Proof:
    """Do all of it.

    Raises:
        UserError: a process failed.
    """
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        load = write(folder / "run", rows, rate)
        consolidated = _consolidate(folder / "run")
        after_s = random.SystemRandom().uniform(*_KILL_AFTER_S)
        killed = kill(folder / "killed", int(LEAST_RATE), after_s)
    return Proof(load, killed, consolidated)


def claims(proof: Proof) -> list[tuple[str, str, str, bool]]:
    """Return what was claimed, what was found, the limit, and whether it was kept."""
    load, killed, table = proof.load, proof.killed, proof.consolidated
    busy, idle = load["with"], load["without"]
    rate = load["rows_per_s"]
    lost = killed.given - killed.readable
    return [
        ("records", f"{load['rows']:,}", "", table.rows == load["rows"]),
        ("records a second", f"{rate:,.0f}", f"{LEAST_RATE:,.0f}", rate >= LEAST_RATE),
        (
            "memory from the first tenth (at most 100,000) to the last record",
            f"{proof.growth / 1e6:+.1f} MB",
            f"{MOST_GROWTH / 1e6:.0f} MB",
            proof.growth < MOST_GROWTH,
        ),
        (
            f"clock error p99, 20 talkers, while recording (n {busy['n']})",
            f"{busy['error_p99_ms']:.2f} ms",
            f"{MOST_P99_MS:g} ms",
            busy["error_p99_ms"] <= MOST_P99_MS,
        ),
        (
            f"the same between the blocks (n {idle['n']})",
            f"{idle['error_p99_ms']:.2f} ms",
            "",
            True,
        ),
        (
            "clock error p50, recording / not",
            f"{busy['error_p50_ms']:.2f} / {idle['error_p50_ms']:.2f} ms",
            "",
            True,
        ),
        (
            "longest stall of the event loop, recording / not",
            f"{busy['lag_max_ms']:.1f} / {idle['lag_max_ms']:.1f} ms",
            "",
            True,
        ),
        ("of a core, recording / not", f"{busy['cores']:.0%} / {idle['cores']:.0%}", "", True),
        (
            (
                f"SIGKILL after {killed.after_s:.1f} s of {LEAST_RATE:,.0f} a second: records "
                "over a second old / readable / given"
            ),
            f"{killed.given_before:,} / {killed.readable:,} / {killed.given:,}",
            f"{max(lost, 0):,} lost",
            killed.readable >= killed.given_before > 0,
        ),
        (
            "consolidated to Parquet",
            f"{table.seconds:.1f} s, {table.peak_growth / 1e6:.0f} MB more",
            "",
            True,
        ),
    ]


def table(proof: Proof) -> str:
    """Return the Markdown table."""
    rows = [
        (name, value, limit, "kept" if kept else "MISSED")
        for name, value, limit, kept in claims(proof)
    ]
    return markdown_table(("claim", "found", "limit", ""), rows)
