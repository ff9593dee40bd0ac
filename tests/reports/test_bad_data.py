"""Bad data: one clear line and exit code 2, or a report that names the gap; never a PASS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from firsttoken.cli.report import report as report_verb
from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict
from reports import build, write
from tests.reports import runs
from tests.reports.runs import Block, lognormal

SLO = slo_room.Slo()
app = typer.Typer()
app.command()(report_verb)

Damage = Callable[[Path], None]


def good(run_dir: Path) -> Path:
    """Write a run that passes."""
    return runs.write(run_dir, [Block("hybrid", 20, lognormal(200, 400), tier="local")])


def _requests(run_dir: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    path = run_dir / "requests.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def _column(name: str, values: Callable[[Any], Any]) -> Damage:
    """Replace a column of the requests by what ``values`` makes of it."""

    def damage(run_dir: Path) -> None:
        def change(table: pa.Table) -> pa.Table:
            at = table.schema.get_field_index(name)
            return table.set_column(at, name, pa.array(values(table.column(name).to_pylist())))

        _requests(run_dir, change)

    return damage


def _first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [value, *values[1:]]


def _cut(name: str, kept: float) -> Damage:
    def damage(run_dir: Path) -> None:
        content = (run_dir / name).read_bytes()
        (run_dir / name).write_bytes(content[: int(len(content) * kept)])

    return damage


def _folder_instead(name: str) -> Damage:
    def damage(run_dir: Path) -> None:
        (run_dir / name).unlink()
        (run_dir / name).mkdir()

    return damage


def _manifest(**changes: Any) -> Damage:
    def damage(run_dir: Path) -> None:
        path = run_dir / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))

    return damage


def _garbled(run_dir: Path) -> None:
    path = run_dir / "requests.parquet"
    content = bytearray(path.read_bytes())
    content[50:4_000] = bytes(len(content[50:4_000]))
    path.write_bytes(bytes(content))


def _part_of_another_version(run_dir: Path) -> None:
    (run_dir / "parts").mkdir()
    table = pa.table({"somebody": ["else"]})
    with pa.ipc.new_stream(str(run_dir / "parts" / "requests-1.arrow"), table.schema) as stream:
        stream.write_table(table)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda run_dir: _requests(run_dir, lambda table: table.slice(0, 0)), "holds no request"),
        (_cut("requests.parquet", 0.6), "requests.parquet"),
        (_cut("requests.parquet", 0.0), "requests.parquet"),
        (_garbled, "requests.parquet"),
        (_folder_instead("requests.parquet"), "requests.parquet"),
        (lambda run_dir: (run_dir / "requests.parquet").unlink(), "holds no request"),
        (
            lambda run_dir: _requests(run_dir, lambda table: table.drop_columns(["ttft_ms"])),
            "lacks the column(s) ttft_ms",
        ),
        (_column("ttft_ms", lambda values: ["soon"] * len(values)), "column ttft_ms holds string"),
        (_column("arm", _first(None)), "rows without arm"),
        (_column("request_id", _first(None)), "rows without request_id"),
        (_part_of_another_version, "cannot read"),
        (_cut("run.json", 0.5), "run.json"),
        (_cut("run.json", 0.0), "run.json"),
        (_folder_instead("run.json"), "run.json"),
        (lambda run_dir: (run_dir / "run.json").unlink(), "no run.json"),
        (_manifest(schema_version=0), "schema_version is 0"),
        (_manifest(schema_version=99), "schema_version is 99"),
        (_manifest(steps=["many"]), "steps.0"),
        (_manifest(steps=[0]), "below 1"),
        (_manifest(arms=[7]), "run.json"),
        (_manifest(calibration=None), "run.json"),
        (_manifest(host={"cores": "two"}), "host.cores"),
        (_manifest(anchor={"monotonic_ns": 0, "wall_unix_ns": 10**30}), "anchor"),
    ],
)
def test_one_line_and_exit_code_2(tmp_path: Path, damage: Damage, says: str) -> None:
    damage(good(tmp_path))
    result = CliRunner().invoke(app, [str(tmp_path)])
    # main() ends with 2 on a UserError, and prints it.
    assert isinstance(result.exception, UserError)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.stdout == ""
    assert not (tmp_path / "report.json").exists()


def _twice(run_dir: Path) -> None:
    _requests(run_dir, lambda table: pa.concat_tables([table, table.slice(0, 30)]))


def _clock_stepped_back(run_dir: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        for name in ("t_first_token_ns", "t_end_ns"):
            stamps = table.column(name).to_numpy().copy()
            stamps[:20] -= 3_600 * 10**9
            table = table.set_column(
                table.schema.get_field_index(name), name, pa.array(stamps, pa.int64())
            )
        sent = pc.subtract(table.column("t_first_token_ns"), table.column("t_send_ns"))
        at = table.schema.get_field_index("ttft_ms")
        return table.set_column(at, "ttft_ms", pa.array(sent.to_numpy() / 1e6))

    _requests(run_dir, change)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_cut("attempts.parquet", 0.5), "attempts.parquet"),
        (_cut("decisions.parquet", 0.0), "decisions.parquet"),
        (_cut("host.parquet", 0.7), "host.parquet"),
        (_folder_instead("host.parquet"), "host.parquet"),
        (_twice, "30 rows repeat another one"),
        (_clock_stepped_back, "20 requests got the first token before being sent"),
        (_clock_stepped_back, "20 requests ended before being sent"),
        (_column("ttft_ms", _first(0.001)), "not that of their stamps"),
        (_column("e2e_ms", _first(-5.0)), "negative or endless e2e_ms"),
        (_column("ttfs_ms", _first(float("inf"))), "negative or endless ttfs_ms"),
        (_column("ttft_ms", _first(float("inf"))), "negative or endless ttft_ms"),
        (_column("prompt_tokens", _first(-1)), "negative or endless prompt_tokens"),
        (_column("outcome", _first("splendid")), "unknown outcome(s) splendid: counted as failed"),
        (_column("phase", _first("encore")), "unknown phase(s) encore"),
        (_column("tier", _first("attic")), "unknown tier(s) attic"),
        (_column("error_type", _first("gremlin")), "unknown error type(s) gremlin"),
    ],
)
def test_a_report_that_names_it_and_does_not_pass(
    tmp_path: Path, damage: Damage, says: str
) -> None:
    damage(good(tmp_path))
    report = build.report(tmp_path, SLO)
    assert any(says in gap for gap in report.gaps), report.gaps
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any(says in reason for reason in report.reasons)
    page = write.html(report, [])
    assert says in page
    json.loads(write.json_text(report))


def test_the_run_under_all_this_damage_passes(tmp_path: Path) -> None:
    assert build.report(good(tmp_path), SLO).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("ttft", "verdict"),
    [
        ([100.0], Verdict.INCONCLUSIVE),
        # One failure of one: over 2 % with 95 % confidence.
        ([None], Verdict.FAIL),
        ([None] * 400, Verdict.FAIL),
        ([float("nan")] * 400, Verdict.FAIL),
    ],
)
def test_little_or_nothing_measured(
    tmp_path: Path, ttft: list[float | None], verdict: Verdict
) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [None] * len(ttft))])
    if ttft[0] is not None:
        damage = _column("ttft_ms", lambda _: np.asarray(ttft, dtype=np.float64))
        damage(run_dir)
        _column("outcome", lambda values: ["success"] * len(values))(run_dir)
    report = build.report(run_dir, SLO)
    assert report.verdict is verdict
    json.loads(write.json_text(report))
    assert f"{len(ttft)}" in write.html(report, [])


def test_all_of_it_warm_up_is_no_pass(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, lognormal(200, 400), phase="warmup")])
    report = build.report(run_dir, SLO)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "hybrid, 20 users: no request of the steady phase" in report.not_measured
    assert "There was no request in the steady phase" in write.html(report, [])
