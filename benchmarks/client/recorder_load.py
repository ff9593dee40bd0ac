"""The recorder at work in the process that measures: what the recorder proof starts.

    python -m benchmarks.client.recorder_load --url URL --run-dir DIR --rows N --rate N

Talkers measure a truth server without end; in blocks that take turns, records are made and handed
to the recorder at a steady rate, or not. One JSON line every 50 ms says what the recorder was
given so far; after the last record one line with ``done`` holds the figures.
"""

# ruff: noqa: E402 - patching has to come before everything that is patched
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse
import gc
import json
import math
import sys
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

import gevent
import psutil

from benchmarks.client.truth import TruthLog
from firsttoken.core.child import die_with_parent
from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.words import Outcome, Phase
from firsttoken.load.client import Line, StreamClient
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.meter import Hygiene, Meter, quantile
from firsttoken.load.recorder import Recorder
from firsttoken.wire.dialect import ChatRequest

TICK_S = 0.01
REPORT_S = 0.05
EARLY_ROWS = 100_000
"""Records after which memory has to stay as it is."""
_TOKENS = 24


class Talkers:
    """Measure without end; keep a stamp and an error a reply, and nothing that grows faster."""

    def __init__(self, line: Line, users: int) -> None:
        self._line = line
        self._log: dict[str, tuple[int, float]] = {}
        self.stamps_ns = array("q")
        self.error_ms = array("d")
        self._talking = [
            gevent.spawn_later(user / users, self._talk, user) for user in range(users)
        ]

    def _talk(self, user: int) -> None:
        client = StreamClient(self._line)
        turn = 0
        while True:
            exchange = Exchange(f"talk-{user}-{turn}", monotonic_ns())
            messages = [{"role": "user", "content": "What is the truth?"}]
            client.ask(ChatRequest("truth", messages, stream=True, max_tokens=_TOKENS), exchange)
            if exchange.outcome == Outcome.SUCCESS and exchange.ttft_ms is not None and turn:
                sent_ns = exchange.t_send_ns or 0
                self._log[exchange.request_id] = (sent_ns, exchange.ttft_ms)
            turn += 1

    def join(self, log: TruthLog) -> None:
        """Turn what was seen since the last call into errors."""
        for row in log.take():
            seen = self._log.pop(row["request_id"], None)
            if seen is not None and row["first_token_ns"] is not None:
                true_ms = (row["first_token_ns"] - row["received_ns"]) / NS_PER_MS
                self.stamps_ns.append(seen[0])
                self.error_ms.append(seen[1] - true_ms)

    def close(self) -> None:
        """Stop all of them."""
        gevent.killall(self._talking)


def _template() -> Exchange:
    """Return a reply as a run has them: each record is made from it anew."""
    now_ns = monotonic_ns()
    exchange = Exchange("", now_ns)
    exchange.t_send_ns = now_ns
    exchange.t_headers_ns = exchange.t_first_event_ns = now_ns + 1_000_000
    exchange.t_first_token_ns = now_ns + 200_000_000
    exchange.t_first_sentence_ns = now_ns + 300_000_000
    exchange.t_last_token_ns = exchange.t_end_ns = now_ns + 700_000_000
    exchange.outcome = Outcome.SUCCESS
    exchange.http_status = 200
    exchange.tier, exchange.backend, exchange.reason = "local", "local", "default_local"
    exchange.attempts, exchange.conn_reused = 1, True
    exchange.usage_tokens, exchange.prompt_tokens = 24, 60
    return exchange


class Writer:
    """Hands records to the recorder at a rate."""

    def __init__(self, recorder: Recorder, rate: int, rows: int) -> None:
        self._recorder = recorder
        self._rate = rate
        self._rows = rows
        self._exchange = _template()
        self.written = 0
        self.resident_early: int | None = None
        self.busy_s = 0.0
        self.on_ns: list[tuple[int, int]] = []
        """When it wrote."""

    def run(self, seconds: float) -> None:
        """Write for ``seconds``, or to the last record."""
        start_ns = monotonic_ns()
        start_rows = self.written
        place = Place("proof", "hybrid", 20, "proof-hybrid-0-1", 3)
        while self.written < self._rows:
            elapsed_s = (monotonic_ns() - start_ns) / NS_PER_S
            if elapsed_s >= seconds:
                break
            due = min(self._rows, start_rows + int(self._rate * elapsed_s))
            while self.written < due:
                # In a run each comes from a talker of its own: others get their turn in between.
                for _ in range(min(5, due - self.written)):
                    self._exchange.request_id = f"proof-{self.written}"
                    self._recorder.add(self._exchange.row(place, Phase.STEADY))
                    self.written += 1
                gevent.sleep(0)
            if self.resident_early is None and self.written >= min(EARLY_ROWS, self._rows // 10):
                self.resident_early = psutil.Process().memory_info().rss
            gevent.sleep(TICK_S)
        end_ns = monotonic_ns()
        self.busy_s += (end_ns - start_ns) / NS_PER_S
        self.on_ns.append((start_ns, end_ns))


def _report(writer: Writer) -> None:
    while True:
        print(json.dumps({"t_ns": monotonic_ns(), "written": writer.written}), flush=True)
        gevent.sleep(REPORT_S)


def _fail(error: UserError) -> None:
    print(f"firsttoken: {error}", file=sys.stderr)
    sys.exit(2)


def run(given: argparse.Namespace) -> dict[str, object]:
    """Do the work; return the figures."""
    log = TruthLog(given.url)
    recorder = Recorder(given.run_dir, _fail)
    writer = Writer(recorder, given.rate, given.rows)
    talkers = Talkers(Line.to(given.url, "openai", None, 30.0), given.users)
    gevent.sleep(1.0 + given.settle)
    gc.collect()
    gc.freeze()
    reporting = gevent.spawn(_report, writer)
    meter = Meter()
    on: list[Hygiene] = []
    off: list[Hygiene] = []
    spans_off: list[tuple[int, int]] = []
    while writer.written < given.rows:
        begin_ns = monotonic_ns()
        gevent.sleep(given.block / 4)
        spans_off.append((begin_ns, monotonic_ns()))
        off.append(meter.take())
        writer.run(given.block)
        on.append(meter.take())
        talkers.join(log)
    resident = psutil.Process().memory_info().rss
    began_s = time.perf_counter()
    recorder.close()
    closing_ms = (time.perf_counter() - began_s) * 1000
    reporting.kill()
    gevent.sleep(1.0)
    talkers.join(log)
    talkers.close()
    meter.close()
    during = list(zip(talkers.stamps_ns, talkers.error_ms, strict=True))
    with_rows = [e for t, e in during if any(a <= t <= b for a, b in writer.on_ns)]
    without = [e for t, e in during if any(a <= t <= b for a, b in spans_off)]
    return {
        "done": True,
        "rows": writer.written,
        "rows_per_s": writer.written / writer.busy_s,
        "resident_early": writer.resident_early,
        "resident_late": resident,
        "closing_ms": closing_ms,
        "with": _figures(with_rows, on),
        "without": _figures(without, off),
    }


def _figures(error_ms: Sequence[float], spans: Sequence[Hygiene]) -> dict[str, float | int]:
    return {
        "n": len(error_ms),
        "error_p50_ms": quantile(error_ms, 0.50) or math.nan,
        "error_p99_ms": quantile(error_ms, 0.99) or math.nan,
        "lag_p99_ms": max((span.lag_p99_ms for span in spans), default=math.nan),
        "lag_max_ms": max((span.lag_max_ms for span in spans), default=math.nan),
        "cores": sum(span.cpu_share for span in spans) / max(1, len(spans)),
    }


def main() -> None:
    """Read the command line, work, print the figures."""
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--block", type=float, default=5.0)
    parser.add_argument("--settle", type=float, default=1.0)
    print(json.dumps(run(parser.parse_args())), flush=True)


if __name__ == "__main__":
    main()
