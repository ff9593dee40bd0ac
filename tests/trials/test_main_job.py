"""The main job, small, on the real engine: router, emulated cloud, load child, report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pyarrow.parquet as pq
import pytest

from firsttoken.core import settings, slo
from firsttoken.core.child import Child
from firsttoken.core.records import Manifest
from firsttoken.trials.demo import Demo, demo
from firsttoken.trials.progress import Progress

SLO = slo.load(None, settings.load(None))


def descendants(of: str = "") -> list[psutil.Process]:
    """Return this process's living descendants whose command line holds ``of``."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and of in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


class Spy(Progress):
    """A progress display that also tells a test when the load has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.measuring = threading.Event()

    def say(self, text: str) -> None:
        self.lines.append(text)
        if text.startswith("measuring into"):
            self.measuring.set()


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come true in time")


def test_the_router_serves_on_when_the_engine_is_killed_in_a_run(tmp_path: Path) -> None:
    spy = Spy()
    killed: list[int] = []

    def kill_the_engine_under_load() -> None:
        spy.measuring.wait(60)
        parts = tmp_path / "run" / "parts"
        wait_for(lambda: any(part.stat().st_size > 6000 for part in parts.glob("requests-*")))
        engines = descendants("firsttoken.engines.llamacpp")
        (engine,) = (process for process in engines if process.pid not in before)
        os.kill(engine.pid, signal.SIGKILL)
        killed.append(engine.pid)

    before = {process.pid for process in descendants()}
    killer = threading.Thread(target=kill_the_engine_under_load)
    killer.start()
    plan = Demo(
        steps=(3,),
        step_seconds=8,
        final_step_seconds=None,
        hybrid_only=True,
        out=tmp_path / "run",
    )
    run_dir = demo(plan, SLO, spy)
    killer.join()

    assert len(killed) == 1
    assert not [process for process in descendants() if process.pid not in before]
    manifest = Manifest.read(run_dir)
    assert manifest.finished
    assert [item.when for item in manifest.calibration] == ["before", "after"]
    requests = pq.read_table(run_dir / "requests.parquet").to_pandas()
    attempts = pq.read_table(run_dir / "attempts.parquet").to_pandas()
    assert {"local", "remote"} <= set(requests["tier"])
    # Every request has its attempts, and what the engine dropped went to the other backend.
    assert set(requests["request_id"]) <= set(attempts["request_id"])
    failed_local = attempts[(attempts["backend"] == "local") & (attempts["outcome"] != "success")]
    assert len(failed_local) > 0
    assert (requests["outcome"] == "success").sum() > 0


@contextmanager
def started_bench(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``firsttoken bench`` against a truth server until the block ends."""
    truth = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    with Child.start(truth) as server:
        argv = [sys.executable, "-m", "firsttoken.cli.main", "bench", "--target", server.url]
        argv += ["--users", "3", "--step-seconds", "60", "--out", str(out)]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as bench:
            try:
                yield bench
            finally:
                if bench.poll() is None:
                    bench.kill()


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def has_rows(out: Path) -> bool:
    return any(part.stat().st_size > 6000 for part in (out / "parts").glob("requests-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_bench_leaves_its_records_and_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    with started_bench(out) as bench:
        wait_for(lambda: has_rows(out))
        children = family(bench.pid)
        assert children
        bench.send_signal(number)
        bench.wait(30)
        _gone, alive = psutil.wait_procs(children, timeout=10)
        assert not alive
    assert bench.returncode == (130 if number is not signal.SIGKILL else -signal.SIGKILL)
    read_again = subprocess.run(
        [sys.executable, "-m", "firsttoken.cli.main", "report", str(out), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    report = json.loads(read_again.stdout)
    assert report["verdict"] in {"UNTRUSTED", "INCONCLUSIVE"}
    assert pq.read_table(out / "requests.parquet").num_rows > 0


def test_bench_json_is_the_report_and_nothing_else(tmp_path: Path) -> None:
    truth = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    with Child.start(truth) as server:
        argv = [sys.executable, "-m", "firsttoken.cli.main", "bench", "--target", server.url]
        argv += ["--users", "4", "--step-seconds", "2", "--settle", "1"]
        argv += ["--out", str(tmp_path / "run"), "--json"]
        found = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100)
        truths = httpx.get(f"{server.url}/truth", params={"after": 0}).json()["rows"]
    report = json.loads(found.stdout)
    assert report == json.loads((tmp_path / "run" / "report.json").read_text())
    assert (
        found.returncode
        == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 3, "UNTRUSTED": 4}[report["verdict"]]
    )
    requests = pq.read_table(tmp_path / "run" / "requests.parquet").to_pandas()
    assert set(requests["step_users"]) == {4}
    assert set(requests["request_id"]) <= {row["request_id"] for row in truths}
    assert (requests["arm"] == "target").all()
    assert requests["tier"].isna().all()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--target", "http://127.0.0.1:1"], "no server answers"),
        (["--target", "URL", "--users", "0"], "--users"),
        (["--target", "URL", "--users", "a,b"], "--users"),
        (["--target", "URL", "--scenario", "walk"], "--scenario walk"),
        (["--target", "URL", "--dialect", "french"], "french"),
        (["--target", "URL", "--api-key-env", "NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE"),
        (["--target", "URL", "--out", "/proc/nothing"], "cannot write the run"),
        (["--target", "URL", "--dialect", "ollama"], "/api/tags lists no model"),
    ],
)
def test_wrong_input_is_one_clear_line(arguments: list[str], complaint: str) -> None:
    truth = [sys.executable, "-m", "firsttoken.upstreams.truth", "--port", "0"]
    with Child.start(truth) as server:
        argv = [item if item != "URL" else server.url for item in arguments]
        found = subprocess.run(
            [sys.executable, "-m", "firsttoken.cli.main", "bench", *argv],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert found.returncode == 2
    assert found.stdout == ""
    complaints = [line for line in found.stderr.splitlines() if line.startswith("firsttoken: ")]
    assert len(complaints) == 1
    assert complaint in complaints[0]
    assert "Traceback" not in found.stderr


def test_a_wrong_key_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_KEY", "right")
    cloud = [sys.executable, "-m", "firsttoken.upstreams.cloud", "--api-key-env", "CLOUD_KEY"]
    with Child.start(cloud) as server:
        monkeypatch.setenv("MY_KEY", "wrong-key-value")
        options = ["--api-key-env", "MY_KEY", "--model", "emulated-qwen"]
        found = subprocess.run(
            [
                sys.executable,
                "-m",
                "firsttoken.cli.main",
                "bench",
                "--target",
                server.url,
                *options,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert found.returncode == 2
    assert "401" in found.stderr
    assert "wrong-key-value" not in found.stderr
