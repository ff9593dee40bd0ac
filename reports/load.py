"""Reads a run folder into frames with checked types, and names what is missing.

Only the columns that a report needs are read. What cannot be read ends in a
:class:`~firsttoken.core.errors.UserError` where nothing can be said without it (the requests), and
in a *gap*, a sentence shown in the report, where it can (attempts, decisions, host samples).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.records import TABLES, ArmTarget, Manifest, consolidate, read_table
from firsttoken.core.words import Arm, Outcome, Phase, Tier
from reports import text
from reports.generators import lost_generators

REQUEST_COLUMNS = (
    "arm",
    "step_users",
    "session_id",
    "turn",
    "request_id",
    "phase",
    "t_sched_ns",
    "t_send_ns",
    "t_headers_ns",
    "t_first_token_ns",
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
    "error_type",
    "tier",
    "reason",
    "block",
    "planned_rate",
    "load_ms",
    "prompt_ms",
    "engine_queue_ms",
)
ATTEMPT_COLUMNS = (
    "request_id",
    "started_ns",
    "headers_ns",
    "first_token_ns",
    "queue_ms",
    "load_ms",
    "prompt_ms",
    "engine_queue_ms",
    "committed",
)
DECISION_COLUMNS = (
    "request_id",
    "accepted_ns",
    "first_token_ns",
    "attempts",
)
HOST_COLUMNS = (
    "t_ns",
    "engine_cpu",
    "router_cpu",
    "generator_cpu",
    "host_cpu",
    "steal_share",
    "throttled_share",
    "memory_unreclaimable_bytes",
    "memory_limit_bytes",
    "cpu_pressure_some",
    "foreign_cpu",
    "foreign_program",
)
_WORDS = ["arm", "phase", "outcome", "error_type", "tier", "reason", "session_id"]
"""Columns of few distinct values, kept as categories: a million rows then take a byte each."""

WRITER_GRACE_SECONDS = 5.0
"""How long to wait for a run that is just being stopped to close its parts."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The steady rows of one arm at one step."""

    arm: str
    step_users: int
    rows: pd.DataFrame = field(repr=False)
    left_out: int
    """Rows sent before or after the steady phase."""

    @property
    def window_ns(self) -> tuple[int, int] | None:
        """When the first of its requests was sent and the last ended; None without rows."""
        sent, ended = self.rows["t_send_ns"].dropna(), self.rows["t_end_ns"].dropna()
        if sent.empty or ended.empty:
            return None
        return int(sent.min()), int(ended.max())


@dataclass(frozen=True, slots=True)
class RunData:
    """A run as it lies on disk, in frames."""

    run_dir: Path
    manifest: Manifest
    requests: pd.DataFrame = field(repr=False)
    attempts: pd.DataFrame = field(repr=False)
    decisions: pd.DataFrame = field(repr=False)
    host: pd.DataFrame = field(repr=False)
    arms: tuple[str, ...]
    steps: tuple[int, ...]
    """Ascending."""
    cells: tuple[Cell, ...] = field(repr=False)
    gaps: tuple[str, ...]
    """What this run does not tell, each a sentence."""

    def target(self, arm: str) -> ArmTarget | None:
        """Return what the manifest says of an arm."""
        return next((item for item in self.manifest.arms if item.arm == arm), None)

    def emulated(self, arm: str) -> bool:
        """Whether the remote side of an arm was an emulated cloud."""
        target = self.target(arm)
        return target is not None and "emulated" in target.note.lower()


def _writers(parts_dir: Path) -> list[int]:
    """Return the processes, other than this one, that hold a file of ``parts_dir`` open."""
    inside = f"{parts_dir.resolve()}{os.sep}"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        # A process that ends meanwhile, or that is not ours, tells nothing.
        with suppress(OSError):
            if any(str(fd.readlink()).startswith(inside) for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def _consolidate(run_dir: Path) -> None:
    """Turn parts into tables, unless somebody still writes to them."""
    parts_dir = run_dir / "parts"
    if not parts_dir.is_dir():
        return
    deadline = time.monotonic() + WRITER_GRACE_SECONDS
    while writers := _writers(parts_dir):
        if time.monotonic() >= deadline:
            raise UserError(
                f"{run_dir} is still being written by process {writers[0]}: "
                "wait for the run to end, or stop it"
            )
        time.sleep(0.1)
    consolidate(run_dir)


def _frame(run_dir: Path, table: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a table in the types of its schema.

    Raises:
        UserError: the file is cut, lacks a column, or holds values of another kind.
    """
    data = read_table(run_dir, table, columns)
    schema = TABLES[table]
    typed = {}
    for name in columns:
        column, wanted = data.column(name), schema.field(name).type
        try:
            # Not safe: 1.0e9 is taken for a stamp, though a float cannot hold every nanosecond.
            typed[name] = column if column.type == wanted else column.cast(wanted, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(
                f"{run_dir / table}.parquet: column {name} holds {column.type}, expected {wanted}"
            ) from error
    categories = [name for name in columns if name in _WORDS]
    frame: pd.DataFrame = pa.table(typed).to_pandas(categories=categories)
    return frame


def _optional_frame(
    run_dir: Path, table: str, columns: Sequence[str], gaps: list[str]
) -> pd.DataFrame:
    """Read a table that a report can do without; its faults become a gap."""
    try:
        return _frame(run_dir, table, columns)
    except UserError as error:
        gaps.append(str(error))
        empty: pd.DataFrame = TABLES[table].empty_table().select(list(columns)).to_pandas()
        return empty


def delays_ms(rows: pd.DataFrame, target_ms: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the TTFT of each row as the statistics take it; NaN: says nothing, to be left out.

    A request that failed, ended without a first token, or whose stamps run backwards, was later
    than everything: ``inf``. A cancelled one keeps the first token it got. Without one it was
    waiting when it was cancelled: longer than ``target_ms`` counts as ``inf``, for it is known to
    be late; a shorter wait tells nothing.
    """
    ttft = rows["ttft_ms"].to_numpy(dtype=np.float64)
    outcome = rows["outcome"]
    cancelled = (outcome == Outcome.CANCELLED).to_numpy()
    kept = (outcome == Outcome.SUCCESS).to_numpy() | cancelled
    observed = kept & np.isfinite(ttft) & (ttft >= 0)
    delays = np.where(observed, ttft, np.inf)
    waited = (rows["t_end_ns"] - rows["t_send_ns"]).to_numpy(dtype=np.float64) / NS_PER_MS
    # Without an end stamp the wait is not known to be short.
    delays[cancelled & ~observed & (waited <= target_ms)] = np.nan
    return delays


def _order(first: Sequence[Any], seen: Sequence[Any]) -> list[Any]:
    """Return ``first``, then what else was ``seen``, each once."""
    return list(dict.fromkeys([*first, *seen]))


def _gaps_of(requests: pd.DataFrame, manifest: Manifest) -> list[str]:
    """Return what the rows of a run do not tell or contradict."""
    gaps = []
    backwards = int((requests["ttft_ms"] < 0).sum())
    if backwards:
        gaps.append(
            f"{text.count(backwards, 'request')} got the first token before being sent, by the "
            "clock: counted as without a first token"
        )
    known = {str(outcome) for outcome in Outcome}
    odd = sorted({str(item) for item in requests["outcome"].dropna().unique()} - known)
    if odd:
        gaps.append(f"unknown outcome(s) {', '.join(odd)}: counted as failed")
    planned = {item.arm for item in manifest.arms}
    extra = sorted({str(item) for item in requests["arm"].dropna().unique()} - planned)
    if extra:
        gaps.append(f"arm(s) {', '.join(extra)} are in the records but not in run.json")
    if not manifest.finished:
        gaps.append(
            "the run was cut short: the records end with the last second written, what was under "
            "way is missing, and no claim can PASS"
        )
    return gaps + lost_generators(manifest)


def read(run_dir: Path) -> RunData:
    """Read a run folder, first turning the parts of an unfinished run into tables.

    Raises:
        UserError: no run folder, no request in it, or requests that cannot be read.
    """
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is no folder: name the folder of a run")
    manifest = Manifest.read(run_dir)
    _consolidate(run_dir)
    gaps: list[str] = []
    requests = _frame(run_dir, "requests", REQUEST_COLUMNS)
    if requests.empty:
        raise UserError(f"{run_dir} holds no request: nothing was measured")
    if requests[["arm", "step_users", "phase", "outcome"]].isna().to_numpy().any():
        raise UserError(
            f"{run_dir / 'requests.parquet'} has rows without arm, step_users, phase or outcome"
        )
    gaps += _gaps_of(requests, manifest)
    attempts = _optional_frame(run_dir, "attempts", ATTEMPT_COLUMNS, gaps)
    decisions = _optional_frame(run_dir, "decisions", DECISION_COLUMNS, gaps)
    host = _optional_frame(run_dir, "host", HOST_COLUMNS, gaps)
    if host.empty:
        gaps.append("the host was not sampled: throttling, steal and memory are unknown")
    arms = _order([item.arm for item in manifest.arms], sorted(map(str, requests["arm"].unique())))
    steps = sorted(
        _order(
            [int(item) for item in manifest.steps],
            [int(i) for i in requests["step_users"].unique()],
        )
    )
    return RunData(
        run_dir=run_dir,
        manifest=manifest,
        requests=requests,
        attempts=attempts,
        decisions=decisions,
        host=host,
        arms=tuple(arms),
        steps=tuple(steps),
        cells=tuple(_cells(requests, arms, steps)),
        gaps=tuple(gaps),
    )


def _cells(requests: pd.DataFrame, arms: Sequence[str], steps: Sequence[int]) -> list[Cell]:
    """Split the rows by arm and step, in that order; a cell without rows is there too."""
    steady = (requests["phase"] == Phase.STEADY).to_numpy()
    # Positions by cell in one pass instead of a million-row comparison for each cell.
    grouped = requests.groupby(["arm", "step_users"], observed=True, sort=False)
    groups = {key: np.asarray(at, dtype=np.intp) for key, at in grouped.indices.items()}
    nobody = np.empty(0, dtype=np.intp)
    cells = []
    for arm in arms:
        for step in steps:
            at = groups.get((arm, step), nobody)
            inside = at[steady[at]]
            cells.append(Cell(arm, step, requests.take(inside), int(at.size - inside.size)))
    return cells


def host_means(host: pd.DataFrame, window_ns: tuple[int, int] | None) -> pd.Series[float]:
    """Return the mean of each host column over a window (NaN where it was not sampled).

    A sample speaks of the second before it, so one that falls up to a second after counts.
    """
    if window_ns is None:
        return host.iloc[:0].mean(numeric_only=True)
    return _within(host, window_ns).mean(numeric_only=True)


def foreign_program(host: pd.DataFrame, window_ns: tuple[int, int] | None) -> str | None:
    """Return the program outside the run that most often used most over a window; None: none."""
    if window_ns is None:
        return None
    names = _within(host, window_ns)["foreign_program"].dropna()
    return None if names.empty else str(names.mode().iloc[0])


def _within(host: pd.DataFrame, window_ns: tuple[int, int]) -> pd.DataFrame:
    start, end = window_ns
    return host[(host["t_ns"] >= start) & (host["t_ns"] <= end + NS_PER_S)]


def tiers_of(arm: str, rows: pd.DataFrame) -> pd.Series[str]:
    """Return the tier of each row; of an arm measured directly, the tier is the arm's own."""
    direct = {Arm.LOCAL_ONLY: Tier.LOCAL, Arm.REMOTE_ONLY: Tier.REMOTE}
    known = rows["tier"].astype("object")
    own = direct.get(Arm(arm)) if arm in set(Arm) else None
    return known.where(known.notna(), str(own)) if own is not None else known
