"""Ours: the streaming client for the traps, a load test run by Locust under load."""

# ruff: noqa: E402 - patching has to come before everything that is patched
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import loadtests
from benchmarks.client.runners.common import (
    PROMPT,
    RAMP_S,
    Seen,
    options,
    run_gevent,
    tell,
)
from firsttoken.core.clock import monotonic_ns
from firsttoken.core.records import consolidate, read_table
from firsttoken.core.words import Outcome
from firsttoken.load.client import Line, StreamClient
from firsttoken.load.exchange import Exchange
from firsttoken.wire.dialect import ChatRequest

given = options()


def _make() -> StreamClient:
    return StreamClient(Line.to(given.url, "openai", None, 30.0))


def _ask(client: StreamClient, model: str, request_id: str, tokens: int, seen: Seen) -> None:
    exchange = Exchange(request_id, monotonic_ns())
    messages = [{"role": "user", "content": PROMPT}]
    request = ChatRequest(model, messages, stream=True, max_tokens=tokens, include_usage=True)
    client.ask(request, exchange)
    client.close()
    seen.sent_ns = exchange.t_send_ns or seen.sent_ns
    seen.first_ns = exchange.t_first_token_ns
    seen.text_ns = exchange.t_first_text_ns
    seen.end_ns = exchange.t_end_ns
    seen.tokens = exchange.output_tokens
    seen.ok = exchange.outcome == Outcome.SUCCESS


def _load() -> None:
    """Run the scenario that ``firsttoken bench`` runs, and tell what it recorded."""
    with tempfile.TemporaryDirectory() as directory:
        run_dir = Path(directory)
        plan = {
            "run_id": "clock",
            "run_dir": directory,
            "scenario": "steps",
            "seed": 1,
            "steps": [given.users],
            "step_seconds": given.seconds,
            "warmup_seconds": RAMP_S,
            "max_tokens": given.tokens,
            "min_tokens": given.tokens,
            "arms": [{"arm": "target", "url": given.url, "model": "truth"}],
            "parent_pid": os.getpid(),
        }
        plan_file = run_dir / "plan.json"
        plan_file.write_text(json.dumps(plan))
        scenario = Path(loadtests.__file__).with_name("steps.py")
        command = [sys.executable, "-m", "locust", "-f", str(scenario), "Steps", "--headless"]
        subprocess.run(
            [*command, "--run-plan", str(plan_file)], stdout=subprocess.DEVNULL, check=True
        )
        consolidate(run_dir)
        rows = read_table(run_dir, "requests").to_pylist()
    for row in rows:
        tell(
            {
                "request_id": row["request_id"],
                "ttft_ms": row["ttft_ms"],
                "first_ns": row["t_first_token_ns"],
                "ok": row["outcome"] == Outcome.SUCCESS,
            }
        )


if __name__ == "__main__":
    if given.mode == "traps":
        run_gevent(_make, _ask)
    else:
        _load()
