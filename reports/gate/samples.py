"""Raw samples of a measurement by name, and the conditions under which they were taken.

A measurement is a folder with a run (``run.json`` and ``requests.parquet``, or the parts of a run
that was killed), with pytest-benchmark's rounds (``benchmarks.json``), or with both; or the JSON
file of pytest-benchmark itself. A stored baseline is such a folder too, with the columns that are
read here and no others, so that there is one reader. What a run's report says is never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from firsttoken.core.errors import UserError
from firsttoken.core.records import Manifest
from firsttoken.core.slo import Slo
from firsttoken.core.words import Outcome, Phase
from reports import generators, load, reading, text, verdict
from reports.gate import rounds
from reports.statistics import FloatArray, median

BENCHMARKS = "benchmarks.json"
"""Name of pytest-benchmark's file in the folder of a measurement."""

COLUMNS = (
    "arm",
    "step_users",
    "request_id",
    "phase",
    "t_send_ns",
    "t_end_ns",
    "ttft_ms",
    "ttft_user_ms",
    "ttfs_ms",
    "tpot_ms",
    "e2e_ms",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "outcome",
    "tier",
    "planned_rate",
)
"""Columns of ``requests.parquet`` that a stored baseline keeps."""

TIMES = ("ttft", "ttft_user", "ttfs", "tpot", "e2e")
"""Metrics in milliseconds; ``error_rate`` is the other one."""
ERROR_RATE = "error_rate"

Conditions = Mapping[str, str | float | None]
"""What a measurement was taken under, by name; None: not known."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the gate reads of one measurement."""

    path: Path
    series: Mapping[str, FloatArray] = field(repr=False)
    """Values in the order of time. By metric of a run: milliseconds, ``inf`` for a request that
    failed; ``error_rate`` 1.0 for a request that failed, else 0.0. By full name of a benchmark:
    the seconds of each round."""
    conditions: Conditions = field(repr=False)
    benchmarks: tuple[str, ...] = ()
    """Which of them are benchmarks."""
    where: str = ""
    """Arm and step, for a reader; empty without a run."""
    notes: tuple[str, ...] = ()
    """What a reader must know and the gate does not judge."""
    doubts: tuple[str, ...] = ()
    """Why nothing that rests on this measurement can PASS."""


def read(path: Path, slo: Slo, *, arm: str | None = None, step: int | None = None) -> Measurement:
    """Read a measurement.

    Args:
        path: folder of a run, of a stored baseline, or a file of pytest-benchmark.
        slo: its TTFT target tells which requests that were cancelled while waiting were late, its
            calibration budgets whether the load generator could be trusted.
        arm: of the run; None: the judged one, ``hybrid``, ``target`` or the only one.
        step: users; None: the largest step with steady requests of the arm.

    Raises:
        UserError: nothing is there, or what is there is empty or cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: expected the folder of a measurement")
    if not path.is_dir():
        return _benchmarks(path)
    file = path / BENCHMARKS
    if not file.exists():
        return _run(path, slo, arm, step)
    timed = replace(_benchmarks(file), path=path)
    if not (path / "run.json").exists():
        return timed
    run = _run(path, slo, arm, step)
    return replace(
        run,
        series={**run.series, **timed.series},
        conditions={**run.conditions, **timed.conditions},
        benchmarks=timed.benchmarks,
    )


def _benchmarks(file: Path) -> Measurement:
    found = rounds.read(file)
    return Measurement(file, found.seconds, found.conditions, tuple(found.seconds))


def _run(run_dir: Path, slo: Slo, arm: str | None, step: int | None) -> Measurement:
    manifest = Manifest.read(run_dir)
    requests = _requests(run_dir)
    arms = [item.arm for item in manifest.arms]
    present = list(dict.fromkeys([*arms, *map(str, requests["arm"].unique())]))
    chosen = arm or verdict.judged_arm(present)
    if chosen is None or chosen not in present:
        wanted = "name one" if arm is None else f"there is no {arm}: name one"
        raise UserError(f"{run_dir} has the arms {', '.join(present)}: {wanted} with --arm")
    rows = requests[(requests["arm"] == chosen) & (requests["phase"] == Phase.STEADY)]
    # Of the largest that was reached; a side that reached a smaller one is unlike the other.
    users = step or (0 if rows.empty else int(rows["step_users"].max()))
    rows = _in_order(rows[rows["step_users"] == users])
    where = f"{chosen}, {text.users(users)}" if users else chosen
    if rows.empty:
        raise UserError(f"{run_dir} holds no steady request of {where}: nothing was measured")
    return Measurement(
        path=run_dir,
        series=_series(rows, slo.ttft_p95_ms),
        conditions=_conditions(manifest, rows, chosen, users),
        where=where,
        notes=tuple(_notes(manifest, users, slo)),
        doubts=tuple(_doubts(manifest, rows)),
    )


def _requests(run_dir: Path) -> pd.DataFrame:
    """Read the requests of a run or of a stored baseline.

    Raises:
        UserError: they are missing, none, or cannot be read.
    """
    reading.join_parts(run_dir)
    if not (run_dir / "requests.parquet").is_file():
        raise UserError(f"{run_dir} has no requests.parquet: nothing was measured")
    requests = reading.read_frame(run_dir, "requests", COLUMNS)
    if requests.empty:
        raise UserError(f"{run_dir} holds no request: nothing was measured")
    if requests[["arm", "step_users", "phase", "outcome"]].isna().to_numpy().any():
        raise UserError(
            f"{run_dir / 'requests.parquet'} has rows without arm, step_users, phase or outcome"
        )
    return requests


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the order in which they were sent.

    Where a row is there more than once, the rows were drawn from others: the order of the file is
    then the only one. Sorted, copies would stand side by side and look like a slow drift.
    """
    if rows.duplicated(["request_id", "t_send_ns"]).any():
        return rows
    return rows.sort_values("t_send_ns", kind="stable")


def _series(rows: pd.DataFrame, target_ms: float) -> dict[str, FloatArray]:
    outcome = rows["outcome"]
    succeeded = (outcome == Outcome.SUCCESS).to_numpy()
    cancelled = (outcome == Outcome.CANCELLED).to_numpy()
    delays = load.delays_ms(rows, target_ms)
    found = {"ttft": delays[~np.isnan(delays)]}
    for name in TIMES[1:]:
        values = rows[f"{name}_ms"].to_numpy(dtype=np.float64)
        known = succeeded & (values >= 0)
        # Nobody knows how a cancelled one would have ended; a short reply has no second token.
        kept = known | ~(succeeded | cancelled)
        found[name] = np.where(known, values, np.inf)[kept]
    found[ERROR_RATE] = (~succeeded[~cancelled]).astype(np.float64)
    return found


def _conditions(
    manifest: Manifest, rows: pd.DataFrame, arm: str, users: int
) -> dict[str, str | float | None]:
    target = next((item for item in manifest.arms if item.arm == arm), None)
    host, versions = manifest.host, manifest.versions
    tokens = float(rows["prompt_tokens"].sum())
    known = rows["cached_tokens"].notna() & rows["prompt_tokens"].notna()
    cached = float(rows["cached_tokens"][known].sum()) / tokens if known.any() and tokens else None
    succeeded = rows[rows["outcome"] == Outcome.SUCCESS]
    through = "this router" if succeeded["tier"].notna().any() else "another server"
    return {
        "git sha": manifest.git_sha,
        **{f"version of {name}": str(version) for name, version in sorted(versions.items())},
        "settings hash": manifest.settings_hash,
        "CPU model": _plain(host.get("cpu_model")),
        "cores": _plain(host.get("cores")),
        "memory": _plain(host.get("memory_bytes")),
        "kernel": _plain(host.get("kernel")),
        "scenario": manifest.scenario,
        "steps": ", ".join(str(users) for users in sorted(set(manifest.steps))),
        "users": float(users),
        "arm": arm,
        "model": target.model if target else None,
        "dialect": target.dialect if target else None,
        "remote tier": "emulated"
        if target and "emulated" in target.note.lower()
        else "not emulated",
        "answered by": None if succeeded.empty else through,
        "planned rate": median(rows["planned_rate"].to_numpy(dtype=np.float64)),
        "load generators": float(max(len(manifest.workers), 1)),
        "pinned": "yes" if manifest.affinity else "no",
        "prompt tokens": median(rows["prompt_tokens"].to_numpy(dtype=np.float64)),
        "output tokens": median(rows["output_tokens"].to_numpy(dtype=np.float64)),
        "cached share of the prompt": cached,
        "seconds a step": manifest.step_seconds,
        "seed": float(manifest.seed),
    }


def _plain(value: object) -> str | float | None:
    """Return a value of the manifest's host as it can be compared."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, int | float) else str(value)


def _notes(manifest: Manifest, users: int, slo: Slo) -> list[str]:
    faults = verdict.calibration_faults(manifest.calibration, users, slo)
    return [f"UNTRUSTED by its own calibration: {fault}" for fault in faults]


def _doubts(manifest: Manifest, rows: pd.DataFrame) -> list[str]:
    found = list(generators.lost_generators(manifest))
    if not manifest.finished:
        found.append("the run was cut short")
    backwards = int((rows["ttft_ms"] < 0).sum())
    if backwards:
        some = text.count(backwards, "request")
        found.append(f"{some} got the first token before being sent, by the clock")
    return found


def save(measurement: Measurement, folder: Path) -> None:
    """Store a measurement as a baseline: its manifest, the columns that are read, its rounds.

    Raises:
        UserError: the folder cannot be written, or holds other files already.
    """
    source = measurement.path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and folder.samefile(source):
            raise UserError(f"{folder} is the measurement itself: name another folder with --save")
        if (source / "run.json").exists():
            Manifest.read(source).write(folder)
            _save_requests(source, folder)
        if measurement.benchmarks:
            file = source / BENCHMARKS if source.is_dir() else source
            rounds.save(file, folder / BENCHMARKS)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def _save_requests(source: Path, folder: Path) -> None:
    requests = reading.read_frame(source, "requests", COLUMNS)
    steady = requests[requests["phase"] == Phase.STEADY]
    table: Any = pa.Table.from_pandas(steady, preserve_index=False)
    scratch = folder / "requests.parquet.partial"
    pq.write_table(table, scratch, compression="zstd")
    scratch.replace(folder / "requests.parquet")
