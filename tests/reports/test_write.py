"""The files of a report: complete, self-contained, and of one mind."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.errors import UserError
from reports import build, figures, render, terminal, write
from tests.reports import runs
from tests.reports.pages import Page
from tests.reports.runs import Block, lognormal

SLO = slo_room.Slo()
DRAWN = {"ttft_distribution", "first_token_time", "waterfall", "ttft_over_time"}
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[build.Report, Path]:
    """The demo's shape with a few failures, all files written."""
    lost = Block("hybrid", 20, [None] * 3, error_type="connect")
    run_dir = runs.write(tmp_path_factory.mktemp("demo"), [*runs.three_arms(n=120), lost])
    report = build.report(run_dir, SLO)
    write.write_all(report, run_dir)
    return report, run_dir


def _numbers(value: Any) -> set[str]:
    """Return every spelling of every number in a JSON value that a page may show."""
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        return {
            str(value),
            f"{value:g}",
            f"{value:.1f}",
            f"{value:.2f}",
            f"{value * 100:.2f}",
            f"{value * 100:.0f}",
            f"{value * 100:g}",
        }
    if isinstance(value, str):
        return set(NUMBER.findall(value))
    items = value.values() if isinstance(value, dict) else value
    return set().union(*(_numbers(item) for item in items))


def test_every_file_is_there(demo: tuple[build.Report, Path]) -> None:
    _, run_dir = demo
    names = {path.name for path in run_dir.iterdir()}
    assert {"report.json", "report.html", "report.md", "junit.xml", "figures"} <= names
    assert not [name for name in names if name.endswith(".partial")]
    for name in DRAWN:
        assert (run_dir / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_json_file_is_the_report(demo: tuple[build.Report, Path]) -> None:
    report, run_dir = demo
    text = (run_dir / "report.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    assert json.loads(text) == report.as_dict()


def test_page_needs_nothing_from_outside(demo: tuple[build.Report, Path]) -> None:
    _, run_dir = demo
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(load.startswith("data:") for load in page.loads)
    images = [load for load in page.loads if load.startswith("data:image/svg+xml")]
    assert len(images) >= 2 * len(DRAWN)


def test_page_says_the_verdict_in_words_and_by_a_symbol(demo: tuple[build.Report, Path]) -> None:
    report, run_dir = demo
    words = " ".join(Page((run_dir / "report.html").read_text(encoding="utf-8")).words)
    assert report.verdict in words
    assert write.VERDICT_WORDS[report.verdict] in words
    for reason in report.reasons:
        assert reason in words
    assert words.count("emulated cloud") >= 10


@pytest.mark.parametrize("name", ["report.md", "terminal"])
def test_every_number_shown_is_in_the_json(demo: tuple[build.Report, Path], name: str) -> None:
    report, run_dir = demo
    if name == "terminal":
        shown = terminal.table(report)
        # What a column is called is no measurement.
        shown = shown.replace("p50", "").replace("p95", "").replace("95 % interval", "")
    else:
        text = (run_dir / name).read_text(encoding="utf-8")
        shown = " ".join(line for line in text.splitlines() if line.startswith("|"))
        shown = shown.replace("| Arm | Users | n |", "")
    known = _numbers(report.as_dict())
    # "430.0..510.0" is two numbers.
    found = NUMBER.findall(shown.replace("..", " "))
    assert len(found) > 80
    assert [number for number in found if number not in known and number != "95"] == []


def test_junit_has_a_case_for_each_judged_check(demo: tuple[build.Report, Path]) -> None:
    report, run_dir = demo
    suite = ET.parse(run_dir / "junit.xml").getroot().find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "ttft_p95_ms hybrid, 20 users",
        "error_rate hybrid, 20 users",
    ]
    assert suite.get("tests") == "2"
    assert report.verdict == "INCONCLUSIVE"
    assert suite.get("errors") == "2"


@pytest.mark.parametrize(
    ("blocks", "changes", "element"),
    [
        ([Block("hybrid", 20, lognormal(900, 400))], {}, "failure"),
        ([Block("hybrid", 20, lognormal(200, 20))], {}, "error"),
        ([Block("hybrid", 20, lognormal(200, 400))], {"calibration": []}, "error"),
        ([Block("hybrid", 20, lognormal(200, 400))], {}, None),
        ([Block("local_only", 20, [9.0]), Block("remote_only", 20, [9.0])], {}, "error"),
    ],
)
def test_junit_elements(
    tmp_path: Path, blocks: list[Block], changes: dict[str, Any], element: str | None
) -> None:
    report = build.report(runs.write(tmp_path, blocks, **changes), SLO)
    root = ET.fromstring(write.junit(report))  # noqa: S314 - our own
    bad = [child for case in root.iter("testcase") for child in case]
    if element is None:
        assert bad == []
    else:
        assert bad[0].tag == element
        assert report.verdict in str(bad[0].get("message"))


@pytest.mark.parametrize(
    "blocks",
    [
        [Block("hybrid", 20, [None] * 30)],
        [Block("hybrid", 20, [120.0])],
        [Block("target", 20, [120.0, 130.0])],
        [Block("hybrid", 20, [120.0], phase="warmup")],
        [Block("hybrid", 5, [0.01, 120_000.0]), Block("other|arm", 20, [5.0])],
    ],
)
def test_odd_runs_still_make_all_files(tmp_path: Path, blocks: list[Block]) -> None:
    run_dir = runs.write(tmp_path, blocks, with_attempts=False)
    report = build.report(run_dir, SLO)
    write.write_all(report, run_dir)
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    split = bool(report.details.waterfall.means)
    assert ("Not known for this run" in " ".join(page.words)) is not split
    for name in ("first_token_time", "waterfall"):
        assert (run_dir / "figures" / f"{name}.png").exists() is split


def test_what_stands_in_a_manifest_cannot_become_markup(tmp_path: Path) -> None:
    run_dir = runs.write(
        tmp_path,
        [Block("hybrid", 20, [120.0])],
        notes=["<script>alert(1)</script> | new\nline"],
        command=["firsttoken", "<img src=http://example.com/x>"],
    )
    report = build.report(run_dir, SLO)
    drawn = [
        write.Drawn(p.name, p.title, p.caption, p.absent, None, None) for p in figures.PICTURES
    ]
    page = Page(write.html(report, drawn))
    assert not page.named("script")
    assert not page.named("img")
    assert "<script>" not in write.markdown(report)


def test_a_second_report_replaces_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [item for item in figures.PICTURES if item.name in {"first_token_time", "host"}]
    monkeypatch.setattr(figures, "PICTURES", few)
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, lognormal(200, 80), tier="local")])
    write.write_all(build.report(run_dir, SLO), run_dir)
    first = {path.name: path.read_bytes() for path in run_dir.glob("*.*")}
    write.write_all(build.report(run_dir, SLO), run_dir)
    assert {path.name: path.read_bytes() for path in run_dir.glob("*.*")} == first
    (run_dir / "attempts.parquet").unlink()
    write.write_all(build.report(run_dir, SLO), run_dir)
    assert not (run_dir / "figures" / "first_token_time.png").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [120.0])])
    report = build.report(run_dir, SLO)
    (run_dir / "figures").write_text("in the way")
    with pytest.raises(UserError, match="cannot write the report"):
        write.write_all(report, run_dir)


def test_svg_follows_the_theme_of_the_page(demo: tuple[build.Report, Path]) -> None:
    report, _ = demo
    figure = figures.draw(figures.PICTURES[0], report, figures.PHONE_WIDTH)
    assert figure is not None
    drawing = render.svg(figure).decode()
    assert "prefers-color-scheme: dark" in drawing
    assert "var(--c0)" in drawing
    ET.fromstring(drawing)  # noqa: S314 - our own


def test_terminal_table_is_narrow_and_ends_with_the_verdict(
    demo: tuple[build.Report, Path], tmp_path: Path
) -> None:
    report, _ = demo
    text = terminal.table(report)
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    assert "* emulated cloud" in text
    failed = build.report(
        runs.write(tmp_path, [Block("hybrid", 20, [25_000.0, 29_999.9] * 200, tier="remote")]), SLO
    )
    lines = terminal.table(failed).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith("FAIL: hybrid, 20 users: TTFT p95 29999.9 ms")
