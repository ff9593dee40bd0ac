"""Reading a run that somebody may still be writing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from reports import load, reading
from tests.reports import runs
from tests.reports.runs import Block

HOLD = """
import sys
file = open(sys.argv[1], "ab")
print("open", flush=True)
sys.stdin.read()
"""


def test_parts_in_use_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WRITER_GRACE_SECONDS", 0.0)
    run_dir = runs.write_parts(tmp_path, [Block("hybrid", 20, [100.0] * 60)], cut=False)
    (part,) = (run_dir / "parts").iterdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"open\n"
        with pytest.raises(UserError, match=f"still being written by process {writer.pid}"):
            load.read(run_dir)
        assert part.exists()
        assert writer.stdin is not None
        writer.stdin.close()
        writer.wait(10)
    assert len(load.read(run_dir).requests) == 60


def test_our_own_open_part_is_no_obstacle(tmp_path: Path) -> None:
    run_dir = runs.write_parts(tmp_path, [Block("hybrid", 20, [100.0] * 60)], cut=False)
    (part,) = (run_dir / "parts").iterdir()
    with part.open("rb"):
        assert os.getpid() not in reading._writers(run_dir / "parts")


def test_host_means_are_those_of_the_block(tmp_path: Path) -> None:
    data = load.read(runs.write(tmp_path, [Block("hybrid", 20, [100.0] * 60)]))
    window = data.cells[0].window_ns
    assert window is not None
    assert load.host_means(data.host, window)["engine_cpu"] == 1.6
    late = (window[1] + 10**12, window[1] + 2 * 10**12)
    assert load.host_means(data.host, late).isna().all()


def test_cells_come_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    blocks = [Block(arm, users, [9.0]) for users in (20, 5) for arm in ("remote_only", "hybrid")]
    data = load.read(runs.write(tmp_path, blocks))
    assert [(cell.arm, cell.step_users) for cell in data.cells] == [
        ("remote_only", 5),
        ("remote_only", 20),
        ("hybrid", 5),
        ("hybrid", 20),
    ]
