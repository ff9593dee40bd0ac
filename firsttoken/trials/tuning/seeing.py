"""From the rows of a run to what a look at a candidate showed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import BlockResult
from firsttoken.core.words import Outcome, Phase
from firsttoken.trials.capacity import ROW_COLUMNS, look_of
from firsttoken.trials.tuning.looks import Seen
from firsttoken.trials.tuning.search import Step
from reports.capacity import Of

COLUMNS = (*ROW_COLUMNS, "e2e_ms", "prompt_ms", "tpot_ms", "output_tokens")


def seen_of(
    step: Step,
    block: BlockResult,
    rows: pd.DataFrame,
    host: pd.DataFrame,
    *,
    took_s: float,
    target_ms: float,
    cores: float,
) -> Seen:
    """Return what one block of a run showed of a candidate."""
    # They were written as they ended; a queue shows in the order of sending.
    rows = rows.sort_values("t_send_ns", kind="stable", na_position="last")
    look = look_of(
        block.step_users, block, rows, host, of=Of.DEVICES, target_ms=target_ms, cores=cores
    )
    mine = rows[(rows["block"] == block.number) & (rows["phase"] == Phase.STEADY)]
    done = mine[mine["outcome"] == Outcome.SUCCESS]
    counted = mine[mine["outcome"] != Outcome.CANCELLED]
    # While a slot reads a prompt it serves nobody else either.
    held = (done["e2e_ms"] - done["ttft_ms"] + done["prompt_ms"].fillna(0.0)).dropna()
    window_s = (block.ended_ns - block.steady_ns) / NS_PER_S
    tokens = float(done["output_tokens"].sum())
    return Seen(
        candidate=step.candidate,
        stage=step.stage,
        delays=look.delays,
        accepted=look.accepted,
        failed=look.failed,
        failures=np.where(counted["outcome"] == Outcome.SUCCESS, 0.0, 1.0),
        seconds=step.seconds,
        warmup=step.warmup,
        took_s=took_s,
        cold_ms=_longest(rows[rows["block"] == block.number]["prompt_ms"]),
        hold_ms=_median(held),
        tpot_ms=_median(done["tpot_ms"].dropna()),
        tokens_per_second=tokens / window_s if window_s > 0 and tokens else None,
        disturbed=look.disturbed,
    )


def _longest(values: pd.Series[float]) -> float | None:
    return float(values.max()) if values.notna().any() else None


def _median(values: pd.Series[float]) -> float | None:
    return float(values.median()) if len(values) else None
