"""``firsttoken gate``: every exit code, what it stores, and the workflow that runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from firsttoken.cli.gate import gate
from firsttoken.core.errors import UserError
from tests.reports import runs
from tests.reports.gate import made
from tests.reports.runs import Block, lognormal

ROOT = Path(__file__).resolve().parents[2]
app = typer.Typer()
app.command()(gate)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def compare(baseline: Path, candidate: Path, *more: str | Path) -> Result:
    return run("--baseline", baseline, "--candidate", candidate, *more)


def refused(result: Result) -> str:
    """Return the one line with which a command ended that could not do its work (exit code 2)."""
    assert isinstance(result.exception, UserError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made.run(tmp_path / "base")


def test_unchanged_is_green(base: Path, tmp_path: Path) -> None:
    result = compare(base, made.run(tmp_path / "b", draw=2))
    assert result.exit_code == 0
    assert result.output.startswith("✔ PASS: ")
    assert "ttft_p95 PASS" in result.output


def test_slower_is_red(base: Path, tmp_path: Path) -> None:
    result = compare(base, made.run(tmp_path / "b", 230, draw=2))
    assert result.exit_code == 1
    assert "ttft_p50 FAIL: " in result.output


def test_more_errors_are_red(base: Path, tmp_path: Path) -> None:
    result = compare(base, made.run(tmp_path / "b", n=340, draw=2, failed=60))
    assert result.exit_code == 1
    assert "error_rate FAIL: 0.00 % -> 15.00 %" in result.output


def test_all_errors_are_red_and_no_baseline(base: Path, tmp_path: Path) -> None:
    failed = made.run(tmp_path / "b", n=0, failed=400)
    assert compare(base, failed).exit_code == 1
    for candidate in (base, failed):
        result = compare(failed, candidate)
        assert result.exit_code == 3
        assert "the baseline failed" in result.output


def test_faster_is_green(base: Path, tmp_path: Path) -> None:
    assert compare(base, made.run(tmp_path / "b", 150, draw=2)).exit_code == 0


@pytest.mark.parametrize("n", [1, 71])
def test_too_few_requests_show_nothing(base: Path, tmp_path: Path, n: int) -> None:
    small = made.run(tmp_path / "b", n=n)
    assert compare(base, small).exit_code == 3
    assert compare(small, base).exit_code == 3


def test_another_machine_cannot_be_compared(base: Path, tmp_path: Path) -> None:
    result = compare(base, made.run(tmp_path / "b", host={"cpu_model": "Other", "cores": 2.0}))
    assert result.exit_code == 3
    assert "forbids comparing: CPU model: Example CPU -> Other" in result.output


def test_a_baseline_that_is_not_there_or_empty_is_no_pass(base: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused(compare(tmp_path / "none", base))
    assert "holds no request" in refused(compare(runs.write(tmp_path / "e", []), base))
    cut = made.run(tmp_path / "cut")
    (cut / "requests.parquet").write_bytes(b"PAR1")
    assert "cannot read" in refused(compare(cut, base))


def test_a_run_cut_short_cannot_pass(base: Path, tmp_path: Path) -> None:
    result = compare(base, made.run(tmp_path / "b", draw=2, finished=False))
    assert result.exit_code == 3
    assert "the run was cut short: no claim can PASS" in result.output


def test_an_untrusted_measurement_is_said(base: Path, tmp_path: Path) -> None:
    result = compare(base, made.run(tmp_path / "b", draw=2, calibration=[]))
    assert result.exit_code == 0
    assert "UNTRUSTED by its own calibration" in result.output


def test_a_second_measurement_confirms(base: Path, tmp_path: Path) -> None:
    slow, slower = (made.run(tmp_path / f"s{draw}", 230, draw=draw) for draw in (2, 3))
    assert compare(base, slow, "--again", slower).exit_code == 1
    result = compare(base, slow, "--again", made.run(tmp_path / "b", draw=4))
    assert result.exit_code == 0
    assert "not by the second measurement" in result.output


def test_noise_of_the_runner(base: Path, tmp_path: Path) -> None:
    unquiet = [made.run(tmp_path / f"n{ms}", ms, n=800, draw=ms) for ms in (190, 210)]
    slow, stored = made.run(tmp_path / "slow", 220, n=800, draw=3), tmp_path / "stored"
    saved = run("--candidate", base, "--save", stored, "--noise-from", base, *unquiet)
    assert (saved.exit_code, saved.output.count("%")) == (0, 3)
    noise = json.loads((stored / "noise.json").read_text())["noise"]
    assert noise["ttft_p50"] > 0.08
    assert noise["error_rate"] == 0.0
    assert compare(base, slow).exit_code == 1
    result = compare(stored, slow)
    assert result.exit_code == 0
    assert "ttft_p50 PASS: " in result.output
    assert compare(base, slow, "--noise", stored / "noise.json").exit_code == 0
    assert compare(base, slow, "--noise-from", base, *unquiet).exit_code == 0
    (stored / "noise.json").write_text('{"schema_version": 1, "noise": {"ttft_p50": -1}}')
    assert "expected a share" in refused(compare(stored, slow))


def test_noise_of_two_machines_is_none(base: Path, tmp_path: Path) -> None:
    other = made.run(tmp_path / "b", host={"cpu_model": "Other", "cores": 2.0})
    assert "too unlike" in refused(run("--save", tmp_path / "s", "--noise-from", base, other))
    assert "two or more" in refused(run("--save", tmp_path / "s", "--noise-from", base))


def test_only_what_is_green_becomes_the_next_baseline(base: Path, tmp_path: Path) -> None:
    following = tmp_path / "next"
    slow = made.run(tmp_path / "slow", 260, draw=2)
    assert compare(base, slow, "--save", following).exit_code == 1
    assert not following.exists()
    good = made.run(tmp_path / "good", draw=3)
    assert compare(base, good, "--save", following).exit_code == 0
    assert compare(following, good).exit_code == 0


def test_json_and_files(base: Path, tmp_path: Path) -> None:
    candidate = made.run(tmp_path / "b", draw=2)
    result = compare(base, candidate, "--json", "--out", tmp_path / "out")
    assert json.loads(result.stdout) == json.loads((tmp_path / "out" / "gate.json").read_text())


def test_github(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    slow = made.run(tmp_path / "slow", 260, draw=2)
    result = compare(base, slow, "--github")
    assert result.stdout.count("::error title=firsttoken gate ttft") == 2
    assert summary.read_text().startswith("before\n# ✘ FAIL")
    told = compare(base, slow, "--github", "--json")
    assert json.loads(told.stdout)["verdict"] == "FAIL"
    assert "::error" in told.stderr
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert compare(base, slow, "--github").exit_code == 1


def test_rounds_of_pytest_benchmark(tmp_path: Path) -> None:
    names = {"b.py::test_a": 1e-3, "b.py::test_b": 1e-5}
    one = made.benchmarks(tmp_path / "a.json", names)
    same = made.benchmarks(tmp_path / "b.json", {**names, "b.py::test_new": 1.0}, seed=2)
    result = compare(one, same)
    assert result.exit_code == 0
    assert "note: there is no baseline of b.py::test_new" in result.output
    slow = made.benchmarks(tmp_path / "c.json", {**names, "b.py::test_b": 1.5e-5}, seed=3)
    result = compare(one, slow)
    assert result.exit_code == 1
    assert "b.py::test_b FAIL: 10" in result.output
    gone = compare(one, made.benchmarks(tmp_path / "d.json", {"b.py::test_a": 1e-3}))
    assert gone.exit_code == 3
    assert "b.py::test_b" in gone.output


def test_an_optional_rule_need_not_be_conclusive(tmp_path: Path) -> None:
    one = made.benchmarks(tmp_path / "a.json", {"b.py::test_a": 1e-3})
    told = json.loads(one.read_text())
    told["benchmarks"].append({"fullname": "b.py::test_b", "stats": {"data": [1e-3, 1e-3]}})
    one.write_text(json.dumps(told))
    assert compare(one, one).exit_code == 3
    rules = tmp_path / "gate.yaml"
    rules.write_text('benchmarks:\n  - { tests: "*", minimum_effect: 0.2, optional: true }\n')
    result = compare(one, one, "--rules", rules, "--github", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "b.py::test_b INCONCLUSIVE" in result.output
    assert "::warning" not in result.output
    assert 'errors="0" skipped="1"' in (tmp_path / "out" / "gate-junit.xml").read_text()
    # Where none of them shows anything, nothing was shown.
    told["benchmarks"] = told["benchmarks"][1:]
    one.write_text(json.dumps(told))
    assert compare(one, one, "--rules", rules).exit_code == 3


def test_nothing_in_common_is_no_pass(base: Path, tmp_path: Path) -> None:
    timed = made.benchmarks(tmp_path / "a.json", {"b.py::test_a": 1e-3})
    assert compare(base, timed).exit_code == 3
    assert compare(timed, base).exit_code == 3
    rules = tmp_path / "gate.yaml"
    rules.write_text("rules:\n  - { metric: ttft, p: 0.5 }\n")
    assert "no rule concerns" in refused(compare(timed, timed, "--rules", rules))


def test_rules_of_ones_own(base: Path, tmp_path: Path) -> None:
    rules = tmp_path / "gate.yaml"
    rules.write_text("rules:\n  - { metric: ttft, p: 0.5, minimum_effect: 0.5 }\n")
    slow = made.run(tmp_path / "slow", 230, draw=2)
    assert compare(base, slow, "--rules", rules).exit_code == 0


def test_a_metric_that_nobody_measured_is_said(tmp_path: Path) -> None:
    def without_sentences(folder: Path, draw: int) -> Path:
        made.run(folder, draw=draw)
        table = runs.frames(folder).assign(ttfs_ms=np.nan)
        table.to_parquet(folder / "requests.parquet", index=False)
        return folder

    one, other = without_sentences(tmp_path / "a", 1), without_sentences(tmp_path / "b", 2)
    rules = tmp_path / "gate.yaml"
    rules.write_text("rules:\n  - { metric: ttfs, p: 0.5 }\n  - { metric: ttft, p: 0.5 }\n")
    result = compare(one, other, "--rules", rules)
    assert result.exit_code == 0
    assert "note: ttfs_p50: not measured on either side" in result.output
    result = compare(made.run(tmp_path / "c", draw=3), other, "--rules", rules)
    assert result.exit_code == 3
    assert f"ttfs_p50: {other} holds no value" in result.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--baseline is missing"),
        (["--baseline", "a"], "--candidate is missing"),
        (["--candidate", "a"], "--baseline is missing"),
        (["--save", "a"], "--candidate is missing"),
        (["--baseline", "a", "--candidate", "b", "c"], "c is not asked for"),
        (["--save", "s", "--again", "a", "--candidate", "b"], "--again confirms"),
        (
            ["--baseline", "a", "--candidate", "b", "--noise", "n", "--noise-from", "a", "b"],
            "exclude each other",
        ),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], expected: str) -> None:
    assert expected in refused(run(*arguments))


def test_several_arms_need_a_name(tmp_path: Path) -> None:
    ttft = lognormal(200, 400)
    blocks = [Block("local_only", 20, ttft), Block("remote_only", 20, ttft)]
    both = runs.write(tmp_path, blocks)
    assert "with --arm" in refused(compare(both, both))
    assert compare(both, both, "--arm", "local_only", "--step", "20").exit_code == 0


def test_the_workflow_is_valid_and_runs_what_the_makefile_has() -> None:
    path = ROOT / ".github" / "workflows" / "perf.yml"
    schema = ["--builtin-schema", "vendor.github-workflows"]
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *schema, str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
    workflow = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["gate"]["steps"]
    made_by = (ROOT / "Makefile").read_text(encoding="utf-8")
    called = [
        word for step in steps for word in str(step.get("run", "")).split() if "perf-" in word
    ]
    assert called == ["perf-baseline", "perf-gate"]
    assert all(f"\n{target}: setup\n" in made_by for target in called)
    # What an event says could be anyone's words: it reaches no shell.
    assert not any("github.event" in str(step.get("run", "")) for step in steps)
