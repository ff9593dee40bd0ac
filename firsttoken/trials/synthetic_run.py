"""A run folder of any size whose rows are drawn, to measure what reading and showing it costs.

Nothing in it was measured, and its manifest says so. It has what a real run has: several steps of
three arms, failures, a router's decisions and attempts, the engine's own times, host samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
)
from firsttoken.core.words import Arm

STEPS = (5, 10, 15, 20)
ARMS: tuple[tuple[Arm, str], ...] = (
    (Arm.HYBRID, "drawn; backup is an emulated cloud"),
    (Arm.LOCAL_ONLY, "drawn"),
    (Arm.REMOTE_ONLY, "drawn; emulated cloud"),
)
ORIGIN = 1_000 * NS_PER_S
WALL = 1_780_000_000 * NS_PER_S
STEP_SECONDS = 600.0
ROWS_AT_ONCE = 65_536

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def _manifest(seed: int) -> Manifest:
    def calibration(when: str) -> Calibration:
        return Calibration(20, 400, 0.3, 1.9, 2.6, 3.0, 43.2, when, 0.2, 0.9, 0.05)

    return Manifest(
        run_id="synthetic",
        scenario="synthetic",
        anchor=WallAnchor(monotonic_ns=ORIGIN, wall_unix_ns=WALL),
        arms=[
            ArmTarget(str(arm), "http://127.0.0.1:8080", "drawn", "openai", note)
            for arm, note in ARMS
        ],
        steps=list(STEPS),
        step_seconds=STEP_SECONDS,
        seed=seed,
        command=["python", "-m", "firsttoken.trials.prove", "report"],
        host={"cpu_model": "none", "cores": 4.0, "memory_bytes": 8_000_000_000},
        versions={},
        calibration=[calibration("before"), calibration("after")],
        notes=["every row was drawn at random: nothing here was measured"],
        finished=True,
    )


def _words(values: npt.NDArray[Any], names: list[str | None]) -> pa.Array:
    """Return text for numbers of names."""
    return pa.DictionaryArray.from_arrays(pa.array(values, pa.int8()), pa.array(names)).cast(
        pa.string()
    )


def _spaced(table: dict[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    """Return the columns given in the types of a schema; the others are null."""
    columns = [
        pa.array(table[field.name], type=field.type)
        if field.name in table
        else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _ids(block: int, rows: int) -> list[str]:
    return [f"{block}-{number}" for number in range(rows)]


def _delays(random: np.random.Generator, arm: Arm, users: int, rows: int) -> tuple[Floats, Any]:
    """Return TTFT in ms and whether the remote tier served, a value a row."""
    local = random.lognormal(np.log(90 + 6 * users), 0.35, rows)
    cloud = random.lognormal(np.log(700), 0.25, rows)
    chance = {Arm.HYBRID: 0.08, Arm.REMOTE_ONLY: 1.0}.get(arm, 0.0)
    remote = random.random(rows) < chance
    return np.where(remote, cloud, local), remote


def _block(
    random: np.random.Generator, number: int, arm: Arm, users: int, *, start: int, rows: int
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return requests, attempts and decisions of one arm at one step."""
    ttft, remote = _delays(random, arm, users, rows)
    failed = random.random(rows) < 0.004
    tokens = random.integers(8, 33, rows)
    at = np.arange(rows)
    sent = start + (at * (STEP_SECONDS * NS_PER_S / rows)).astype(np.int64)
    first = sent + (ttft * NS_PER_MS).astype(np.int64)
    end = first + (tokens * 20 * NS_PER_MS).astype(np.int64)
    routed = arm is Arm.HYBRID
    ids = _ids(number, rows)
    tier = _words(np.where(failed, 2, remote), ["local", "remote", "none"]) if routed else None
    requests: dict[str, Any] = {
        "run_id": _words(np.zeros(rows, np.int8), ["synthetic"]),
        "arm": _words(np.zeros(rows, np.int8), [str(arm)]),
        "step_users": np.full(rows, users, np.int32),
        "session_id": _words(at % users, [f"s-{talker}" for talker in range(users)]),
        "turn": (at // users).astype(np.int32),
        "request_id": ids,
        "phase": _words((at >= rows // 50).astype(np.int8), ["warmup", "steady"]),
        "t_sched_ns": sent,
        "t_send_ns": sent,
        "t_headers_ns": sent + 2 * NS_PER_MS,
        "t_first_token_ns": pa.array(first, mask=failed),
        "t_end_ns": end,
        "ttft_ms": pa.array((first - sent) / NS_PER_MS, mask=failed),
        "ttft_user_ms": pa.array((first - sent) / NS_PER_MS, mask=failed),
        "ttfs_ms": pa.array((first - sent) / NS_PER_MS + 160.0, mask=failed),
        "tpot_ms": pa.array(np.full(rows, 20.0), mask=failed),
        "e2e_ms": (end - sent) / NS_PER_MS,
        "prompt_tokens": pa.array(random.integers(20, 3_000, rows), pa.int64(), mask=failed),
        "cached_tokens": pa.array(random.integers(0, 20, rows), pa.int64(), mask=failed),
        "output_tokens": pa.array(tokens, mask=failed),
        "outcome": _words(failed.astype(np.int8), ["success", "error"]),
        "error_type": _words(failed.astype(np.int8), [None, "http_5xx"]),
        "block": np.full(rows, number, np.int32),
    }
    if not routed:
        none = ATTEMPTS.empty_table(), DECISIONS.empty_table()
        return _spaced(requests, REQUESTS, rows), *none
    reason = _words(np.where(remote, 1, 0), ["default_local", "failover"])
    requests |= {"tier": tier, "backend": tier, "reason": reason}
    accepted, relayed = sent + NS_PER_MS // 2, first - NS_PER_MS // 2
    decisions: dict[str, Any] = {
        "request_id": ids,
        "accepted_ns": accepted,
        "first_token_ns": pa.array(relayed, mask=failed),
        "ended_ns": end,
        "tier": tier,
        "backend": tier,
        "reason": reason,
        "cache": _words(np.zeros(rows, np.int8), ["miss"]),
        "attempts": 1 + remote,
        "outcome": requests["outcome"],
        "error_type": requests["error_type"],
    }
    lost = np.flatnonzero(remote)
    attempts = pa.concat_tables(
        [
            _attempts(ids, lost, accepted, first, committed=False),
            _attempts(ids, at, accepted + remote * 20 * NS_PER_MS, relayed, committed=True),
        ]
    )
    return (
        _spaced(requests, REQUESTS, rows),
        attempts,
        _spaced(decisions, DECISIONS, rows),
    )


def _attempts(ids: list[str], at: Ints, started: Ints, first: Ints, *, committed: bool) -> pa.Table:
    rows = len(at)
    started, first = started[at] + NS_PER_MS // 2, first[at] - NS_PER_MS // 2
    constant = np.zeros(rows, np.int8)
    found: dict[str, Any] = {
        "request_id": [ids[each] for each in at.tolist()],
        "backend": _words(constant, ["local"]),
        "model": _words(constant, ["drawn"]),
        "started_ns": started,
        "headers_ns": started + NS_PER_MS if committed else pa.nulls(rows, pa.int64()),
        "first_token_ns": first if committed else pa.nulls(rows, pa.int64()),
        "ended_ns": first,
        "outcome": _words(constant, ["success" if committed else "error"]),
        "queue_ms": np.full(rows, 0.2),
        "prompt_ms": (first - started) / NS_PER_MS * 0.6,
        "hedged": np.zeros(rows, bool),
        "committed": np.full(rows, committed),
    }
    return _spaced(found, ATTEMPTS, rows)


def _host(random: np.random.Generator, seconds: int) -> pa.Table:
    constant = {
        "router_cpu": 0.1,
        "generator_cpu": 0.1,
        "host_cpu": 2.0,
        "steal_share": 0.001,
        "throttled_share": 0.0,
        "cpu_pressure_some": 0.1,
        "foreign_cpu": 0.01,
        "memory_unreclaimable_bytes": 2_000_000_000,
        "memory_limit_bytes": 8_000_000_000,
    }
    found: dict[str, Any] = {name: np.full(seconds, value) for name, value in constant.items()}
    found["t_ns"] = ORIGIN + np.arange(seconds) * NS_PER_S
    found["engine_cpu"] = 1.6 + 0.1 * random.random(seconds)
    return _spaced(found, HOST, seconds)


def write(run_dir: Path, rows: int, seed: int = 1) -> Path:
    """Write a finished run of about ``rows`` requests; return its folder.

    A third of the requests, the hybrid arm's, have decisions and attempts.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    each = max(rows // (len(STEPS) * len(ARMS)), 1)
    schemas = {"requests": REQUESTS, "attempts": ATTEMPTS, "decisions": DECISIONS}
    with _Writers(run_dir, schemas) as writers:
        start, number = ORIGIN, 0
        for users in STEPS:
            for arm, _ in ARMS:
                tables = _block(random, number, arm, users, start=start, rows=each)
                for name, table in zip(schemas, tables, strict=True):
                    writers[name].write_table(table, row_group_size=ROWS_AT_ONCE)
                start += int((STEP_SECONDS + 5) * NS_PER_S)
                number += 1
    seconds = (start - ORIGIN) // NS_PER_S
    pq.write_table(_host(random, int(seconds)), run_dir / "host.parquet")
    _manifest(seed).write(run_dir)
    return run_dir


class _Writers(dict[str, pq.ParquetWriter]):
    """A Parquet file a table, closed together."""

    def __init__(self, run_dir: Path, schemas: dict[str, pa.Schema]) -> None:
        super().__init__(
            {
                name: pq.ParquetWriter(run_dir / f"{name}.parquet", schema, compression="zstd")
                for name, schema in schemas.items()
            }
        )

    def __enter__(self) -> _Writers:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.values():
            writer.close()
