"""Whether a scrape each second moves the first token.

    python -m benchmarks.router.scrape [--users 20] [--seconds 40] [--blocks 4] [--json FILE]

One router, one run: blocks with a scrape of ``/metrics`` each second, by a process of its own, take
turns with blocks without. Exits 0 if TTFT p99 moves by no more than the budget, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.router import load, peers
from benchmarks.router.figures import Side
from firsttoken.core.errors import UserError

BUDGET_MS = 5.0
_PACE = ("40:60", "10")
"""First token and interval of the server behind the router, milliseconds."""

_SCRAPER = """\
import http.client, json, select, sys, time
host, spent = sys.argv[1], []
while not select.select([sys.stdin], [], [], 1.0)[0]:
    began = time.perf_counter()
    link = http.client.HTTPConnection(host, timeout=5)
    link.request("GET", "/metrics")
    link.getresponse().read()
    link.close()
    spent.append(1000 * (time.perf_counter() - began))
print(json.dumps(spent))
"""


@contextmanager
def scraping(url: str, spent_ms: list[float]) -> Iterator[None]:
    """Scrape ``url`` each second; what the scrapes took is appended to ``spent_ms``."""
    command = [sys.executable, "-c", _SCRAPER, url.removeprefix("http://")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as scraper:
        yield
        told, _ = scraper.communicate("\n")
    spent_ms += json.loads(told)


def measure(users: int, tokens: int, seconds: float, blocks: int) -> tuple[Side, Side, list[float]]:
    """Return the sides without and with scrapes, and the milliseconds of each scrape.

    Raises:
        UserError: a reply was incomplete.
    """
    spent_ms: list[float] = []
    with ExitStack() as stack:
        upstream = peers.truth(*_PACE)
        stack.enter_context(upstream.child)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        router = peers.start_router(upstream.url, directory)
        stack.enter_context(router.child)
        truth = load.Truth(upstream.url)
        quiet, scraped = Side("quiet", router.ready_s), Side("scraped", router.ready_s)
        way = load.Way("router", router.url, tokens)
        load.run_block(way, truth, users, 1.0)
        for number in range(blocks):
            # Turned round each time, so that neither side always comes second.
            for side in (quiet, scraped) if number % 2 == 0 else (scraped, quiet):
                with ExitStack() as scrapes:
                    if side is scraped:
                        scrapes.enter_context(scraping(router.url, spent_ms))
                    before_s = router.cpu_s()
                    block = load.run_block(way, truth, users, seconds / blocks)
                    side.add(block, router.cpu_s() - before_s)
    return quiet, scraped, spent_ms


def main(argv: list[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(prog="benchmarks.router.scrape")
    parser.add_argument("--users", type=int, default=20, help="streams at once")
    parser.add_argument("--tokens", type=int, default=20, help="chunks of a stream")
    parser.add_argument("--seconds", type=float, default=40.0, help="a side")
    parser.add_argument("--blocks", type=int, default=4, help="turns a side")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    told = parser.parse_args(argv)
    try:
        quiet, scraped, spent_ms = measure(told.users, told.tokens, told.seconds, told.blocks)
    except UserError as error:
        print(f"benchmarks.router.scrape: {error}", file=sys.stderr)
        return 2
    print(f"{told.users} streams; TTFT beyond the server's own, ms\n")
    for side in (quiet, scraped):
        p50, p95, p99 = (side.quantile(share) for share in (0.5, 0.95, 0.99))
        print(
            f"{side.name:8} n {len(side.beyond_ms):5}  p50 {p50:6.2f}  p95 {p95:6.2f}  "
            f"p99 {p99:6.2f}  CPU {side.cpu_ms:5.2f} ms a stream"
        )
    moved_ms = scraped.quantile(0.99) - quiet.quantile(0.99)
    scrape_ms = statistics.median(spent_ms) if spent_ms else float("nan")
    passed = moved_ms <= BUDGET_MS and bool(spent_ms)
    print(f"\n{len(spent_ms)} scrapes, median {scrape_ms:.1f} ms")
    print(
        f"{'PASS' if passed else 'MISSED'}  p99 moved {moved_ms:+.2f} ms (budget {BUDGET_MS:g} ms)"
    )
    if told.json is not None:
        figures = {"moved_p99_ms": moved_ms, "scrapes": len(spent_ms), "scrape_ms": scrape_ms}
        told.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
