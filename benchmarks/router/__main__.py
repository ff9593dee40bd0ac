"""What the router adds to the first token and costs, beside what could stand in its place.

    python -m benchmarks.router [--users 20] [--seconds 15] [--litellm PATH] [--json FILE]

One run, one machine. A server that knows when it received each request and wrote its first token
is asked directly, through this router, through a bare byte splice, and through nginx and LiteLLM
where they are installed, in blocks that take turns, by one client over warm connections with
staggered starts. What a client's TTFT has beyond the server's own is transport and whatever stands
in between. Then each one alone carries streams without pacing.

Exits 0 within the router's budgets, 1 outside of one. On a busy machine the figures mean little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.router import figures, load, peers
from benchmarks.router.figures import Side
from benchmarks.router.peers import Peer, Server
from firsttoken.core.errors import UserError

FIRST_DELAY_MS = "40:60"
INTERVAL_MS = "10"
UNPACED_USERS = 64
"""Enough that somebody always waits to be served."""


def _start(stack: ExitStack, present: list[Peer], upstream: Server) -> list[Server]:
    servers = [upstream]
    for peer in present:
        if peer.start is not None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = peer.start(upstream.url, directory)
            stack.enter_context(server.child)
            servers.append(server)
    return servers


def _load(side: Side, server: Server, truth: load.Truth, options: argparse.Namespace) -> None:
    before_s = server.cpu_s()
    seconds = options.seconds / options.blocks
    way = load.Way(side.name, server.url, options.tokens)
    block = load.run_block(way, truth, options.users, seconds)
    side.add(block, server.cpu_s() - before_s)


def paced(present: list[Peer], options: argparse.Namespace) -> list[Side]:
    """Load all sides in turn; return their figures, the direct server first."""
    with ExitStack() as stack:
        upstream = peers.truth(FIRST_DELAY_MS, INTERVAL_MS)
        stack.enter_context(upstream.child)
        servers = _start(stack, present, upstream)
        sides = [Side(server.name, server.ready_s) for server in servers]
        truth = load.Truth(upstream.url)
        for number in range(options.blocks):
            # Turned round each time, so that no side always follows the same one.
            order = list(zip(sides, servers, strict=True))
            for side, server in order if number % 2 == 0 else reversed(order):
                _load(side, server, truth, options)
        for side, server in zip(sides, servers, strict=True):
            side.resident_mb = server.resident_mb()
    return sides


def unpaced(present: list[Peer], sides: list[Side], options: argparse.Namespace) -> None:
    """Have each side alone carry as many streams as it can; the figures go to ``sides``."""
    for side, peer in zip(sides, [None, *present], strict=True):
        with ExitStack() as stack:
            upstream = peers.truth("0:0", "0")
            stack.enter_context(upstream.child)
            server = _start(stack, [] if peer is None else [peer], upstream)[-1]
            truth = load.Truth(upstream.url)
            way = load.Way(side.name, server.url, options.tokens)
            load.run_block(way, truth, UNPACED_USERS, 0.5)
            before_s = server.cpu_s()
            block = load.run_block(way, truth, UNPACED_USERS, options.saturation_seconds)
            side.saturate(block, server.cpu_s() - before_s)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.router", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--users", type=int, default=20, help="streams at once")
    parser.add_argument("--tokens", type=int, default=40, help="chunks of a stream")
    parser.add_argument("--seconds", type=float, default=15.0, help="of paced load a side")
    parser.add_argument("--blocks", type=int, default=3, help="turns a side")
    parser.add_argument("--saturation-seconds", type=float, default=4.0, help="unpaced, a side")
    parser.add_argument("--nginx", metavar="PATH", help="the program, if not on the path")
    parser.add_argument("--litellm", metavar="PATH", help="the program, if not on the path")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison, print it, judge the router."""
    options = _options(argv)
    everyone = peers.peers(options.nginx, options.litellm)
    present = [peer for peer in everyone if peer.start is not None]
    missing = [peer.name for peer in everyone if peer.start is None]
    try:
        sides = paced(present, options)
        unpaced(present, sides, options)
    except UserError as error:
        print(f"benchmarks.router: {error}", file=sys.stderr)
        return 2
    found = figures.checks(sides[0], sides[1])
    setting = {"users": options.users, "tokens": options.tokens, "interval_ms": float(INTERVAL_MS)}
    print(
        f"{options.users} staggered streams of {options.tokens} chunks, {INTERVAL_MS} ms apart, "
        f"first after {FIRST_DELAY_MS.replace(':', '-')} ms; direct is the server itself\n"
    )
    print(figures.table(sides, missing))
    print()
    print(figures.verdicts(found))
    if options.json is not None:
        told = figures.as_json(setting, sides, found, missing)
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return 0 if all(check.passed for check in found) else 1


if __name__ == "__main__":
    sys.exit(main())
