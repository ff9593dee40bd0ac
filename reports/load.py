"""Reads a run folder into frames with checked types, and names what is missing.

Only the columns that a report needs are read. What cannot be read ends in a
:class:`~firsttoken.core.errors.UserError` where nothing can be said without it (the requests), and
in a *gap*, a sentence shown in the report, where it can (attempts, decisions, host samples).
:mod:`reports.scrutiny` looks through what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.records import ArmTarget, Manifest
from firsttoken.core.words import Arm, Outcome, Phase, Tier
from reports import scrutiny
from reports.reading import join_parts, optional_frame, read_frame

HEARD_COLUMNS = (
    "hop",
    "ttfsc_ms",
    "segments",
    "stutters",
    "longest_gap_ms",
    "spoken_failure",
)
"""What a talking device made of the reply."""
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
    "backend",
    "reason",
    "block",
    "planned_rate",
    "load_ms",
    "prompt_ms",
    "engine_queue_ms",
    *HEARD_COLUMNS,
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
    "outcome",
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


@dataclass(frozen=True, slots=True)
class Cell:
    """The steady rows of one arm at one step, in the order in which they were sent."""

    arm: str
    step_users: int
    rows: pd.DataFrame = field(repr=False)
    left_out: int
    """Rows sent before or after the steady phase, or for nobody who waits."""

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
    """The steady rows first, cell after cell; within a cell in the order of sending."""
    attempts: pd.DataFrame = field(repr=False)
    decisions: pd.DataFrame = field(repr=False)
    host: pd.DataFrame = field(repr=False)
    arms: tuple[str, ...]
    steps: tuple[int, ...]
    """Ascending."""
    cells: tuple[Cell, ...] = field(repr=False)
    gaps: tuple[str, ...]
    """What this run does not tell, each a sentence."""
    doubts: tuple[str, ...] = ()
    """Those of the gaps because of which no claim can PASS: records that cannot be right."""

    @property
    def steady(self) -> pd.DataFrame:
        """The rows of all cells, one cell after the other."""
        return self.requests.iloc[: sum(len(cell.rows) for cell in self.cells)]

    @property
    def slices(self) -> tuple[tuple[Cell, slice], ...]:
        """Each cell with the place of its rows among :attr:`steady`."""
        ends = np.cumsum([len(cell.rows) for cell in self.cells]).tolist()
        return tuple(
            (cell, slice(end - len(cell.rows), end))
            for cell, end in zip(self.cells, ends, strict=True)
        )

    def target(self, arm: str) -> ArmTarget | None:
        """Return what the manifest says of an arm."""
        return next((item for item in self.manifest.arms if item.arm == arm), None)

    def emulated(self, arm: str) -> bool:
        """Whether the remote side of an arm was an emulated cloud."""
        target = self.target(arm)
        return target is not None and "emulated" in target.note.lower()


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


def read(run_dir: Path) -> RunData:
    """Read a run folder, first turning the parts of an unfinished run into tables.

    Raises:
        UserError: no run folder, no request in it, or requests that cannot be read.
    """
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is no folder: name the folder of a run")
    manifest = scrutiny.checked(Manifest.read(run_dir), run_dir / "run.json")
    join_parts(run_dir)
    requests = read_frame(run_dir, "requests", REQUEST_COLUMNS)
    if requests.empty:
        raise UserError(f"{run_dir} holds no request: nothing was measured")
    requests, doubts = scrutiny.cleaned(requests, run_dir / "requests.parquet")
    attempts = optional_frame(run_dir, "attempts", ATTEMPT_COLUMNS, doubts)
    decisions = optional_frame(run_dir, "decisions", DECISION_COLUMNS, doubts)
    host = optional_frame(run_dir, "host", HOST_COLUMNS, doubts)
    gaps = scrutiny.of_manifest(manifest, sorted(map(str, requests["arm"].unique())))
    if host.empty:
        gaps.append("the host was not sampled: throttling, steal and memory are unknown")
    arms = _order([item.arm for item in manifest.arms], sorted(map(str, requests["arm"].unique())))
    steps = sorted(
        _order(
            [int(item) for item in manifest.steps],
            [int(i) for i in requests["step_users"].unique()],
        )
    )
    requests, cells = _in_cells(requests, arms, steps)
    return RunData(
        run_dir=run_dir,
        manifest=manifest,
        requests=requests,
        attempts=attempts,
        decisions=decisions,
        host=host,
        arms=tuple(arms),
        steps=tuple(steps),
        cells=tuple(cells),
        gaps=(*doubts, *gaps),
        doubts=tuple(doubts),
    )


def _in_cells(
    requests: pd.DataFrame, arms: Sequence[str], steps: Sequence[int]
) -> tuple[pd.DataFrame, list[Cell]]:
    """Sort the rows by arm and step, in that order, and cut them; a cell without rows is there too.

    The steady rows come first, so that they and every cell are slices of one frame, not copies.
    """
    place = {arm: number for number, arm in enumerate(arms)}
    arm = requests["arm"].cat.rename_categories(place).to_numpy(dtype=np.intp)
    step = np.searchsorted(np.asarray(steps), requests["step_users"].to_numpy())
    number = arm * len(steps) + step
    unsteady = (requests["phase"] != Phase.STEADY).to_numpy()
    order = np.lexsort((requests["t_send_ns"].to_numpy(dtype=np.float64), number, unsteady))
    count = len(arms) * len(steps)
    ends = np.cumsum(np.bincount(number[~unsteady], minlength=count))
    left_out = np.bincount(number[unsteady], minlength=count)
    # Column by column, each let go once it is sorted.
    ordered = pd.DataFrame(
        {name: requests.pop(name).array.take(order) for name in list(requests.columns)}, copy=False
    )
    cells = [
        Cell(name, users, ordered.iloc[end - size : end], int(left))
        for (name, users), end, size, left in zip(
            ((name, users) for name in arms for users in steps),
            ends,
            np.diff(ends, prepend=0),
            left_out,
            strict=True,
        )
    ]
    return ordered, cells


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


def tiers_of(arm: str, rows: pd.DataFrame) -> pd.Series[Any]:
    """Return the tier of each row; of an arm measured directly, the tier is the arm's own."""
    direct = {Arm.LOCAL_ONLY: Tier.LOCAL, Arm.REMOTE_ONLY: Tier.REMOTE}
    own = direct.get(Arm(arm)) if arm in set(Arm) else None
    return rows["tier"].astype("category") if own is None else _filled(rows["tier"], str(own))


UNKNOWN = "unknown"


def named(words: pd.Series[Any]) -> pd.Series[Any]:
    """Return words as categories in the order of the alphabet, ``unknown`` where there is none."""
    filled = _filled(words, UNKNOWN)
    return filled.cat.reorder_categories(sorted(filled.cat.categories))


def _filled(words: pd.Series[Any], filler: str) -> pd.Series[Any]:
    """Return words as categories, ``filler`` where there is none."""
    known = words.astype("category")
    if known.notna().all():
        return known
    if filler not in known.cat.categories:
        known = known.cat.add_categories([filler])
    return known.fillna(filler)
