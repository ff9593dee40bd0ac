"""How far off the clocks of clients are under load, and what they cost.

A truth server stamps each first token as it writes it. Error is a client's TTFT minus the server's,
a request; lag is the way back alone, from the server's write to the client's own stamp, for clients
that tell it on the host's monotonic clock. The processor time of a client and its children is read
twice a second and taken between two moments of the load, its start-up left out.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.client.peers import Peer, told
from benchmarks.client.truth import TruthLog
from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from firsttoken.trials.evidence import markdown_table

BUDGET_P99_MS = {20: 3.0, 100: 5.0, 200: 15.0}
"""Error of our own client on a machine with two cores and nothing else to do, by talkers."""
BUDGET_CORES = 0.10
"""Of our own client, with :data:`CPU_USERS` talkers that get 50 tokens a second each."""
CPU_USERS = 20
STARTING_S = 1.5
"""After the first request: talkers start one after the other meanwhile, and what a tool does once
a talker is left out for every tool alike."""
_SAMPLE_S = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How the server speaks."""

    first_token_ms: str
    interval_ms: str
    tokens: int


CLOCK = Pace("150:450", "20", 24)
"""Voice: a short wait, 50 tokens a second, short replies."""
STEADY = Pace("20", "20", 100)
"""50 tokens a second, nearly without a pause."""


@dataclass(slots=True)
class Load:
    """One client under one load."""

    peer: str
    users: int
    error_ms: list[float] = field(default_factory=list)
    lag_ms: list[float] = field(default_factory=list)
    failed: int = 0
    cores: float | None = None
    cpu_us_per_token: float | None = None
    trouble: str = ""

    def error(self, share: float) -> float | None:
        """Return a quantile of the error, by nearest rank."""
        return quantile(self.error_ms, share)


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of ``values`` do not exceed."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


class CpuWatch:
    """Reads the processor time of a process and its children while the block runs."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._read: list[tuple[int, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cpu-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._over.set()
        self._thread.join()

    def spent_s(self, start_ns: int, end_ns: int) -> float | None:
        """Return the seconds of processor time between two moments, None where unknown."""
        start, end = self._at(start_ns), self._at(end_ns)
        return None if start is None or end is None else max(0.0, end - start)

    def _at(self, t_ns: int) -> float | None:
        for (left_ns, left), (right_ns, right) in zip(self._read, self._read[1:], strict=False):
            if left_ns <= t_ns <= right_ns:
                share = (t_ns - left_ns) / max(1, right_ns - left_ns)
                return left + share * (right - left)
        return None

    def _run(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            with suppress(psutil.NoSuchProcess):
                tree = [self._root, *self._root.children(recursive=True)]
                spent = 0.0
                for process in tree:
                    with suppress(psutil.NoSuchProcess):
                        times = process.cpu_times()
                        spent += times.user + times.system
                self._read.append((monotonic_ns(), spent))


def measure(peer: Peer, users: int, seconds: float, pace: Pace) -> Load:
    """Put ``peer`` under load for ``seconds``; return what was found.

    Raises:
        UserError: the server or the client failed.
    """
    argv = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    argv += ["--first-token-ms", pace.first_token_ms, "--token-interval-ms", pace.interval_ms]
    with Child.start(argv) as server:
        log = TruthLog(server.url)
        load = ["--users", str(users), "--seconds", str(seconds), "--tokens", str(pace.tokens)]
        with peer.start("load", server.url, load) as child:
            watch = CpuWatch(child.pid)
            try:
                rows = told(child, peer.name, seconds)
            finally:
                watch.close()
        return compare(peer.name, users, rows, log.take(), watch)


def compare(
    peer: str,
    users: int,
    rows: Sequence[Mapping[str, Any]],
    truth: Sequence[Mapping[str, Any]],
    watch: CpuWatch | None = None,
) -> Load:
    """Join what a client told with what the server knows, by request id."""
    load = Load(peer, users, failed=sum(not row["ok"] for row in rows))
    if not truth:
        load.trouble = "it sent nothing"
        return load
    start_ns = min(row["received_ns"] for row in truth) + int(STARTING_S * NS_PER_S)
    end_ns = max(row["received_ns"] for row in truth)
    known = {row["request_id"]: row for row in truth}
    for row in rows:
        true = known.get(row["request_id"])
        if true is None or true["received_ns"] < start_ns or not row["ok"]:
            continue
        if true["first_token_ns"] is None or row["ttft_ms"] is None:
            continue
        true_ms = (true["first_token_ns"] - true["received_ns"]) / NS_PER_MS
        load.error_ms.append(row["ttft_ms"] - true_ms)
        if row.get("first_ns") is not None:
            load.lag_ms.append((row["first_ns"] - true["first_token_ns"]) / NS_PER_MS)
    spent_s = None if watch is None else watch.spent_s(start_ns, end_ns)
    if spent_s is not None and end_ns > start_ns:
        load.cores = spent_s / ((end_ns - start_ns) / NS_PER_S)
        tokens = tokens_between(truth, start_ns, end_ns)
        load.cpu_us_per_token = 1e6 * spent_s / tokens if tokens else None
    return load


def tokens_between(truth: Sequence[Mapping[str, Any]], start_ns: int, end_ns: int) -> float:
    """Return how many tokens were written between two moments: those of a reply evenly from its
    first token to its end."""
    total = 0.0
    for row in truth:
        first_ns, last_ns = row["first_token_ns"], row["ended_ns"]
        if first_ns is None or last_ns <= first_ns:
            continue
        shared_ns = min(last_ns, end_ns) - max(first_ns, start_ns)
        total += row["tokens"] * max(0, shared_ns) / (last_ns - first_ns)
    return total


def clock_table(loads: Sequence[Load], ours: str) -> str:
    """Return the Markdown table of errors."""
    rows = []
    for load in loads:
        budget = BUDGET_P99_MS.get(load.users) if load.peer == ours else None
        p99 = load.error(0.99)
        verdict = (
            ""
            if budget is None or p99 is None
            else f"{budget:g} {'kept' if p99 <= budget else 'MISSED'}"
        )
        rows.append(
            (
                load.peer,
                str(load.users),
                load.trouble or str(len(load.error_ms)),
                *(_number(load.error(share)) for share in (0.5, 0.95, 0.99, 1.0)),
                _number(quantile(load.lag_ms, 0.99)),
                str(load.failed or ""),
                "" if load.cores is None else f"{load.cores:.0%}",
                "" if load.cpu_us_per_token is None else f"{load.cpu_us_per_token:.0f}",
                verdict,
            )
        )
    header = ("client", "talkers", "requests", "error p50 ms", "p95", "p99", "max", "lag p99 ms")
    more = ("failed", "of a core", "CPU us a token", "budget p99 ms")
    return markdown_table((*header, *more), rows)


def cpu_table(loads: Sequence[Load], ours: str) -> str:
    """Return the Markdown table of processor time at a steady 50 tokens a second a talker."""
    rows = []
    for load in loads:
        judged = load.peer == ours and load.cores is not None
        kept = judged and (load.cores or 0.0) <= BUDGET_CORES
        rows.append(
            (
                load.peer,
                load.trouble or ("" if load.cores is None else f"{load.cores:.1%}"),
                "" if load.cpu_us_per_token is None else f"{load.cpu_us_per_token:.0f}",
                f"{BUDGET_CORES:.0%} {'kept' if kept else 'MISSED'}" if judged else "",
            )
        )
    return markdown_table(("client", "of a core", "CPU us a token", "budget"), rows)


def within_budgets(clock: Sequence[Load], cpu: Sequence[Load], ours: str) -> bool:
    """Whether our own client kept every budget that was looked at."""
    for load in clock:
        budget = BUDGET_P99_MS.get(load.users)
        p99 = load.error(0.99)
        missed = load.failed > 0 or (budget is not None and (p99 is None or p99 > budget))
        if load.peer == ours and missed:
            return False
    return all(
        load.cores is not None and load.cores <= BUDGET_CORES for load in cpu if load.peer == ours
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
