"""The comparison of routers: what it computes, and that it runs end to end in a small way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.router import __main__ as program
from benchmarks.router import figures, peers
from benchmarks.router.figures import Side
from benchmarks.router.load import Block


def _side(name: str, beyond_ms: float, cpu_s: float) -> Side:
    side = Side(name, ready_s=0.5, resident_mb=64.0)
    side.add(Block([beyond_ms] * 10, streams=20, seconds=1.0), cpu_s)
    side.saturate(Block([], streams=600, seconds=2.0), cpu_s=1.0)
    return side


def test_figures_and_budgets() -> None:
    direct, router = _side("direct", 0.5, 0.02), _side("router", 1.5, 0.08)
    assert router.cpu_ms == pytest.approx(4.0)
    assert (router.saturated_per_s, router.saturated_per_core_s) == (300.0, 600.0)
    found = figures.checks(direct, router)
    assert [check.name for check in found if not check.passed] == ["CPU a paced stream"]
    assert "MISSED  CPU a paced stream" in figures.verdicts(found)
    assert "litellm  not installed" in figures.table([direct, router], ["litellm"])


def test_a_short_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = peers.peers()
    ours = [peer for peer in everyone if peer.name in {"router", "splice"}]
    monkeypatch.setattr(peers, "peers", lambda *_: [*ours, peers.Peer("litellm", None)])
    file = tmp_path / "figures.json"
    options = ["--users", "2", "--tokens", "3", "--seconds", "2", "--blocks", "2"]
    code = program.main([*options, "--saturation-seconds", "0.5", "--json", str(file)])
    told = json.loads(file.read_text())
    assert [side["name"] for side in told["sides"]] == ["direct", "router", "splice"]
    assert all(side["n"] > 0 and side["unpaced"]["streams_per_s"] > 0 for side in told["sides"])
    assert told["not_installed"] == ["litellm"]
    assert code == (0 if all(check["passed"] for check in told["checks"]) else 1)
