"""What the records of a run contradict or do not tell.

Two kinds of sentences come out: *gaps*, which a reader must know, and *doubts*, gaps of records
that cannot be right as they are. What can be judged is judged all the same, and may FAIL; but where
there is a doubt nothing can PASS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.errors import UserError
from firsttoken.core.records import Manifest
from firsttoken.core.words import ErrorType, Outcome, Phase, Tier
from reports import text
from reports.generators import lost_generators

DURATIONS = ("ttft_ms", "ttft_user_ms", "ttfs_ms", "tpot_ms", "e2e_ms", "load_ms", "prompt_ms")
COUNTS = ("prompt_tokens", "cached_tokens", "output_tokens")

STAMP_TOLERANCE_MS = 1.0
"""How far a TTFT may be from the stamps that it was made of."""

NEEDED = ("arm", "step_users", "phase", "outcome", "request_id")
"""Columns in which a row must hold something."""

_WORDS: dict[str, tuple[type, str]] = {
    "outcome": (Outcome, "counted as failed"),
    "phase": (Phase, "left out like a warm-up"),
    "tier": (Tier, "in no tier's figures"),
    "error_type": (ErrorType, "shown as they stand"),
}
"""Closed vocabularies, and what becomes of other words."""


def checked(manifest: Manifest, path: Path) -> Manifest:
    """Return the manifest, its values of the kinds that it declares.

    Raises:
        UserError: one is of another kind, or cannot be.
    """
    try:
        found = TypeAdapter(Manifest).validate_python(asdict(manifest))
        found.anchor.isoformat()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where}: {first['msg'].lower()}") from error
    except (OverflowError, ValueError, OSError) as error:
        raise UserError(f"{path}: anchor: no point in time: {error}") from error
    cores = found.host.get("cores")
    if cores is not None and not isinstance(cores, int | float):
        raise UserError(f"{path}: host.cores is {cores!r}, expected a number")
    if any(step < 1 for step in found.steps):
        raise UserError(f"{path}: steps holds a number of users below 1")
    return found


def cleaned(requests: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that can be used, impossible values taken out of them, and the doubts.

    Raises:
        UserError: rows say nothing of what they are (:data:`NEEDED`).
    """
    empty = [name for name in NEEDED if requests[name].isna().any()]
    if empty:
        raise UserError(f"{path} has rows without {', '.join(empty)}")
    doubts = [*_backwards(requests), *_strange(requests)]
    requests, repeated = _once(requests)
    return _possible(requests), [*doubts, *repeated]


def _backwards(requests: pd.DataFrame) -> list[str]:
    """Return what stamps and durations contradict."""
    ttft = requests["ttft_ms"].to_numpy(dtype=np.float64)
    found = []
    early = int((ttft < 0).sum())
    if early:
        found.append(
            f"{text.count(early, 'request')} got the first token before being sent, by the "
            "clock: counted as without a first token"
        )
    sent = requests["t_send_ns"].to_numpy(dtype=np.float64)
    ended = int((requests["t_end_ns"].to_numpy(dtype=np.float64) < sent).sum())
    if ended:
        found.append(f"{text.count(ended, 'request')} ended before being sent, by the clock")
    stamped = (requests["t_first_token_ns"].to_numpy(dtype=np.float64) - sent) / NS_PER_MS
    apart = int((np.abs(stamped - ttft) > STAMP_TOLERANCE_MS).sum())
    if apart:
        found.append(f"{text.count(apart, 'request')} have a TTFT that is not that of their stamps")
    return found


def _strange(requests: pd.DataFrame) -> list[str]:
    """Return what cannot be: endless durations, negative ones, words of no vocabulary."""
    found = []
    for name in (*DURATIONS, *COUNTS):
        values = requests[name].to_numpy(dtype=np.float64)
        wrong = int((np.isinf(values) | ((values < 0) & (name != "ttft_ms"))).sum())
        if wrong:
            found.append(
                f"{text.count(wrong, 'request')} have a negative or endless {name}: left out of it"
            )
    for name, (known, fate) in _WORDS.items():
        words = {str(word) for word in requests[name].dropna().unique()}
        odd = sorted(words - {str(word) for word in known})  # type: ignore[attr-defined]
        if odd:
            shown = ", ".join(odd[:5]) + (" and more" if len(odd) > 5 else "")
            found.append(f"unknown {name.replace('_', ' ')}(s) {shown}: {fate}")
    return found


def _once(requests: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows without repetitions: the same request sent at the same time."""
    if requests["t_send_ns"].is_unique:
        return requests, []
    again = requests.duplicated(["request_id", "t_send_ns"]).to_numpy()
    repeated = int(again.sum())
    if not repeated:
        return requests, []
    words = f"{text.count(repeated, 'row')} repeat another one: left out"
    return requests[~again].reset_index(drop=True), [words]


def _possible(requests: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with NaN in place of negative and endless durations and counts."""
    changed = {}
    for name in (*DURATIONS, *COUNTS):
        values = requests[name].to_numpy(dtype=np.float64)
        bad = np.isinf(values) | (values < 0)
        if bad.any():
            changed[name] = np.where(bad, np.nan, values)
    return requests.assign(**changed) if changed else requests


def of_manifest(manifest: Manifest, arms: Sequence[str]) -> list[str]:
    """Return what a manifest does not tell or contradicts; ``arms`` are those of the records."""
    gaps = []
    planned = {item.arm for item in manifest.arms}
    extra = sorted(set(arms) - planned)
    if extra:
        gaps.append(f"arm(s) {', '.join(extra)} are in the records but not in run.json")
    if not manifest.finished:
        gaps.append(
            "the run was cut short: the records end with the last second written, what was under "
            "way is missing, and no claim can PASS"
        )
    hosts = sorted({worker.host for worker in manifest.workers})
    if len(hosts) > 1:
        error_ms = max(worker.clock_error_ns for worker in manifest.workers) / NS_PER_MS
        gaps.append(
            f"the load generators ran on {len(hosts)} machines ({', '.join(hosts)}): their clocks "
            f"were aligned to within {error_ms:.1f} ms, and only one machine was sampled"
        )
    return gaps + lost_generators(manifest)
