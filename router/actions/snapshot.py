"""What ``investigate_performance`` captures: how things stand, written to a file; nothing changes.

No text of a conversation, no key and no prompt is in it: of the engine's slots only numbers and
truth values are kept.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil

from firsttoken.core.host import ROOT
from router.account import AttemptRecord, DecisionRecord

KEPT_RECORDS = 100
"""Attempts and decisions in one snapshot."""

METRICS_BYTES = 65_536
"""Kept of the engine's own metrics."""

MOST_SLOTS = 1_024

PAGE_S = 3.0
"""For one page of the engine's. One that hangs is what is to be looked into: the rest of the
snapshot must not wait for it."""

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Fetches a URL; returns the status and the body. Raises OSError where there is no answer."""


async def engine_view(fetch: Fetch, base_url: str, page_s: float = PAGE_S) -> dict[str, Any]:
    """Return what a local engine says of itself at ``/metrics`` and ``/slots``, where it does so
    within ``page_s`` seconds each."""
    found: dict[str, Any] = {}
    with suppress(OSError):
        async with asyncio.timeout(page_s):
            status, body = await fetch(f"{base_url}/metrics")
        if status == 200:
            found["metrics"] = _samples(body[:METRICS_BYTES])
    with suppress(OSError, orjson.JSONDecodeError):
        async with asyncio.timeout(page_s):
            status, body = await fetch(f"{base_url}/slots")
        slots = orjson.loads(body) if status == 200 else None
        if isinstance(slots, list):
            found["slots"] = [_plain(slot) for slot in slots[:MOST_SLOTS]]
    return found


def _samples(body: bytes) -> list[str]:
    lines = body.decode("utf-8", "replace").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _plain(slot: object) -> dict[str, Any]:
    """Return numbers and truth values of a slot; its prompt is what somebody said."""
    if not isinstance(slot, Mapping):
        return {}
    return {key: value for key, value in slot.items() if isinstance(value, bool | int | float)}


def host_view(processes: Mapping[str, psutil.Process], root: Path = ROOT) -> dict[str, Any]:
    """Return pressure, load, and CPU time and memory of processes by their names."""
    found: dict[str, Any] = {"pressure": {}, "processes": {}}
    for kind in ("cpu", "memory", "io"):
        with suppress(OSError):
            text = (root / "proc/pressure" / kind).read_text(encoding="utf-8")
            found["pressure"][kind] = text.splitlines()
    with suppress(OSError):
        found["load"] = (root / "proc/loadavg").read_text(encoding="utf-8").strip()
    for name, process in processes.items():
        with suppress(psutil.Error):
            times, memory = process.cpu_times(), process.memory_info()
            found["processes"][name] = {
                "pid": process.pid,
                "cpu_seconds": times.user + times.system,
                "resident_bytes": memory.rss,
                "shared_bytes": getattr(memory, "shared", None),
                "threads": process.num_threads(),
                "status": process.status(),
            }
    return found


def record_view(record: AttemptRecord | DecisionRecord) -> dict[str, Any]:
    """Return a record without any text of a user."""
    return {key: value for key, value in asdict(record).items() if key != "text"}


def write(folder: Path, content: Mapping[str, Any], most: int) -> Path:
    """Write a snapshot that only its owner may read, drop the oldest over ``most``; return it.

    Raises:
        OSError: it could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%S}-{time.time_ns() % 1_000_000_000:09d}.json"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2))
    ours = sorted(folder.glob("[0-9]*T[0-9]*-[0-9]*.json"))
    for old in ours[: max(0, len(ours) - most)]:
        old.unlink(missing_ok=True)
    return path
