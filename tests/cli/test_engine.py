"""``firsttoken engine``: wrong input is one line and exit 2; it starts, tells, and stops clean."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from firsttoken.core.child import Child
from firsttoken.engines.options import default_model

ENGINE = [sys.executable, "-m", "firsttoken.cli.main", "engine"]
QUICK = ["--slots", "1", "--ctx", "256", "--threads", "1"]


def refusal(*arguments: str) -> str:
    """Run the verb; return its only line."""
    done = subprocess.run(
        [*ENGINE, *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("firsttoken: ")
    return lines[0]


def test_model_files_that_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    assert "no such model file" in refusal("--model", str(tmp_path / "absent.gguf"))
    assert "is no usable GGUF file" in refusal("--model", str(tmp_path / "text.gguf"))
    assert "is a folder" in refusal("--model", str(tmp_path))


def test_cut_model(tmp_path: Path) -> None:
    with default_model().open("rb") as model:
        (tmp_path / "cut.gguf").write_bytes(model.read(10_000_000))
    assert "it is cut: 10,000,000 bytes" in refusal("--model", str(tmp_path / "cut.gguf"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--slots", "0"], "slots: 0 is out of range"),
        (["--ctx", "-1"], "context per slot: -1 is out of range"),
        (["--threads", "0"], "threads: 0 is out of range"),
        (["--slots", "1024", "--ctx", "8192"], "too little memory"),
    ],
)
def test_numbers_that_cannot_work(arguments: list[str], message: str) -> None:
    assert message in refusal(*arguments)


def test_port_taken() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        assert "it is taken" in refusal("--port", port, *QUICK)


def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    assert "cannot write the log" in refusal("--log", str(tmp_path), *QUICK)


@pytest.fixture
def started() -> Iterator[list[Child]]:
    children: list[Child] = []
    yield children
    for child in children:
        child.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ready_line_and_clean_stop(
    number: signal.Signals, tmp_path: Path, started: list[Child]
) -> None:
    log = tmp_path / "engine.log"
    child = Child.start([*ENGINE, "--json", *QUICK, "--log", str(log)], ready_timeout_s=60)
    started.append(child)
    ready = child.ready
    assert (ready["slots"], ready["context_per_slot"], ready["threads"]) == (1, 256, 1)
    assert ready["supervisor_pid"] == child.pid
    assert ready["log"] == str(log)
    assert log.exists()
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{child.url}/health").json() == {"status": "ok"}
    os.kill(child.pid, number)
    assert child.wait(2.0) == 0
    assert list(child.lines()) == []
    assert not psutil.pid_exists(ready["pid"])


def test_an_engine_that_cannot_be_brought_back(tmp_path: Path, started: list[Child]) -> None:
    model = tmp_path / "model.gguf"
    model.symlink_to(default_model())
    child = Child.start([*ENGINE, "--json", *QUICK, "--model", str(model)], ready_timeout_s=60)
    started.append(child)
    model.unlink()
    os.kill(child.ready["pid"], signal.SIGKILL)
    assert child.wait(30) == 1
    line = child.last_error_line()
    assert "given up after 5 tries" in line
    log = Path(child.ready["log"])
    assert str(log) in line
    log.unlink()


def test_summary_and_death_of_the_supervisor(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*ENGINE, *QUICK, "--ctx", "9000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        lines = [parent.stdout.readline().strip() for _ in range(5)]
        assert lines[0].startswith(
            "llama.cpp serves SmolLM2-135M-Instruct.Q4_1 at http://127.0.0.1:"
        )
        assert lines[1] == "1 slots of 8192 tokens, 1 threads"
        assert lines[2].startswith("memory at most about ")
        log = Path(lines[3].removeprefix("log "))
        assert log.is_file()
        log.unlink()
        assert "warning: the context of 9000 tokens is above the 8192" in parent.stderr.readline()
        (engine,) = psutil.Process(parent.pid).children()
        parent.kill()
        gone, _ = psutil.wait_procs([engine], timeout=5)
        assert gone or engine.status() == psutil.STATUS_ZOMBIE
