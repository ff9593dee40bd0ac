"""Open loop and replay by Locust as a child process, against a server that tells its own times."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.core.records import consolidate, read_table
from firsttoken.load.plan import RunPlan
from tests.load.test_plan import plan_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def truth_url() -> Iterator[str]:
    argv = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    argv += ["--first-token-ms", "40:80", "--token-interval-ms", "4"]
    with Child.start(argv) as truth:
        yield truth.url


def locust(scenario: str, class_name: str, plan: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / f"{scenario}.py")]
    return subprocess.run(
        [*argv, class_name, "--headless", "--run-plan", str(plan)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(
    tmp_path: Path, url: str, scenario: str, class_name: str, **changes: Any
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Run a plan to its end; return the lines about its blocks, and its records."""
    arms = [
        {"arm": arm, "url": url, "model": "truth", "dialect": "openai", "api_key_env": None}
        for arm in ("local_only", "hybrid")
    ]
    plan = {"run_dir": str(tmp_path), "scenario": scenario, "arms": arms, "parent_pid": None}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_of(**plan, **changes)))
    done = locust(scenario, class_name, path)
    assert done.returncode == 0, done.stderr
    consolidate(tmp_path)
    blocks = [json.loads(line) for line in done.stdout.splitlines()]
    return blocks, read_table(tmp_path, "requests").to_pandas()


def test_both_arms_get_the_starts_that_were_planned(truth_url: str, tmp_path: Path) -> None:
    """Two talkers at 40 starts a second are too few: what is owed is made after the end."""
    blocks, frame = run(
        tmp_path,
        truth_url,
        "open_loop",
        "OpenLoop",
        steps=[2],
        step_seconds=0.8,
        warmup_seconds=0.2,
        max_tokens=8,
        open_loop={"rate": 40.0, "arrivals": "gamma"},
    )
    steady = frame[frame.phase == "steady"]
    planned = {}
    for block in blocks:
        assert block["scheduled"] == block["requests"] == 32
        assert block["dropped"] == block["errors"] == 0
        assert block["planned_rate"] == 40.0
        mine = steady[steady.arm == block["arm"]]
        assert len(mine) == 32
        waited_ms = (mine.t_send_ns - mine.t_sched_ns) / 1e6
        # A start is late by when it was taken, just before it was sent.
        assert (waited_ms > 15).sum() <= block["late"] <= (waited_ms > 10).sum()
        assert block["late"] > 16
        assert (mine.ttft_user_ms - mine.ttft_ms).to_numpy() == pytest.approx(waited_ms.to_numpy())
        assert mine.t_sched_ns.between(block["steady_ns"], block["stop_ns"]).all()
        assert block["ended_ns"] > block["stop_ns"] + 0.5e9
        starts = frame[frame.arm == block["arm"]].sort_values("t_sched_ns")
        planned[block["arm"]] = list(starts.t_sched_ns - block["started_ns"])
        # Each is a session of its own, on the connection of the talker that made it.
        assert starts.session_id.is_unique
        assert (~starts.conn_reused).sum() == 2
    assert planned["local_only"] == planned["hybrid"]
    assert len(planned["hybrid"]) == 40


def test_a_trace_is_replayed(truth_url: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = [(0.0, "a", 30, 3), (0.2, "b", 90, 5), (0.25, "a", 60, 4), (1.0, "", 20, 6)]
    lines = ["timestamp,session,prompt_tokens,output_tokens"]
    lines += [",".join(map(str, row)) for row in rows]
    trace.write_text("\n".join(lines))
    blocks, frame = run(
        tmp_path,
        truth_url,
        "replay",
        "Replay",
        steps=[4],
        step_seconds=0.5,
        warmup_seconds=0.0,
        replay={"file": str(trace), "speed": 2.0},
    )
    assert [(block["scheduled"], block["dropped"]) for block in blocks] == [(4, 0)] * 2
    for block in blocks:
        mine = frame[frame.arm == block["arm"]].sort_values("t_sched_ns")
        assert list(mine.output_tokens) == [3, 5, 4, 6]
        offsets_s = (mine.t_sched_ns - block["started_ns"]) / 1e9
        assert list(offsets_s) == pytest.approx([0, 0.1, 0.125, 0.5])
        assert list(mine.turn) == [0, 0, 1, 0]
        assert set(mine.phase) == {"steady"}
        assert mine.session_id.nunique() == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "the scenario needs a trace"),
        ({"replay": {"file": "x", "speed": 0}}, "replay.speed"),
        ({"scenario": "open_loop", "open_loop": {"rate": 0.01}}, "make none in 15 s"),
        ({"scenario": "open_loop", "open_loop": {"rate": 1e4}, "step_seconds": 9000}, "1,000,000"),
        ({"scenario": "open_loop", "open_loop": {"arrivals": "chaotic"}}, "open_loop.arrivals"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        RunPlan.parse(json.dumps(plan_of(**{"scenario": "replay", **changes})), "plan.json")


def test_a_trace_that_cannot_be_read_ends_the_run_with_one_line(tmp_path: Path) -> None:
    plan = plan_of(scenario="replay", replay={"file": "nowhere.csv"}, parent_pid=None)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = locust("replay", "Replay", tmp_path / "plan.json")
    assert done.returncode == 2
    assert "firsttoken: cannot read the trace nowhere.csv" in done.stderr
    assert "Traceback" not in done.stderr
