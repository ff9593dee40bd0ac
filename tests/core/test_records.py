"""Records survive a kill, a full disk and a wrong file, and say so in one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from firsttoken.core.clock import WallAnchor
from firsttoken.core.errors import UserError
from firsttoken.core.records import (
    REQUESTS,
    ArmTarget,
    Calibration,
    Manifest,
    PartWriter,
    consolidate,
    read_table,
    rows_from_mappings,
)


def request_row(number: int) -> tuple[Any, ...]:
    values = {
        "run_id": "r",
        "arm": "hybrid",
        "step_users": 20,
        "session_id": f"s{number}",
        "turn": 0,
        "request_id": f"r-{number}",
        "phase": "steady",
        "outcome": "success",
        "t_send_ns": number,
    }
    return next(iter(rows_from_mappings("requests", [values])))


def manifest() -> Manifest:
    return Manifest(
        run_id="r",
        scenario="steps",
        anchor=WallAnchor(1, 2),
        arms=[ArmTarget("hybrid", "http://127.0.0.1:1", "m", "openai")],
        steps=[5],
        step_seconds=1.0,
        seed=1,
        command=["firsttoken", "bench"],
        host={"cores": 2.0},
        versions={"firsttoken": "0"},
        calibration=[Calibration(5, 10, 0.1, 1.0, 2.0, 5.0, 100.0, "before")],
    )


def test_flushed_rows_become_one_parquet_file_in_the_columns_of_the_schema(tmp_path: Path) -> None:
    for name in ("1", "2"):
        part = PartWriter(tmp_path, "requests", name)
        part.append(request_row(int(name)))
        part.flush()
        part.append(request_row(int(name) + 10))
        part.close()
    assert consolidate(tmp_path) == ["requests"]
    table = pq.read_table(tmp_path / "requests.parquet")
    assert table.schema.names == REQUESTS.names
    assert sorted(table["t_send_ns"].to_pylist()) == [1, 2, 11, 12]
    assert not (tmp_path / "parts").exists()
    assert consolidate(tmp_path) == []


def test_rows_flushed_before_sigkill_are_readable(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from tests.core.test_records import request_row\n"
        "from firsttoken.core.records import PartWriter\n"
        "part = PartWriter(pathlib.Path(sys.argv[1]), 'requests', 'x')\n"
        "for n in range(100): part.append(request_row(n))\n"
        "part.flush()\n"
        "part.append(request_row(999))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"ready\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()
    consolidate(tmp_path)
    assert read_table(tmp_path, "requests").num_rows == 100


@pytest.mark.parametrize("cut", [1, 8, 100, 700])
def test_a_part_cut_anywhere_gives_its_whole_batches(tmp_path: Path, cut: int) -> None:
    part = PartWriter(tmp_path, "requests", "x")
    part.append(request_row(1))
    part.flush()
    whole = part.path.stat().st_size
    part.append(request_row(2))
    part.flush()
    data = part.path.read_bytes()
    part.close()
    part.path.write_bytes(data[: whole + cut])
    consolidate(tmp_path)
    assert read_table(tmp_path, "requests")["t_send_ns"].to_pylist() == [1]


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    part = PartWriter(tmp_path, "requests", "x")
    with Path("/dev/full").open("wb", buffering=0) as full:
        os.dup2(full.fileno(), part._file.fileno())
    for number in range(5000):
        part.append(request_row(number))
    with pytest.raises(UserError, match="No space left on device"):
        part.flush()
    part.close()


def test_an_unwritable_folder_is_one_clear_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(UserError, match="cannot write"):
        PartWriter(blocker, "requests", "x")


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    first = manifest()
    first.write(tmp_path)
    assert Manifest.read(tmp_path) == first
    replace(first, finished=True).write(tmp_path)
    assert Manifest.read(tmp_path).finished


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is no run folder"),
        ("{", "cannot read"),
        ("[]", "schema_version is None"),
        ('{"schema_version": 99}', "schema_version is 99"),
        ('{"schema_version": 1}', "is not a manifest"),
        ('{"schema_version": 1, "anchor": 3}', "is not a manifest"),
    ],
)
def test_a_bad_manifest_is_one_clear_line(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        Manifest.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_manifest_never_holds_a_key(tmp_path: Path) -> None:
    manifest().write(tmp_path)
    assert "api_key" not in json.dumps(json.loads((tmp_path / "run.json").read_text()))


def test_a_cut_parquet_and_a_missing_column_are_one_clear_line(tmp_path: Path) -> None:
    part = PartWriter(tmp_path, "requests", "x")
    part.append(request_row(1))
    part.close()
    consolidate(tmp_path)
    path = tmp_path / "requests.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot read"):
        read_table(tmp_path, "requests")
    path.write_bytes(whole)
    pq.write_table(pq.read_table(path).drop_columns(["ttft_ms"]), path)
    with pytest.raises(UserError, match=r"lacks the column\(s\) ttft_ms"):
        read_table(tmp_path, "requests")


def test_a_run_without_a_table_has_an_empty_one(tmp_path: Path) -> None:
    assert read_table(tmp_path, "attempts").num_rows == 0
