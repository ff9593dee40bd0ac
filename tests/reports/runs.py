"""Makes run folders whose contents are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from firsttoken.core.clock import NS_PER_MS, NS_PER_S, WallAnchor
from firsttoken.core.records import (
    ATTEMPTS,
    DECISIONS,
    HOST,
    REQUESTS,
    ArmTarget,
    Calibration,
    Manifest,
    PartWriter,
    rows_from_mappings,
)

ORIGIN = 1_000 * NS_PER_S
WALL = 1_780_000_000 * NS_PER_S

CALIBRATED = Calibration(
    users=20,
    requests=100,
    error_p50_ms=0.31,
    error_p99_ms=2.24,
    error_max_ms=2.6,
    budget_p99_ms=5.0,
    cpu_us_per_token=43.2,
    when="before",
)


def calibrated(**changes: Any) -> list[Calibration]:
    """Return a calibration before and one after, with ``changes`` in both."""
    return [replace(CALIBRATED, when=when, **changes) for when in ("before", "after")]


NOTES = {
    "hybrid": "router; its remote tier is an emulated cloud",
    "remote_only": "emulated cloud",
    "local_only": "4 slots",
}


@dataclass(frozen=True)
class Block:
    """The requests of one arm at one step: TTFT in ms, None where there was no first token."""

    arm: str
    users: int
    ttft_ms: Sequence[float | None]
    tier: str | None = None
    outcome: str | None = None
    """None: success with a first token, error without."""
    error_type: str = "http_5xx"
    phase: str = "steady"
    output_tokens: int = 24
    seconds: float = 15.0


def lognormal(median_ms: float, n: int, *, sigma: float = 0.2, seed: int = 1) -> list[float | None]:
    """Draw ``n`` latencies."""
    drawn = np.random.default_rng(seed).lognormal(np.log(median_ms), sigma, n)
    return [float(value) for value in drawn]


def manifest(blocks: Sequence[Block], **changes: Any) -> Manifest:
    """Return a manifest that fits the blocks: calibrated, finished."""
    arms = list(dict.fromkeys(block.arm for block in blocks))
    made = Manifest(
        run_id="20260601T101500Z-steps",
        scenario="steps",
        anchor=WallAnchor(monotonic_ns=ORIGIN, wall_unix_ns=WALL),
        arms=[
            ArmTarget(arm, "http://127.0.0.1:8080", "smollm2-135m", "openai", NOTES.get(arm, ""))
            for arm in arms
        ],
        steps=sorted({block.users for block in blocks}),
        step_seconds=15.0,
        seed=7,
        command=["firsttoken", "bench", "--users", "5,20"],
        host={"cpu_model": "Example CPU", "cores": 2.0, "memory_bytes": 8_000_000_000},
        versions={"firsttoken": "0.1.0", "python": "3.11.7"},
        calibration=[CALIBRATED, replace(CALIBRATED, when="after", error_p99_ms=2.9)],
        finished=True,
    )
    return replace(made, **changes)


def rows(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return the records of the blocks, one block after the other."""
    found: list[dict[str, Any]] = []
    next_start, starts = ORIGIN, dict[tuple[str, int], int]()
    for number, block in enumerate(blocks):
        # What is named twice for an arm and step happened side by side.
        if (block.arm, block.users) not in starts:
            starts[block.arm, block.users] = next_start
            next_start += int((block.seconds + 2) * NS_PER_S)
        start = starts[block.arm, block.users]
        gap = int(block.seconds * NS_PER_S / max(len(block.ttft_ms), 1))
        for index, ttft in enumerate(block.ttft_ms):
            sent = start + index * gap
            e2e = (3_000.0 if ttft is None else ttft) + 40.0 * (block.output_tokens - 1)
            delivered = ttft is not None
            outcome = block.outcome or ("success" if delivered else "error")
            found.append(
                {
                    "run_id": "20260601T101500Z-steps",
                    "arm": block.arm,
                    "step_users": block.users,
                    "session_id": f"s{index % block.users}",
                    "turn": index // block.users,
                    "request_id": f"r{number}-{index}",
                    "phase": block.phase,
                    "t_sched_ns": sent,
                    "t_send_ns": sent,
                    "t_first_token_ns": None if ttft is None else sent + int(ttft * NS_PER_MS),
                    "t_end_ns": sent + int(e2e * NS_PER_MS),
                    "ttft_ms": ttft,
                    "ttft_user_ms": ttft,
                    "ttfs_ms": None if ttft is None else ttft + 160.0,
                    "tpot_ms": 40.0 if delivered else None,
                    "e2e_ms": e2e,
                    "prompt_tokens": 60 if delivered else None,
                    "cached_tokens": 30 if delivered else None,
                    "output_tokens": block.output_tokens if delivered else None,
                    "outcome": outcome,
                    "error_type": None if outcome == "success" else block.error_type,
                    "http_status": 200 if delivered else 503,
                    "tier": block.tier,
                    "backend": block.tier,
                    "reason": "default_local" if block.tier else None,
                    "attempts": 1,
                    "conn_reused": True,
                }
            )
    return found


def frame(blocks: Sequence[Block]) -> pa.Table:
    """Return the records of the blocks as a table of the schema."""
    return pa.Table.from_pylist(rows(blocks), schema=REQUESTS)


def attempts(requests: pa.Table, *, failed_first: int = 0) -> pa.Table:
    """Return a winning attempt for each delivered request; the first ones lost one before it."""
    found = []
    lost = 0
    for row in requests.select(["arm", "request_id", "t_send_ns", "ttft_ms", "tier"]).to_pylist():
        if row["ttft_ms"] is None or row["arm"] != "hybrid":
            continue
        start = row["t_send_ns"] + NS_PER_MS
        common = {
            "request_id": row["request_id"],
            "backend": row["tier"] or "local",
            "model": "m",
            "hedged": False,
        }
        if lost < failed_first:
            lost += 1
            found.append(
                {
                    **common,
                    "started_ns": start,
                    "ended_ns": start + 20 * NS_PER_MS,
                    "outcome": "error",
                    "error_type": "connect",
                    "committed": False,
                }
            )
            start += 20 * NS_PER_MS
        found.append(
            {
                **common,
                "started_ns": start,
                "first_token_ns": row["t_send_ns"] + int((row["ttft_ms"] - 0.9) * NS_PER_MS),
                "ended_ns": row["t_send_ns"] + int((row["ttft_ms"] + 900) * NS_PER_MS),
                "outcome": "success",
                "queue_ms": 3.0,
                "load_ms": None,
                "prompt_ms": 50.0 if row["tier"] == "local" else None,
                "committed": True,
            }
        )
    return pa.Table.from_pylist(found, schema=ATTEMPTS)


def decisions(requests: pa.Table, tried: pa.Table) -> pa.Table:
    """Return the router's decision on each request of the hybrid arm: accepted 0.5 ms after it was
    sent, its first token handed on 0.4 ms before the client had it."""
    counts: dict[str, int] = {}
    for name in tried["request_id"].to_pylist():
        counts[name] = counts.get(name, 0) + 1
    found = []
    for row in requests.to_pylist():
        if row["arm"] != "hybrid":
            continue
        sent, ttft = row["t_send_ns"], row["ttft_ms"]
        found.append(
            {
                "request_id": row["request_id"],
                "accepted_ns": sent + NS_PER_MS // 2,
                "first_token_ns": None if ttft is None else sent + int((ttft - 0.4) * NS_PER_MS),
                "ended_ns": row["t_end_ns"],
                "tier": row["tier"] or "none",
                "backend": row["backend"] or "none",
                "reason": row["reason"],
                "cache": "miss",
                "attempts": counts.get(row["request_id"], 0),
                "outcome": row["outcome"],
                "error_type": row["error_type"],
            }
        )
    return pa.Table.from_pylist(found, schema=DECISIONS)


def host(seconds: int, **columns: float) -> pa.Table:
    """Return one quiet sample a second, with the columns named set."""
    quiet: dict[str, Any] = {
        "engine_cpu": 1.6,
        "router_cpu": 0.08,
        "generator_cpu": 0.06,
        "host_cpu": 1.8,
        "steal_share": 0.0,
        "throttled_share": 0.0,
        "memory_unreclaimable_bytes": 2_000_000_000,
        "memory_limit_bytes": 8_000_000_000,
    }
    quiet.update(columns)
    samples = [{"t_ns": ORIGIN + s * NS_PER_S, **quiet} for s in range(seconds)]
    return pa.Table.from_pylist(samples, schema=HOST)


def write(
    run_dir: Path,
    blocks: Sequence[Block],
    *,
    with_attempts: bool = True,
    host_columns: dict[str, float] | None = None,
    **changes: Any,
) -> Path:
    """Write a finished run and return its folder."""
    run_dir.mkdir(parents=True, exist_ok=True)
    manifest(blocks, **changes).write(run_dir)
    table = frame(blocks)
    pq.write_table(table, run_dir / "requests.parquet")
    if with_attempts:
        tried = attempts(table, failed_first=3)
        pq.write_table(tried, run_dir / "attempts.parquet")
        pq.write_table(decisions(table, tried), run_dir / "decisions.parquet")
    seconds = int(sum(block.seconds + 2 for block in blocks)) + 2
    pq.write_table(host(seconds, **(host_columns or {})), run_dir / "host.parquet")
    return run_dir


def write_parts(run_dir: Path, blocks: Sequence[Block], *, cut: bool) -> Path:
    """Write what a killed run leaves: parts only, ``cut`` in the middle of the last batch."""
    run_dir.mkdir(parents=True, exist_ok=True)
    manifest(blocks, finished=False).write(run_dir)
    writer = PartWriter(run_dir, "requests", "4711")
    records = list(rows_from_mappings("requests", rows(blocks)))
    for at in range(0, len(records), 50):
        for record in records[at : at + 50]:
            writer.append(record)
        writer.flush()
    writer.close()
    if cut:
        content = writer.path.read_bytes()
        writer.path.write_bytes(content[:-2_000])
    return run_dir


def three_arms(*, n: int = 300, hybrid_ms: float = 210.0) -> list[Block]:
    """Return the demo's shape: 5 to 20 users, three arms, cloud and local tiers in the hybrid."""
    blocks = []
    for users in (5, 10, 15, 20):
        remote = lognormal(2_100, n // 6, sigma=0.18, seed=users)
        slow = 1 + users / 8
        blocks += [
            Block("remote_only", users, remote),
            Block("local_only", users, lognormal(180 * slow * slow, n // 2, seed=users + 1)),
            Block("hybrid", users, lognormal(hybrid_ms, n, seed=users + 2), tier="local"),
            Block("hybrid", users, lognormal(1_900, 4, seed=users + 3), tier="remote"),
        ]
    return blocks


def frames(run_dir: Path) -> pd.DataFrame:
    """Return the requests of a run."""
    found: pd.DataFrame = pq.read_table(run_dir / "requests.parquet").to_pandas()
    return found
