"""What a run tells of one arm under its largest load, gathered for the advice. Pure but for the
files that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from firsttoken.core.errors import UserError
from firsttoken.core.records import read_table
from firsttoken.core.words import Arm, ErrorType, Outcome, Reason, Tier
from reports import text
from reports.join import join
from reports.load import Cell, RunData, delays_ms, host_means, tiers_of
from reports.phases import PHASES, split
from reports.statistics import NOTHING, Estimate, FloatArray, median, proportion, quantile
from reports.tables import accepted_and_failed, memory_peak_share
from reports.verdict import judged_arm

_EMPTY: FloatArray = np.empty(0)
FEW = 20
"""Fewer requests than these say nothing of a tier."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures of one arm at its largest step; milliseconds, shares, cores. None: not known."""

    arm: str
    users: int
    n: int
    target_ms: float
    ttft_p50_ms: Estimate
    ttft_p95_ms: Estimate
    error_rate: Estimate
    error_target: float
    errors: Mapping[str, int] = field(default_factory=dict)
    """Failed requests by ``error_type``."""
    delays: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    """TTFT of every request; ``inf``: it failed."""
    local: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    """Of the requests that the local model answered."""
    remote: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    """Of a cloud, in this arm or else in one that asked nothing but a cloud."""
    remote_emulated: bool = False
    remote_share: float | None = None
    complex_share: float | None = None
    """Requests that went to the cloud for being complex, of all."""
    exact: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    """TTFT of what the exact cache answered; likewise ``semantic``."""
    semantic: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    phases: Mapping[str, FloatArray] = field(default_factory=dict, repr=False)
    """By name of :data:`reports.phases.PHASES`, of local requests, in ms."""
    engine_told: bool = False
    """Whether the engine told how long it read prompts."""
    routed: bool = False
    """Whether our router stood in between."""
    tpot_ms: float | None = None
    in_flight: float | None = None
    """Local requests under way at once, exceeded 5 % of the time."""
    answering: float | None = None
    """Local replies being written at once, exceeded 5 % of the time: the slots in use."""
    prompt_tokens: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    whole_tokens: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    """Prompt and reply together, which is what a slot has to hold."""
    cached_share: float | None = None
    """Prompt tokens that the engine had already, of all whose count is known."""
    cached_n: int = 0
    loads_ms: FloatArray = field(default_factory=lambda: _EMPTY, repr=False)
    """Of the requests that waited until the model was loaded."""
    overflowed: int = 0
    """Requests too long for a slot: failed, or sent to a cloud for it."""
    hedged: int | None = None
    hedges_won: int = 0
    cores: float | None = None
    engine_cores: float | None = None
    host_cores: float | None = None
    generator_cores: float | None = None
    pinned: bool = False
    memory: Estimate = NOTHING
    """Highest share of the memory limit in use."""
    missing: tuple[str, ...] = ()

    def mean(self, phase: str) -> float | None:
        """Return the mean of a phase over the local requests; None: unknown."""
        values = self.phases.get(phase, _EMPTY)
        return float(values.mean()) if values.size else None

    @property
    def phase_n(self) -> int:
        """Local requests whose time was split."""
        return int(next(iter(self.phases.values()), _EMPTY).size)


def p95_of(values: FloatArray) -> float | None:
    """Return the sample's p95, rounded; None without values."""
    return text.round_ms(quantile(values, 0.95).value)


def chosen_cell(data: RunData, arm: str | None) -> Cell:
    """Return the cell that is advised on: the judged arm, or the one named, or the one with most
    requests; at the largest step with requests.

    Raises:
        UserError: no such arm, or no request in the steady part.
    """
    if arm is not None and arm not in data.arms:
        raise UserError(f"--arm {arm}: expected one of {', '.join(data.arms)}")
    full = [cell for cell in data.cells if len(cell.rows)]
    wanted = arm or judged_arm(data.arms)
    mine = [cell for cell in full if wanted is None or cell.arm == wanted]
    if not mine:
        raise UserError(f"{data.run_dir}: no request of {wanted or 'any arm'} in the steady part")
    return max(mine, key=lambda cell: (cell.step_users, len(cell.rows)))


def overlap(starts: FloatArray, ends: FloatArray, share: float = 0.95) -> float | None:
    """Return how many intervals lie over each other, exceeded ``1 - share`` of the time in which
    there was at least one; None without intervals."""
    known = np.isfinite(starts) & np.isfinite(ends) & (ends > starts)
    if not known.any():
        return None
    times = np.concatenate([starts[known], ends[known]])
    steps = np.repeat([1, -1], int(known.sum()))
    # At one moment, an end comes before a start: a slot is handed on.
    order = np.lexsort((steps, times))
    level, length = np.cumsum(steps[order])[:-1], np.diff(times[order])
    busy = level > 0
    at = np.argsort(level[busy], kind="stable")
    level, weight = level[busy][at], np.cumsum(length[busy][at])
    return float(level[np.searchsorted(weight, share * weight[-1])])


def gather(data: RunData, target_ms: float, error_target: float, arm: str | None = None) -> Facts:
    """Gather the facts of a run.

    Raises:
        UserError: nothing in it can be advised on.
    """
    cell = chosen_cell(data, arm)
    rows = cell.rows
    tiers = tiers_of(cell.arm, rows).astype("object")
    delays = delays_ms(rows, target_ms)
    known = ~np.isnan(delays)
    direct = bool(tiers.isna().all())
    mine = ((tiers == Tier.LOCAL) | (tiers.isna() & direct)).to_numpy(dtype=bool)
    remote = (tiers == Tier.REMOTE).to_numpy(dtype=bool)
    reason = rows["reason"].astype("object")
    accepted, failed = accepted_and_failed(rows)
    bad = rows[(rows["outcome"] != Outcome.SUCCESS) & (rows["outcome"] != Outcome.CANCELLED)]
    errors = bad["error_type"].astype("object").fillna("unknown").value_counts()
    clouds, emulated = _clouds(data, cell, delays[remote & known], target_ms)
    local_rows = rows[mine]
    joined = join(data.requests, data.decisions, data.attempts).loc[rows.index]
    local_joined = joined.loc[local_rows.index]
    phases = _phases(local_joined)
    prompt = local_rows["prompt_tokens"].to_numpy(dtype=np.float64)
    whole = prompt + local_rows["output_tokens"].to_numpy(dtype=np.float64)
    told = local_rows[local_rows["cached_tokens"].notna() & local_rows["prompt_tokens"].gt(0)]
    loads = local_joined["load_ms"].to_numpy(dtype=np.float64)
    host = host_means(data.host, cell.window_ns)
    too_long = reason.isin([Reason.PROMPT_TOO_LONG, Reason.CONTEXT_OVERFLOW]) | (
        rows["error_type"] == ErrorType.CONTEXT_OVERFLOW
    )
    complex_ = reason.isin([Reason.RULE_COMPLEX, Reason.HIGH_COMPLEXITY]).to_numpy(dtype=bool)
    facts = Facts(
        arm=cell.arm,
        users=cell.step_users,
        n=len(rows),
        target_ms=target_ms,
        ttft_p50_ms=text.rounded(quantile(delays[known], 0.5), "ms"),
        ttft_p95_ms=text.rounded(quantile(delays[known], 0.95), "ms"),
        error_rate=text.rounded(proportion(failed, accepted), "share"),
        error_target=error_target,
        errors={str(name): int(count) for name, count in errors.items()},
        delays=delays[known],
        local=delays[mine & known],
        remote=clouds,
        remote_emulated=emulated,
        remote_share=None if direct else float(remote.mean()),
        complex_share=None if direct else float((complex_ & remote).mean()),
        exact=delays[(reason == Reason.CACHE_EXACT).to_numpy(dtype=bool) & known],
        semantic=delays[(reason == Reason.CACHE_SEMANTIC).to_numpy(dtype=bool) & known],
        phases=phases,
        engine_told=bool(local_joined["prompt_ms"].notna().any()),
        routed=not direct and bool(joined["routed"].any()),
        tpot_ms=text.round_ms(median(local_rows["tpot_ms"].to_numpy(dtype=np.float64))),
        in_flight=_overlap(local_rows, "t_send_ns"),
        answering=_overlap(local_rows, "t_first_token_ns"),
        prompt_tokens=prompt[np.isfinite(prompt)],
        whole_tokens=whole[np.isfinite(whole)],
        cached_share=_share(told["cached_tokens"], told["prompt_tokens"]),
        cached_n=len(told),
        loads_ms=loads[loads > 1.0],
        overflowed=int(too_long.sum()),
        hedged=_hedged(data, rows),
        hedges_won=int((reason == Reason.HEDGE_WON).sum()),
        cores=_number(data.manifest.host.get("cores")),
        engine_cores=_number(host["engine_cpu"]),
        host_cores=_number(host["host_cpu"]),
        generator_cores=_number(host["generator_cpu"]),
        pinned=bool(data.manifest.affinity),
        memory=memory_peak_share(data.host),
    )
    return _with_missing(facts)


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or not np.isfinite(value):
        return None
    return round(float(value), 3)


def _share(part: pd.Series[float], whole: pd.Series[float]) -> float | None:
    tokens = float(whole.sum())
    return text.round_share(float(part.sum()) / tokens) if tokens > 0 else None


def _overlap(rows: pd.DataFrame, start: str) -> float | None:
    starts = rows[start].to_numpy(dtype=np.float64, na_value=np.nan)
    return overlap(starts, rows["t_end_ns"].to_numpy(dtype=np.float64, na_value=np.nan))


def _phases(joined: pd.DataFrame) -> dict[str, FloatArray]:
    """Return the phases of the requests that were split without contradiction."""
    parts = split(joined).dropna()
    # A router on another host has another clock, and stamps out of order.
    sound = parts[(parts.drop(columns=["late", "wait"]) >= -5.0).all(axis=1)].clip(lower=0.0)
    if len(sound) < min(FEW, max(len(parts), 1)):
        return {}
    return {name: sound[name].to_numpy(dtype=np.float64) for name in PHASES}


def _clouds(
    data: RunData, cell: Cell, own: FloatArray, target_ms: float
) -> tuple[FloatArray, bool]:
    """Return the first tokens of a cloud and whether it was emulated: of the cell's own, or else
    of the arm that asked nothing but a cloud."""
    if own.size >= FEW:
        return own, data.emulated(cell.arm)
    other = next(
        (
            item
            for item in reversed(data.cells)
            if item.arm == Arm.REMOTE_ONLY and len(item.rows) >= FEW
        ),
        None,
    )
    if other is None:
        return own, data.emulated(cell.arm)
    delays = delays_ms(other.rows, target_ms)
    return delays[~np.isnan(delays)], data.emulated(other.arm)


def _hedged(data: RunData, rows: pd.DataFrame) -> int | None:
    """Return how many of the requests were asked twice; None: no attempts are known."""
    try:
        table = read_table(data.run_dir, "attempts", ["request_id", "hedged"]).to_pandas()
    except UserError:
        return None
    if table.empty:
        return None
    twice = table[table["hedged"].astype(bool)]["request_id"]
    return int(rows["request_id"].isin(twice).sum())


def _with_missing(facts: Facts) -> Facts:
    """Add what the run does not tell."""
    missing = []
    if facts.local.size == 0:
        missing.append(
            "no request was answered by a local model: nothing is said of slots, threads, prompts "
            "and the local cache"
        )
    elif not facts.phases:
        missing.append(
            "the time to the first token could not be split into phases: waiting, loading and "
            "reading the prompt cannot be told apart"
        )
    elif not facts.engine_told:
        missing.append(
            "no engine timings: loading and reading the prompt count as waiting in the engine"
        )
    if facts.routed and facts.hedged is None:
        missing.append(
            "no router attempts: the wait in the router's queue and its hedges are unknown"
        )
    if facts.local.size and not facts.prompt_tokens.size:
        missing.append("no token counts: nothing is said of num_ctx and of the prompt's length")
    if facts.local.size and facts.cached_share is None:
        missing.append("no cached tokens: nothing is said of the engine's prefix cache")
    if facts.engine_cores is None:
        missing.append("the engine's CPU was not sampled: nothing is said of its threads")
    if not facts.remote.size:
        missing.append("no first token of a cloud: nothing is said of hedging and of going remote")
    if not facts.memory.n:
        missing.append("memory was not sampled")
    return replace(facts, missing=tuple(missing))
