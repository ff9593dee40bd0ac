"""Locust as a child process, as the bench runs it and as a person does.

Importing locust patches the process, so nothing here imports it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from firsttoken.core.records import REQUESTS, consolidate, read_table
from tests.load.scripted import (
    CHUNKED_HEAD,
    DONE,
    STOP,
    Reply,
    Scripted,
    chunked,
    delta,
    sse,
)
from tests.load.test_plan import plan_of

ROOT = Path(__file__).parents[2]
STEPS_FILE = ROOT / "loadtests" / "steps.py"
Runs = dict[str, tuple[subprocess.Popen[str], Path]]


def arms_to(url: str) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "url": url, "model": "truth", "dialect": "openai", "api_key_env": None}
        for arm in ("local_only", "hybrid")
    ]


def write_plan(tmp_path: Path, url: str, **changes: Any) -> list[str]:
    plan = plan_of(
        **{
            "run_dir": str(tmp_path),
            "arms": arms_to(url),
            "steps": [2],
            "step_seconds": 0.7,
            "warmup_seconds": 0.4,
            "max_tokens": 9,
            "parent_pid": os.getpid(),
            **changes,
        },
    )
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan))
    command = [sys.executable, "-m", "locust", "-f", str(STEPS_FILE), "Steps"]
    return [*command, "--headless", "--run-plan", str(path)]


def run(argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def records(run_dir: Path) -> pd.DataFrame:
    consolidate(run_dir)
    frame: pd.DataFrame = read_table(run_dir, "requests").to_pandas()
    return frame


def readable_part_rows(run_dir: Path) -> int:
    """Return how many whole rows the parts hold now, as a reader after a kill finds them."""
    rows = 0
    for part in (run_dir / "parts").glob("requests-*.arrow"):
        try:
            with pa.ipc.open_stream(part.read_bytes()) as stream:
                assert stream.schema.equals(REQUESTS)
                for batch in stream:
                    rows += batch.num_rows
        except (pa.ArrowInvalid, EOFError):
            continue
    return rows


@pytest.fixture(scope="module")
def under_way(truth_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Long runs that have flushed their first rows, one for each way to end them; started
    together, since most of their time is waiting."""
    runs = {}
    for way in ("SIGINT", "SIGTERM", "SIGKILL"):
        run_dir = tmp_path_factory.mktemp(way)
        argv = write_plan(run_dir, truth_url, step_seconds=60)
        child = subprocess.Popen(
            argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        runs[way] = (child, run_dir)
    try:
        for child, run_dir in runs.values():
            until_rows_are_readable(run_dir)
            assert child.poll() is None, child.communicate()[1]
        yield runs
    finally:
        for child, _ in runs.values():
            child.kill()
            child.communicate()


def until_rows_are_readable(run_dir: Path) -> None:
    waited = threading.Event()
    for _ in range(400):
        if readable_part_rows(run_dir) > 0:
            return
        waited.wait(0.05)
    raise AssertionError("no row was flushed within 20 s")


def test_a_plan_runs_to_its_end(truth_url: str, tmp_path: Path) -> None:
    done = run(write_plan(tmp_path, truth_url, steps=[3]))
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["event"], line["step_users"], line["arm"]) for line in lines] == [
        ("block", 3, arm) for arm in ("local_only", "hybrid")
    ]
    frame = records(tmp_path)
    assert list(frame.columns) == REQUESTS.names
    assert frame.request_id.is_unique
    assert set(frame.outcome) == {"success"}
    assert set(frame.phase) == {"warmup", "steady"}
    assert set(frame.output_tokens) <= {8, 9}
    assert frame.tier.isna().all()
    for line in lines:
        steady = frame[(frame.arm == line["arm"]) & (frame.phase == "steady")]
        assert len(steady) == line["requests"] > 1
        assert line["errors"] == 0
        # The smallest TTFT that 95 % of the requests did not exceed.
        rank = -(-95 * len(steady) // 100)
        assert line["ttft_p95_ms"] == pytest.approx(sorted(steady.ttft_ms)[rank - 1], abs=0.01)
    assert frame.ttft_ms.between(50, 2000).all()
    assert (frame.ttft_user_ms >= frame.ttft_ms).all()
    # A connection is opened once a talker and block, and kept.
    assert (~frame.conn_reused).sum() == frame.session_id.nunique() == 6
    # Talkers start one after the other over the warm-up.
    for _, block in frame[frame.turn == 0].groupby("arm"):
        starts = block.t_sched_ns.sort_values().diff().dropna() / 1e6
        assert starts.between(133, 134).all()


def test_both_arms_say_the_same(tmp_path: Path) -> None:
    """The schedule shows on the wire: the same texts in the same turns of both arms."""
    reply = Reply([CHUNKED_HEAD, *chunked(sse(delta("ok"), STOP, DONE)), 0.05])
    with Scripted([reply] * 10_000) as server:
        done = run(write_plan(tmp_path, server.url, step_seconds=0.4))
        assert done.returncode == 0, done.stderr
        said: dict[str, dict[str, Any]] = {}
        for request in server.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            found = re.search(rb"x-request-id: \S+-(\w+)-\d-(\d-\d+)\r\n", head)
            assert found is not None
            said.setdefault(found[1].decode(), {})[found[2].decode()] = json.loads(body)["messages"]
    shared = said["local_only"].keys() & said["hybrid"].keys()
    assert len(shared) > 6
    assert all(said["local_only"][turn] == said["hybrid"][turn] for turn in shared)
    frame = records(tmp_path)
    assert set(frame.tier) == {"local"}
    assert set(frame.reason) == {"rule_simple"}


def test_nothing_under_way_is_lost_when_a_block_ends(tmp_path: Path) -> None:
    """Replies slower than the block, and some that never come, are all recorded."""
    slow = Reply([CHUNKED_HEAD, 0.8, *chunked(sse(delta("ok"), STOP, DONE))])
    never = Reply([CHUNKED_HEAD, 30.0])
    with Scripted([slow, never]) as server:
        done = run(
            write_plan(
                tmp_path,
                server.url,
                arms=arms_to(server.url)[:1],
                warmup_seconds=0.2,
                step_seconds=0.3,
                request_timeout_seconds=1.2,
            )
        )
        assert done.returncode == 0, done.stderr
        sent = len(server.requests)
    frame = records(tmp_path)
    assert len(frame) == sent == 2
    assert sorted(zip(frame.outcome, frame.error_type.fillna(""), strict=True)) == [
        ("success", ""),
        ("timeout", "first_token_timeout"),
    ]


@pytest.mark.parametrize("way", ["SIGINT", "SIGTERM"])
def test_a_signal_closes_the_part_and_exits_130(under_way: Runs, way: str) -> None:
    child, run_dir = under_way[way]
    child.send_signal(signal.Signals[way])
    _, errors = child.communicate(timeout=15)
    assert child.returncode == 130, errors
    assert "Traceback" not in errors
    frame = records(run_dir)
    # What was under way is recorded as what it is: stopped by us.
    assert {"success", "cancelled"} == set(frame.outcome)
    assert (frame.outcome == "cancelled").sum() <= 2
    assert set(frame[frame.outcome == "cancelled"].error_type) == {"client_gone"}


def test_after_sigkill_what_was_flushed_is_read(under_way: Runs) -> None:
    child, run_dir = under_way["SIGKILL"]
    before = readable_part_rows(run_dir)
    child.kill()
    child.communicate(timeout=15)
    assert len(records(run_dir)) >= before > 0


def test_it_ends_when_its_parent_does(truth_url: str, tmp_path: Path) -> None:
    """The parent is a Python process that starts the run and is then killed."""
    argv = write_plan(tmp_path, truth_url, step_seconds=60, parent_pid=None)
    code = (
        "import json,os,subprocess,sys\n"
        "path = sys.argv[-1]\n"
        "plan = {**json.load(open(path)), 'parent_pid': os.getpid()}\n"
        "json.dump(plan, open(path, 'w'))\n"
        "child = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *argv], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    until_rows_are_readable(tmp_path)
    parent.kill()
    parent.communicate()
    waited = threading.Event()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or _is_zombie(pid):
            break
        waited.wait(0.05)
    else:
        os.kill(pid, signal.SIGKILL)
        raise AssertionError("the load child outlived its parent by 10 s")
    assert len(records(tmp_path)) > 0


def _is_zombie(pid: int) -> bool:
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": [0]}, "steps"),
        ({"run_dir": "/dev/null/x"}, "cannot write"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_2(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    done = run(write_plan(tmp_path, "http://127.0.0.1:1", **changes))
    assert done.returncode == 2
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("firsttoken: ")]
    assert len(said) == 1
    assert says in said[0]
    assert "Traceback" not in done.stderr


def test_a_full_disk_ends_the_run_with_one_line_and_exit_2(truth_url: str, tmp_path: Path) -> None:
    """A file may not grow beyond 8 KiB: writing fails as it does on a full disk."""
    argv = write_plan(tmp_path, truth_url, step_seconds=60)
    done = run(["prlimit", "--fsize=8192", *argv], PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("firsttoken: ")]
    assert len(said) == 1
    assert "cannot write" in said[0]
    assert "Traceback" not in done.stderr
