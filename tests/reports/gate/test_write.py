"""The gate's verdict as JSON, Markdown, JUnit and annotations."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core import slo
from firsttoken.core.words import Verdict
from reports.gate import rules, samples, write
from reports.gate.judge import Judgement, judge
from tests.reports.gate import made

SLO = slo.load()


def judged(tmp_path: Path, median_ms: float = 200.0, **changes: Any) -> Judgement:
    one = samples.read(made.run(tmp_path / "a|b"), SLO)
    other = samples.read(made.run(tmp_path / "b", median_ms, draw=2, **changes), SLO)
    return judge(one, other, rules.load(), {"ttft_p50": 0.015})


@pytest.fixture
def worse(tmp_path: Path) -> Judgement:
    return judged(tmp_path, 260.0, git_sha="<b>new</b>")


def test_json(worse: Judgement) -> None:
    told = json.loads(write.json_text(worse))
    assert told["verdict"] == "FAIL"
    by_name = {item["rule"]["name"]: item for item in told["findings"]}
    assert by_name["ttft_p50"]["effect"] == pytest.approx(0.3, abs=0.05)
    assert by_name["ttft_p50"]["noise"] == 0.015
    assert [by_name[name]["verdict"] for name in ("ttft_p50", "error_rate")] == ["FAIL", "PASS"]
    assert told["differences"][0]["name"] == "git sha"


def test_json_of_what_never_came(tmp_path: Path) -> None:
    one = samples.read(made.run(tmp_path / "a"), SLO)
    other = samples.read(made.run(tmp_path / "b", n=0, failed=400), SLO)
    told = json.loads(write.json_text(judge(one, other, rules.load(), {})))
    assert told["verdict"] == "FAIL"
    assert told["findings"][0]["candidate"] == "inf"


def test_markdown(worse: Judgement) -> None:
    page = write.markdown(worse)
    assert page.startswith("# ✘ FAIL: It got worse.\n")
    assert "a\\|b" in page
    assert "<b>" not in page
    assert page.index("| git sha |") < page.index("| ttft_p50 |")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in rows}
    assert widths == {5, 9}


def test_junit(worse: Judgement, tmp_path: Path) -> None:
    suites = ET.fromstring(write.junit(worse))  # noqa: S314 - our own
    cases = {case.attrib["name"]: case for case in suites.iter("testcase")}
    assert list(cases) == ["ttft_p50", "ttft_p95", "error_rate"]
    assert (suites.attrib["failures"], suites.attrib["errors"]) == ("2", "0")
    failure = cases["ttft_p50"].find("failure")
    assert failure is not None
    assert failure.attrib["message"].startswith("ttft_p50 FAIL: ")


def test_junit_is_never_an_empty_suite(tmp_path: Path) -> None:
    found = judged(tmp_path, host={"cpu_model": "Other"})
    assert (found.verdict, found.findings) == (Verdict.INCONCLUSIVE, ())
    suites = ET.fromstring(write.junit(found))  # noqa: S314 - our own
    assert (suites.attrib["tests"], suites.attrib["errors"]) == ("1", "1")


def test_annotations(worse: Judgement, tmp_path: Path) -> None:
    lines = write.workflow_commands(worse)
    assert [line.split(" ", 1)[0] for line in lines] == ["::error", "::error"]
    assert lines[0].startswith("::error title=firsttoken gate ttft_p50::ttft_p50 FAIL: ")
    assert "%25" in lines[0]
    passed = judged(tmp_path)
    assert write.workflow_commands(passed) == []
    odd = replace(passed, reasons=("50 %\r\n::error::x",))
    assert write.workflow_commands(odd) == [
        "::warning title=firsttoken gate gate::50 %25%0D%0A::error::x"
    ]


def test_the_title_of_an_annotation_cannot_end_it(worse: Judgement) -> None:
    finding = worse.findings[0]
    named = replace(finding, rule=replace(finding.rule, name="b.py::test[a,b]"))
    lines = write.workflow_commands(replace(worse, findings=(named,), reasons=()))
    assert lines[0].startswith("::error title=firsttoken gate b.py%3A%3Atest[a%2Cb]::b.py::test")


def test_files(worse: Judgement, tmp_path: Path) -> None:
    write.write_all(worse, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "gate-junit.xml",
        "gate.json",
        "gate.md",
    ]
