"""Several load generators: a master and its workers, as children, through the real router."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families

from firsttoken.core import settings, slo
from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import ArmTarget, Manifest, WorkerResult, read_table
from firsttoken.core.words import Verdict
from firsttoken.trials.generators import Generators
from firsttoken.trials.measure import ArmPlan, Measurement, Run
from firsttoken.trials.progress import Progress
from reports import build

ROOT = Path(__file__).parents[2]
SLO = slo.load(None, settings.load(None))
TRUTH = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
TRUTH += ["--first-token-ms", "50:120", "--token-interval-ms", "5"]
FAST_CLOCK_NS = 3600 * NS_PER_S

ELSEWHERE = f"""
import sys, time
from firsttoken.core import clock
clock.monotonic_ns = lambda: time.monotonic_ns() + {FAST_CLOCK_NS}
from firsttoken.load.distributed import messages
messages.boot_id = lambda: "another machine"
from locust.main import main
sys.argv = ["locust", *sys.argv[1:]]
main()
"""
"""A worker on another machine: another boot, and a clock that is an hour ahead."""


class Spy(Progress):
    """Hears the lines, and tells who waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.called = threading.Event()

    def say(self, text: str) -> None:
        self.lines.append(text)
        if "start each with" in text:
            self.called.set()


class Done(NamedTuple):
    """A run that has ended."""

    run_dir: Path
    spy: Spy
    manifest: Manifest
    rows: pd.DataFrame
    counted: float
    """By the router: requests of this run."""
    flushed: frozenset[str] = frozenset()
    """Ids that a killed worker had flushed before."""


def measurement(url: str, generators: Generators, **changes: Any) -> Measurement:
    target = ArmTarget("target", url, "m", "openai")
    values: dict[str, Any] = {
        "run_id": "shared",
        "arms": (ArmPlan(target, is_router=True),),
        "steps": (3, 5),
        "step_seconds": 1.2,
        "warmup_seconds": 0.4,
        "max_tokens": 9,
        "calibrate": False,
        "generators": generators,
    }
    return Measurement(**(values | changes))


def requests_total(url: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=10).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "llm_requests_total"
    )


def part_ids(run_dir: Path, name: str) -> set[str]:
    """Return the ids that the whole batches of a worker's part hold now."""
    ids: set[str] = set()
    for part in (run_dir / "parts").glob(f"requests-{name}-*.arrow"):
        try:
            with pa.ipc.open_stream(part.read_bytes()) as stream:
                for batch in stream:
                    ids |= set(batch.column("request_id").to_pylist())
        except (pa.ArrowInvalid, EOFError):
            continue
    return ids


def wait_for(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(600):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come true in time")


def start_router(stack: ExitStack, folder: Path) -> str:
    truth = stack.enter_context(Child.start(TRUTH))
    config = folder / "hybrid.yaml"
    config.write_text(
        f"llm_routing:\n  local_model:\n    endpoint: {truth.url}\n    dialect: openai\n"
        "    model: m\n    slots: 64\n"
    )
    argv = [sys.executable, "-m", "router", "--config", str(config), "--port", "0"]
    return stack.enter_context(Child.start([*argv, "--ready-json"])).url


def done(run_dir: Path, spy: Spy, counted: float, flushed: frozenset[str] = frozenset()) -> Done:
    rows: pd.DataFrame = read_table(run_dir, "requests").to_pandas()
    return Done(run_dir, spy, Manifest.read(run_dir), rows, counted, flushed)


def run_with_a_kill(folder: Path) -> Done:
    """Run two workers, and kill the second in the middle of the second of three blocks."""
    spy, run_dir = Spy(), folder / "run"
    run_dir.mkdir()
    flushed: set[str] = set()

    def kill() -> None:
        second = re.compile(r"shared-target-1-\d+-\d+")
        wait_for(lambda: any(map(second.fullmatch, part_ids(run_dir, "worker-1"))))
        (part,) = (run_dir / "parts").glob("requests-worker-1-*.arrow")
        pid = int(part.stem.rsplit("-", 1)[1])
        os.kill(pid, signal.SIGSTOP)
        flushed.update(part_ids(run_dir, "worker-1"))
        os.kill(pid, signal.SIGKILL)

    with ExitStack() as stack:
        url = start_router(stack, folder)
        before = requests_total(url)
        asked = measurement(url, Generators(workers=2), steps=(2, 4, 6))
        killer = threading.Thread(target=kill)
        killer.start()
        with Run(asked, run_dir, SLO, spy) as run:
            run.load(asked)
        killer.join()
        return done(run_dir, spy, requests_total(url) - before, frozenset(flushed))


def run_with_another_machine(folder: Path) -> Done:
    """Run one worker here and one that has another clock and no way to the run folder."""
    spy, run_dir, elsewhere = Spy(), folder / "run", folder / "elsewhere"
    run_dir.mkdir()
    elsewhere.mkdir()
    with ExitStack() as stack:
        url = start_router(stack, folder)
        before = requests_total(url)
        asked = measurement(url, Generators(workers=1, expected=1))

        def join() -> None:
            assert spy.called.wait(30)
            command = shlex.split(next(line for line in spy.lines if "start each with" in line))
            arguments = command[command.index("locust") + 1 :]
            arguments[arguments.index("-f") + 1] = str(ROOT / "loadtests" / "steps.py")
            argv = [sys.executable, "-c", ELSEWHERE, *arguments]
            stack.enter_context(Child.start(argv, cwd=elsewhere, ready_timeout_s=None))

        helper = threading.Thread(target=join)
        helper.start()
        with Run(asked, run_dir, SLO, spy) as run:
            run.load(asked)
        helper.join()
        return done(run_dir, spy, requests_total(url) - before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Done]]:
    """Both at once: most of their time is waiting."""
    kinds = {"whole": run_with_another_machine, "kill": run_with_a_kill}
    with ThreadPoolExecutor(len(kinds)) as pool:
        begun = {
            name: pool.submit(run, tmp_path_factory.mktemp(name)) for name, run in kinds.items()
        }
        yield {name: run.result(120) for name, run in begun.items()}


def test_totals_equal_the_routers_own_counters(runs: dict[str, Done]) -> None:
    run = runs["whole"]
    assert run.counted == len(run.rows) > 0
    assert run.rows["request_id"].is_unique
    decisions = read_table(run.run_dir, "decisions").to_pandas()
    assert set(decisions["request_id"]) == set(run.rows["request_id"])
    assert run.manifest.finished
    assert [(item.name, item.lost_ns) for item in run.manifest.workers] == [
        ("worker-0", None),
        ("worker-1", None),
    ]
    assert sum(item.rows for item in run.manifest.workers) == len(run.rows)


def test_the_talkers_are_those_of_one_process_and_begin_together(runs: dict[str, Done]) -> None:
    run = runs["whole"]
    for block in run.manifest.blocks:
        mine = run.rows[run.rows["block"] == block.number]
        sessions = {f"shared-target-{block.number}-{user}" for user in range(block.step_users)}
        assert set(mine["session_id"]) == sessions
        shares = [item for item in run.manifest.shares if item.number == block.number]
        assert [item.worker for item in shares] == ["worker-0", "worker-1"]
        assert {item.started_ns for item in shares} == {block.started_ns}
        assert sum(item.requests for item in shares) == block.requests
        steady = mine[mine["phase"] == "steady"]
        assert len(steady) == block.requests
        nearest_rank = sorted(steady["ttft_ms"])[-(-95 * len(steady) // 100) - 1]
        assert block.ttft_p95_ms == pytest.approx(nearest_rank, abs=0.001)
    first, second = run.manifest.blocks
    assert second.started_ns >= first.ended_ns


def test_a_killed_worker_loses_nothing_that_it_flushed(runs: dict[str, Done]) -> None:
    run = runs["kill"]
    assert run.flushed
    assert run.flushed <= set(run.rows["request_id"])
    # What the router saw and no record tells of was under way: one request a talker at most, and
    # what ended in the second that was not flushed yet.
    decisions = read_table(run.run_dir, "decisions").to_pandas()
    missing = set(decisions["request_id"]) - set(run.rows["request_id"])
    assert all(int(name.rsplit("-", 2)[1]) % 2 == 1 for name in missing)
    assert run.manifest.finished
    assert len(run.manifest.blocks) == 3
    last = run.rows[run.rows["block"] == 2]
    assert {int(name.rsplit("-", 1)[1]) for name in last["session_id"]} == {0, 2, 4}
    assert any("worker-1" in line and "was lost" in line for line in run.spy.lines)


def test_the_report_names_the_lost_worker(runs: dict[str, Done]) -> None:
    lost: list[WorkerResult] = [item for item in runs["kill"].manifest.workers if item.lost_ns]
    assert [item.name for item in lost] == ["worker-1"]
    report = build.report(runs["kill"].run_dir, SLO)
    assert report.verdict is not Verdict.PASS
    assert any("worker-1" in gap and "unknown" in gap for gap in report.gaps)
    assert any("worker-1" in reason for reason in report.reasons)
    assert any("4 users; target, 6 users" in gap for gap in report.gaps)


def test_rows_of_another_machine_come_over_the_wire_on_the_clock_of_the_run(
    runs: dict[str, Done],
) -> None:
    run = runs["whole"]
    assert run.counted == len(run.rows) > 0
    by_name = {item.clock_offset_ns == 0: item for item in run.manifest.workers}
    there = by_name[False]
    assert there.clock_offset_ns == pytest.approx(-FAST_CLOCK_NS, abs=there.clock_error_ns + 10**6)
    assert 0 < there.clock_error_ns < NS_PER_S
    (own,) = (run.run_dir.parent / "elsewhere").glob("runs/shared-worker-*")
    kept = pa.concat_tables(
        [
            pa.ipc.open_stream(part.read_bytes()).read_all()
            for part in (own / "parts").glob("requests-*.arrow")
        ]
    ).to_pandas()
    assert len(kept) == there.rows
    merged = run.rows.set_index("request_id").loc[kept["request_id"]].reset_index()
    for stamp in ("t_sched_ns", "t_send_ns", "t_first_token_ns", "t_end_ns"):
        moved = (merged[stamp] - kept[stamp]).to_numpy()
        assert abs(moved + FAST_CLOCK_NS).max() < there.clock_error_ns * 4 + 10**7
    assert (merged["ttft_ms"] == kept["ttft_ms"]).all()
    for block in run.manifest.blocks:
        inside = run.rows[run.rows["block"] == block.number]
        assert inside["t_send_ns"].min() >= block.started_ns - there.clock_error_ns
        assert inside["t_end_ns"].max() <= block.ended_ns + there.clock_error_ns + 10**7


SCRIPT = """
import sys
from pathlib import Path
from tests.trials import test_generators as t
from firsttoken.trials.measure import measure

url, run_dir = sys.argv[1], Path(sys.argv[2])
arm = t.ArmPlan(t.ArmTarget("target", url, "m", "openai"))
asked = t.measurement(url, t.Generators(workers=2), step_seconds=60, arms=(arm,))
measure(asked, run_dir, t.SLO, t.Spy())
"""


def stop(folder: Path, number: signal.Signals) -> set[str]:
    """Begin a long run, send its parent a signal, see that nothing is left of it; return the ids
    that were flushed before."""
    folder.mkdir()
    run_dir = folder / "run"
    run_dir.mkdir()
    with Child.start(TRUTH) as truth:
        argv = [sys.executable, "-c", SCRIPT, truth.url, str(run_dir)]
        with subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
            try:
                wait_for(lambda: all(part_ids(run_dir, f"worker-{i}") for i in range(2)))
                flushed = part_ids(run_dir, "worker-*")
                family = psutil.Process(parent.pid).children(recursive=True)
                parent.send_signal(number)
                parent.wait(20)
            finally:
                parent.kill()
        gone, alive = psutil.wait_procs(family, timeout=10)
    assert (len(gone), alive) == (3, [])
    return flushed


def test_nothing_is_left_of_a_run_that_is_stopped(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        stops = {
            number: pool.submit(stop, tmp_path / number.name, number)
            for number in (signal.SIGINT, signal.SIGKILL)
        }
        flushed = {number: begun.result(90) for number, begun in stops.items()}
    run_dir = tmp_path / "SIGINT" / "run"
    rows = read_table(run_dir, "requests").to_pandas()
    assert flushed[signal.SIGINT] <= set(rows["request_id"])
    manifest = Manifest.read(run_dir)
    assert not manifest.finished
    assert not any(item.lost_ns for item in manifest.workers)
    assert flushed[signal.SIGKILL] <= part_ids(tmp_path / "SIGKILL" / "run", "worker-*")
