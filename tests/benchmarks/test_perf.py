"""What the gate's own measurement does beside measuring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.perf import __main__ as program
from benchmarks.perf.measure import joined
from firsttoken.core.words import ExitCode
from reports.gate import rules
from tests.reports.gate import made


def test_rounds_of_several_passes_follow_each_other() -> None:
    def one(**tests: list[float]) -> dict[str, Any]:
        listed = [{"fullname": name, "stats": {"data": data}} for name, data in tests.items()]
        return {"machine_info": {"cpu": {}}, "benchmarks": listed}

    found = joined([one(a=[1.0, 2.0], b=[3.0]), one(a=[4.0], b=[5.0, 6.0])])
    assert found == one(a=[1.0, 2.0, 4.0], b=[3.0, 5.0, 6.0])


def test_its_rules_are_valid_and_benchmarks_need_not_be_conclusive() -> None:
    loaded = rules.load(program.RULES)
    assert [each.name for each in loaded.rules] == ["ttft_p50", "ttft_p95", "error_rate"]
    found = loaded.of_benchmark("benchmarks/test_caches.py::test_encoder")
    assert found is not None
    assert found.optional


@pytest.mark.parametrize(
    ("codes", "measured"),
    [
        ([0, 0], ["candidate-1"]),
        ([3, 3], ["candidate-1"]),
        ([1, 1], ["candidate-1", "candidate-2"]),
        ([1, 0], ["candidate-1", "candidate-2"]),
    ],
)
def test_it_measures_again_only_before_it_turns_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: list[int], measured: list[str]
) -> None:
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "run.json").write_text("{}")
    calls: list[list[str]] = []

    def gate(arguments: list[str]) -> int:
        calls.append(list(arguments))
        return codes[len(calls) - 1]

    monkeypatch.setattr(program, "measure", lambda _tree, out, _users, _seconds: out.mkdir())
    monkeypatch.setattr(program, "_gate", gate)
    assert program.main(["gate", str(tmp_path), "--github"]) == codes[-1]
    assert sorted(path.name for path in tmp_path.glob("candidate-*")) == measured
    first, last = calls
    assert ("--again" in last) is (len(measured) == 2)
    # What is shown to others is the last word only.
    assert not {"--again", "--github", "--save"} & set(first)
    assert {"--github", "--save", "--out"} <= set(last)


def test_the_baseline_is_the_measurement_in_the_middle(tmp_path: Path) -> None:
    runs = [made.run(tmp_path / f"r{ms}", ms, n=50) for ms in (230, 200, 210)]
    assert program.middle(runs) == tmp_path / "r210"


def test_without_a_baseline_nothing_is_measured(tmp_path: Path) -> None:
    assert program.main(["gate", str(tmp_path)]) == ExitCode.USAGE
