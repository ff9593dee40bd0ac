"""The pictures themselves: what they say, when they are absent, how large they grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from firsttoken.core import slo as slo_room
from reports import build, figures, render
from reports.figures import PAGE_WIDTH, PHONE_WIDTH, PICTURES
from tests.reports import runs
from tests.reports.runs import Block, lognormal

SLO = slo_room.Slo()
BY_NAME = {picture.name: picture for picture in PICTURES}


def _report(run_dir: Path, blocks: list[Block], **changes: Any) -> build.Report:
    return build.report(runs.write(run_dir, blocks, **changes), SLO)


def _draw(name: str, report: build.Report, width: float = PAGE_WIDTH) -> Figure:
    figure = figures.draw(BY_NAME[name], report, width)
    assert figure is not None
    return figure


def _words(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(Text) if isinstance(item, Text))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> build.Report:
    """Two steps of three arms, with failures and a remote tier."""
    blocks = [block for block in runs.three_arms(n=120) if block.users in (5, 20)]
    lost = Block("hybrid", 20, [None] * 3, error_type="connect")
    return _report(tmp_path_factory.mktemp("run"), [*blocks, lost])


def test_names_are_unique_and_every_picture_says_how_to_read_it() -> None:
    assert len(BY_NAME) == len(PICTURES)
    for picture in PICTURES:
        assert len(picture.caption) > 60
        assert picture.absent.endswith(".")


def test_arms_show_the_figures_of_the_report(report: build.Report) -> None:
    words = _words(_draw("arms", report))
    for cell in report.cells:
        for value in (cell.ttft_p50_ms.value, cell.ttft_p95_ms.value):
            assert value is not None
            assert f"{value:.0f}" in words.split("\n")
    assert "remote_only (emulated cloud)" in words


def test_the_spread_shows_p95_by_step_and_tier(report: build.Report) -> None:
    words = _words(_draw("ttft_spread", report, PHONE_WIDTH)).split("\n")
    for cell in report.cells:
        for tier in cell.tiers:
            assert f"{tier.ttft_p95_ms.value:.0f}" in words
            assert f"n={tier.n}" in words


def test_the_curves_by_tier_are_those_of_the_judged_arm(report: build.Report) -> None:
    words = _words(_draw("ttft_by_tier", report))
    assert "hybrid, 20 users" in words
    for tier in report.cell("hybrid", 20).tiers:
        assert f"tier {tier.tier}: p95 {tier.ttft_p95_ms.value:.1f} ms, n={tier.n}" in words


def test_the_map_shows_each_of_its_cells(report: build.Report) -> None:
    words = _words(_draw("heat_map", report, PHONE_WIDTH))
    drawn = [item for item in report.details.prompt_lengths if item.arm != "remote_only"]
    assert {item.arm for item in drawn} == {"hybrid", "local_only"}
    for item in drawn:
        assert f"n={item.n}" in words
        assert item.band in words
    # What failed told no length of its prompt, and arms in which nothing failed have no such cell.
    assert "unknown" in words
    assert "none" in words.split("\n")


def test_the_time_line_names_incidents_and_steps(report: build.Report) -> None:
    words = _words(_draw("ttft_over_time", report))
    assert "failed: connect (3)" in words
    assert "hybrid\n20" in words
    assert "failed, or no first token" in words
    assert "requests drawn" not in words


def test_the_host_is_drawn_with_its_components(report: build.Report) -> None:
    words = _words(_draw("host", report))
    for name in ("engine", "router", "generator", "limit", "in use", "steal"):
        assert name in words
    assert "others' programs" not in words, "never sampled"


def test_every_picture_keeps_its_bytes(report: build.Report) -> None:
    again = [render.svg(_draw("ttft_over_time", report, PHONE_WIDTH)) for _ in range(2)]
    assert again[0] == again[1]


def test_one_request_is_drawn_without_claims(tmp_path: Path) -> None:
    report = _report(tmp_path, [Block("hybrid", 5, [250.0], tier="local")])
    absent = {picture.name for picture in PICTURES if picture.draw(report, PHONE_WIDTH) is None}
    assert absent == {"arms", "ttft_by_tier", "capacity"}
    assert "n=1" in _words(_draw("heat_map", report))
    assert "~250" in _words(_draw("heat_map", report)), "far from a claim"


def test_a_run_in_which_all_failed_says_never(tmp_path: Path) -> None:
    blocks = [Block("hybrid", 5, [None] * 30), Block("hybrid", 10, [None] * 30)]
    report = _report(tmp_path, blocks, with_attempts=False)
    absent = {picture.name for picture in PICTURES if picture.draw(report, PAGE_WIDTH) is None}
    assert absent == {
        "ttft_spread",
        "ttft_by_tier",
        "heat_map",
        "first_token_time",
        "waterfall",
        "capacity",
    }
    assert _words(_draw("arms", report)).split("\n").count("never") == 4
    assert "failed: http_5xx (60)" in _words(_draw("ttft_over_time", report))


def test_without_host_samples_there_is_no_host(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("target", 5, lognormal(200, 80))])
    (run_dir / "host.parquet").unlink()
    report = build.report(run_dir, SLO)
    assert figures.draw(BY_NAME["host"], report, PAGE_WIDTH) is None
    assert figures.draw(BY_NAME["ttft_by_tier"], report, PAGE_WIDTH) is None
    assert "target" in _words(_draw("ttft_distribution", report))


def test_nothing_steady_draws_nothing(tmp_path: Path) -> None:
    report = _report(tmp_path, [Block("hybrid", 5, [200.0] * 30, phase="warmup")])
    drawn = {picture.name for picture in PICTURES if picture.draw(report, PAGE_WIDTH) is not None}
    assert drawn == set()


def test_pictures_of_a_large_run_stay_small(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    ttft: list[float | None] = [
        None if lost else float(value)
        for value, lost in zip(
            random.lognormal(5.5, 0.6, 40_000), random.random(40_000) < 0.02, strict=True
        )
    ]
    blocks = [Block("hybrid", 20, ttft, tier="local", seconds=3_600)]
    report = _report(tmp_path, blocks, with_attempts=False)
    for name in ("ttft_over_time", "ttft_spread", "ttft_distribution", "host"):
        assert len(render.svg(_draw(name, report, PHONE_WIDTH))) < 400_000, name
    figure = _draw("ttft_over_time", report)
    assert "of 40000 requests drawn" in _words(figure)
    # Failures are few beside the rest, and each is drawn.
    crosses = next(
        line for line in figure.axes[0].lines if line.get_label() == "failed, or no first token"
    )
    assert np.size(crosses.get_xdata()) == sum(value is None for value in ttft)
