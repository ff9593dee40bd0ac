"""The reference, the time, engines that do not start; and a small try of the real engine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.records import Manifest, read_table
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials.progress import Progress
from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.engines import Engines
from firsttoken.trials.tuning.looks import Seen, leader
from firsttoken.trials.tuning.plan import TryPlan, guide_reference, search_of
from firsttoken.trials.tuning.search import Step
from firsttoken.trials.tuning.trying import Found, seek, tune_try
from tests.trials.tuning.bench import GUIDE, SEARCH, Bench

SETTINGS = settings_room.load(None, environ={})


SLO = slo_room.load(None, SETTINGS)


def test_the_guide_means_one_slot_and_no_more_threads_than_cores() -> None:
    reference = guide_reference(SETTINGS)
    assert reference.slots == 1
    assert 1 <= reference.threads <= min(4, os.cpu_count() or 1)


def test_no_time_for_a_comparison() -> None:
    with pytest.raises(UserError, match="--seconds 10: expected at least 16"):
        search_of(TryPlan(seconds=10.0), SETTINGS)


TINY = TryPlan(
    users=1,
    slots=(1, 3),
    threads=(1,),
    step_seconds=1.0,
    seconds=600.0,
    warmup_seconds=0.2,
    turns=1,
    max_tokens=8,
    calibrate=False,
)


def test_a_candidate_on_the_real_engine_until_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    pids: list[int] = []
    start = Engines.start

    def watched(self: Engines, candidate: Candidate) -> EngineSupervisor:
        engine = start(self, candidate)
        told.append((candidate.slots, engine.slots))
        pids.extend(self.pids())
        if len(told) == 2:
            raise KeyboardInterrupt
        return engine

    monkeypatch.setattr(Engines, "start", watched)
    out = tmp_path / "run"
    # Two threads wait for each other at every layer where something else keeps a core.
    path = "local_optimization.inference.num_thread"
    alone = settings_room.load(None, environ={}, overrides={path: 1})
    with pytest.raises(KeyboardInterrupt):
        tune_try(replace(TINY, out=out), alone, SLO, Progress())
    # The engine said of itself what it was started with, and none is left.
    assert told == [(1, 1), (3, 3)]
    assert len(set(pids)) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    manifest = Manifest.read(out)
    assert "cut short by Ctrl-C" in manifest.notes
    assert [block.arm.partition("-")[0] for block in manifest.blocks] == ["slots1"]
    requests = read_table(out, "requests").to_pandas()
    answered = requests[requests["outcome"] == "success"].groupby("arm").size()
    assert len(answered) == 1
    body = json.loads((out / "tune.json").read_text("utf-8"))
    assert body["finished"] is False
    assert [item["candidate"]["slots"] for item in body["levels"]] == [1]
    assert (out / "tune.md").read_text("utf-8").startswith("# Settings tried")


def test_a_reference_that_does_not_start_ends_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Candidate] = []

    def failing(_self: Engines, candidate: Candidate) -> EngineSupervisor:
        asked.append(candidate)
        raise UserError("the engine was killed")

    monkeypatch.setattr(Engines, "start", failing)
    with pytest.raises(UserError, match="the engine was killed"):
        tune_try(replace(TINY, out=tmp_path / "run"), SETTINGS, SLO, Progress())
    assert [each.slots for each in asked] == [1]
    body = json.loads((tmp_path / "run" / "tune.json").read_text("utf-8"))
    assert (body["finished"], body["levels"]) == (False, [])


def test_what_cannot_be_started_is_not_asked_again() -> None:
    bench, found, asked = Bench(), Found(), []

    def look(step: Step) -> Seen | None:
        asked.append(step.candidate)
        return None if step.candidate == Candidate(24, 2) else bench.look(step)

    seek(SEARCH, look, found, now_s=lambda: bench.now_s, began_s=bench.now_s)
    assert asked.count(Candidate(24, 2)) == 1
    assert found.refused == [Candidate(24, 2)]
    assert leader(found.seen, GUIDE) == Candidate(16, 2)
