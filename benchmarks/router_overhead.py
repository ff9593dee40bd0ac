"""What the router adds to the first token and costs in CPU, beside the same server asked directly.

    python -m benchmarks.router_overhead [--users 20] [--seconds 12]

One run, one machine: the truth server is asked directly and through the router, in blocks that
take turns, by the same client over warm connections with staggered starts. The server knows when it
received each request and wrote its first token; what a client's TTFT has beyond that is transport
and whatever stands in between. Prints a table; exits 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_MS
from firsttoken.core.words import REQUEST_ID_HEADER

TOKENS = 40
FIRST_DELAY_MS = "40:60"
INTERVAL_MS = "10"
WARM_UP_REQUESTS = 1
"""A talker: its first request opens the connections."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Side:
    """One way to the truth server."""

    name: str
    url: str
    overhead_ms: list[float] = field(default_factory=list)
    """TTFT beyond what the server itself took, by request."""
    requests: int = 0
    """All of them, warm-up included, as CPU time is."""
    cpu_s: float = 0.0
    """Of the router's process."""

    def quantile(self, share: float) -> float:
        """Return a quantile of the overhead in milliseconds, by nearest rank."""
        ordered = sorted(self.overhead_ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def start_servers(directory: Path, *, first_delay_ms: str = FIRST_DELAY_MS) -> tuple[Child, Child]:
    """Start the truth server and a router in front of it; the caller stops both."""
    python = [sys.executable, "-m"]
    pace = ["--first-token-ms", first_delay_ms, "--token-interval-ms", INTERVAL_MS]
    truth = Child.start([*python, "firsttoken.upstreams.truth", "--port", "0", *pace])
    settings = directory / "router.yaml"
    settings.write_text(
        "llm_routing:\n  local_model:\n"
        f"    endpoint: {truth.url}\n    model: truth\n    dialect: openai\n",
        encoding="utf-8",
    )
    try:
        command = ["router", "--config", str(settings), "--port", "0", "--ready-json"]
        return truth, Child.start([*python, *command])
    except BaseException:
        truth.stop()
        raise


def cpu_seconds(pid: int) -> float:
    """Return user and system CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class _Stamper(asyncio.Protocol):
    """A client connection that stamps the first token of a reply when its bytes arrive."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self.first_token_ns: int | None = None
        self.done = asyncio.Event()
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def ask(self, head: bytes, body: bytes) -> int:
        """Send a request; return the stamp of handing it to the socket."""
        self.first_token_ns, self._tail = None, b""
        self.done.clear()
        assert self._transport is not None
        sent_ns = time.monotonic_ns()
        self._transport.write(head + body)
        return sent_ns

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        self._tail = self._tail[-64:] + data
        # The truth server's first word begins the answer; the role frame before it is empty.
        if self.first_token_ns is None and b'"content":"The ' in self._tail:
            self.first_token_ns = now_ns
        if self._tail.endswith(b"\r\n0\r\n\r\n"):
            self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.done.set()


async def _talk(
    side: Side, number: int, until_s: float, stamps: dict[str, tuple[int, int]], pause_s: float
) -> None:
    """Ask again and again over one connection until the time is over."""
    host, _, port = side.url.removeprefix("http://").partition(":")
    await asyncio.sleep(pause_s)
    loop = asyncio.get_running_loop()
    transport, stamper = await loop.create_connection(_Stamper, host, int(port))
    body = json.dumps(
        {
            "model": "truth",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "stream": True,
            "max_tokens": TOKENS,
        }
    ).encode()
    turn = 0
    while loop.time() < until_s:
        request_id = f"{side.name}-{number}-{turn}-{time.monotonic_ns()}"
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{REQUEST_ID_HEADER}: {request_id}\r\n\r\n"
        )
        sent_ns = stamper.ask(head.encode(), body)
        await stamper.done.wait()
        side.requests += 1
        if stamper.first_token_ns is None:
            raise RuntimeError(f"{side.name}: a reply without its first token")
        if turn >= WARM_UP_REQUESTS:
            stamps[request_id] = (sent_ns, stamper.first_token_ns)
        turn += 1
    transport.close()


async def _block(side: Side, users: int, seconds: float) -> dict[str, tuple[int, int]]:
    """Load one side for a while; return send and first-token stamps by request id."""
    stamps: dict[str, tuple[int, int]] = {}
    until_s = asyncio.get_running_loop().time() + seconds
    stagger_s = 0.5 / users
    await asyncio.gather(
        *(_talk(side, number, until_s, stamps, number * stagger_s) for number in range(users))
    )
    return stamps


def measure(truth: Child, router: Child, users: int, seconds: float, blocks: int) -> list[Side]:
    """Load both sides in turn, ``seconds`` a side in all; return their figures."""
    direct, routed = Side("direct", truth.url), Side("router", router.url)
    after = 0
    for _ in range(blocks):
        for side in (direct, routed):
            before_s = cpu_seconds(router.pid)
            stamps = uvloop.run(_block(side, users, seconds / blocks))
            side.cpu_s += cpu_seconds(router.pid) - before_s
            with urllib.request.urlopen(f"{truth.url}/truth?after={after}") as reply:  # noqa: S310
                told = json.load(reply)
            after = told["next"]
            for row in told["rows"]:
                if row["request_id"] in stamps:
                    sent_ns, seen_ns = stamps[row["request_id"]]
                    own_ns = row["first_token_ns"] - row["received_ns"]
                    side.overhead_ms.append((seen_ns - sent_ns - own_ns) / NS_PER_MS)
    return [direct, routed]


def table(sides: Sequence[Side], router: Child) -> str:
    """Return the figures as text."""
    lines = [f"{'':10}{'n':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'CPU ms a stream':>18}"]
    for side in sides:
        quantiles = "".join(f"{side.quantile(share):9.2f}" for share in (0.5, 0.95, 0.99))
        cpu_ms = 1000 * side.cpu_s / max(1, side.requests)
        lines.append(f"{side.name:10}{len(side.overhead_ms):7}{quantiles}{cpu_ms:18.2f}")
    direct, routed = sides
    added = "".join(
        f"{routed.quantile(share) - direct.quantile(share):9.2f}" for share in (0.5, 0.95, 0.99)
    )
    lines.append(f"{'added':10}{'':7}{added}")
    lines.append(f"router resident: {resident_mb(router.pid):.0f} MB")
    return "\n".join(lines)


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(prog="benchmarks.router_overhead")
    parser.add_argument("--users", type=int, default=20, help="streams at once")
    parser.add_argument("--seconds", type=float, default=12.0, help="of load a side")
    parser.add_argument("--blocks", type=int, default=3, help="turns a side")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        truth, router = start_servers(Path(directory))
        with truth, router:
            sides = measure(truth, router, arguments.users, arguments.seconds, arguments.blocks)
            print(
                f"{arguments.users} staggered streams of {TOKENS} chunks, {INTERVAL_MS} ms apart; "
                "TTFT beyond the server's own:"
            )
            print(table(sides, router))
    return 0


if __name__ == "__main__":
    sys.exit(main())
