"""What the gate reads of a measurement, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsttoken.core import slo
from firsttoken.core.errors import UserError
from reports.gate import samples
from tests.reports import runs
from tests.reports.gate import made
from tests.reports.runs import Block

SLO = slo.load()


def changed(run_dir: Path, change: Any) -> Path:
    """Write the requests of a run anew, as ``change`` makes them."""
    table = pa.Table.from_pandas(change(runs.frames(run_dir)), preserve_index=False)
    pq.write_table(table, run_dir / "requests.parquet")
    return run_dir


def test_steady_rows_of_the_judged_arm_at_the_largest_step(tmp_path: Path) -> None:
    blocks = [
        Block("hybrid", 5, [1.0, 2.0]),
        Block("hybrid", 20, [9.0], phase="warmup"),
        Block("hybrid", 20, [30.0, 10.0, None, 20.0]),
        Block("local_only", 20, [5.0]),
    ]
    runs.write(tmp_path, blocks)
    found = samples.read(tmp_path, SLO)
    assert found.where == "hybrid, 20 users"
    assert found.series["ttft"].tolist() == [30.0, 10.0, np.inf, 20.0]
    assert found.series["error_rate"].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert found.series["ttfs"].tolist() == [190.0, 170.0, np.inf, 180.0]
    assert found.conditions["users"] == 20.0
    assert found.conditions["CPU model"] == "Example CPU"
    assert found.doubts == ()
    other = samples.read(tmp_path, SLO, arm="local_only")
    assert other.series["ttft"].tolist() == [5.0]
    assert samples.read(tmp_path, SLO, step=5).series["ttft"].tolist() == [1.0, 2.0]


def test_cancelled_requests_are_no_errors(tmp_path: Path) -> None:
    blocks = [Block("hybrid", 20, [10.0, 20.0]), Block("hybrid", 20, [30.0], outcome="cancelled")]
    found = samples.read(runs.write(tmp_path, blocks), SLO)
    assert found.series["error_rate"].tolist() == [0.0, 0.0]
    assert sorted(found.series["ttft"]) == [10.0, 20.0, 30.0]
    assert found.series["e2e"].size == 2


def test_rows_are_in_the_order_of_sending(tmp_path: Path) -> None:
    made.run(tmp_path, n=50)
    inorder = samples.read(tmp_path, SLO).series["ttft"].tolist()
    changed(tmp_path, lambda frame: frame.iloc[::-1])
    assert samples.read(tmp_path, SLO).series["ttft"].tolist() == inorder


def test_repeated_rows_float_stamps_and_equal_run_ids(tmp_path: Path) -> None:
    made.run(tmp_path, n=50)
    drawn = np.random.default_rng(1).integers(0, 50, 80)

    def resample(frame: pd.DataFrame) -> pd.DataFrame:
        stamps = [str(name) for name in frame if str(name).startswith("t_")]
        return frame.iloc[drawn].astype(dict.fromkeys(stamps, "float64"))

    wanted = runs.frames(tmp_path)["ttft_ms"].to_numpy()[drawn]
    found = samples.read(changed(tmp_path, resample), SLO)
    # Drawn rows have no order in time but the file's.
    assert found.series["ttft"].tolist() == wanted.tolist()


def test_a_stored_baseline_reads_as_its_run(tmp_path: Path) -> None:
    run = made.run(tmp_path / "run", n=100, failed=3)
    made.benchmarks(run / "benchmarks.json", {"b.py::test_a": 1e-3})
    one = samples.read(run, SLO)
    samples.save(one, tmp_path / "stored")
    other = samples.read(tmp_path / "stored", SLO)
    assert sorted(path.name for path in (tmp_path / "stored").iterdir()) == [
        "benchmarks.json",
        "requests.parquet",
        "run.json",
    ]
    assert pq.read_schema(tmp_path / "stored" / "requests.parquet").names == list(samples.COLUMNS)
    assert other.conditions == one.conditions
    assert list(other.series) == list(one.series)
    for name, values in one.series.items():
        assert other.series[name].tolist() == values.tolist()
    with pytest.raises(UserError, match="the measurement itself"):
        samples.save(one, run)


def test_a_file_of_pytest_benchmark(tmp_path: Path) -> None:
    file = made.benchmarks(tmp_path / "b.json", {"b.py::test_a": 1e-3, "b.py::test_b": 2e-3})
    found = samples.read(file, SLO)
    assert found.benchmarks == ("b.py::test_a", "b.py::test_b")
    assert float(np.median(found.series["b.py::test_b"])) == pytest.approx(2e-3, rel=0.05)
    assert found.conditions["benchmarks: CPU model"] == "Example CPU"


def test_many_rounds_are_thinned_over_the_whole_time(tmp_path: Path) -> None:
    file = made.benchmarks(tmp_path / "b.json", {"b.py::test_a": 1e-3})
    told = json.loads(file.read_text())
    told["benchmarks"][0]["stats"]["data"] = [float(number) for number in range(10_000)]
    file.write_text(json.dumps(told))
    values = samples.read(file, SLO).series["b.py::test_a"]
    assert (values.size, values[0], values[-1]) == (2_000, 0.0, 9_999.0)
    assert np.diff(values).max() <= 6.0


def no_run(folder: Path) -> None:
    folder.mkdir()


def no_folder(folder: Path) -> None:
    folder.with_name("other").mkdir()


def no_requests(folder: Path) -> None:
    made.run(folder, n=5)
    (folder / "requests.parquet").unlink()


def no_rows(folder: Path) -> None:
    runs.write(folder, [])


def only_warm_up(folder: Path) -> None:
    runs.write(folder, [Block("hybrid", 20, [1.0], phase="warmup")])


def cut_file(folder: Path) -> None:
    made.run(folder, n=5)
    content = (folder / "requests.parquet").read_bytes()
    (folder / "requests.parquet").write_bytes(content[: len(content) // 2])


def missing_column(folder: Path) -> None:
    changed(made.run(folder, n=5), lambda frame: frame.drop(columns="ttft_ms"))


def older_schema(folder: Path) -> None:
    made.run(folder, n=5, schema_version=0)


def no_rounds(folder: Path) -> None:
    folder.mkdir()
    item = {"fullname": "b.py::test_a", "stats": {"median": 1.0}}
    (folder / "benchmarks.json").write_text(json.dumps({"benchmarks": [item]}))


def no_benchmark(folder: Path) -> None:
    folder.mkdir()
    (folder / "benchmarks.json").write_text('{"benchmarks": []}')


def no_json(folder: Path) -> None:
    folder.mkdir()
    (folder / "benchmarks.json").write_text("nonsense")


def odd_rounds(folder: Path) -> None:
    made.benchmarks(folder / "benchmarks.json", {"b.py::test_a": -1.0})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (no_folder, "does not exist"),
        (no_run, "no run.json"),
        (no_requests, "has no requests.parquet"),
        (no_rows, "holds no request"),
        (only_warm_up, "no steady request of hybrid:"),
        (cut_file, "cannot read"),
        (missing_column, "lacks the column(s) ttft_ms"),
        (older_schema, "schema_version is 0"),
        (no_rounds, "--benchmark-json"),
        (no_benchmark, "holds no benchmark"),
        (no_json, "cannot read"),
        (odd_rounds, "no durations"),
    ],
)
def test_refused(tmp_path: Path, make: Any, expected: str) -> None:
    make(tmp_path / "run")
    with pytest.raises(UserError) as caught:
        samples.read(tmp_path / "run", SLO)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_arm_that_is_not_there(tmp_path: Path) -> None:
    made.run(tmp_path, n=5)
    with pytest.raises(UserError, match="there is no local_only"):
        samples.read(tmp_path, SLO, arm="local_only")


def test_doubts_and_notes(tmp_path: Path) -> None:
    run = made.run(tmp_path, n=50, finished=False, calibration=[])

    def back(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[3, "ttft_ms"] = -5.0
        return frame

    found = samples.read(changed(run, back), SLO)
    assert found.series["ttft"][3] == np.inf
    assert [doubt.split(",")[0] for doubt in found.doubts] == [
        "the run was cut short",
        "1 request got the first token before being sent",
    ]
    assert found.notes[0].startswith("UNTRUSTED by its own calibration: ")


def test_parts_of_a_killed_run(tmp_path: Path) -> None:
    runs.write_parts(tmp_path, [Block("hybrid", 20, [float(ms) for ms in range(1, 200)])], cut=True)
    assert samples.read(tmp_path, SLO).series["ttft"][:3].tolist() == [1.0, 2.0, 3.0]
