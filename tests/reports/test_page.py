"""The page: it shows what ``report.json`` holds and nothing else, and asks for nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core import slo as slo_room
from firsttoken.core.records import WorkerResult
from reports import build, figures, write
from tests.reports import pages, runs
from tests.reports.pages import Page
from tests.reports.runs import Block

SLO = slo_room.Slo()
EVERY_FIGURE = (
    "cells.*.ttft_p95_ms.value",
    "cells.*.ttft_p95_ms.ci_high",
    "cells.*.ttft_p50_ms.value",
    "cells.*.ttft_effective_n",
    "cells.*.ttfs_p50_ms",
    "cells.*.n",
    "cells.*.error_rate.ci_high",
    "cells.*.tiers.0.n",
    "cells.*.in_flight_mean",
    "cells.*.requests_per_second",
    "checks.*.value",
    "checks.*.n",
    "errors.*.count",
    "slowest.*.ttft_ms",
    "slowest.*.phases_ms.wait",
    "slowest.*.sent_s",
    "exemplars.*.ttft_ms",
    "goodput.*.share.value",
    "paired_arms.*.p95_difference_ms",
    "by_reason.*.n",
    "fallback_tax.*.share.value",
    "prefix_cache.*.ttft_p95_ms.value",
    "calibration.*.error_p99_ms",
    "join.residual_p99_ms",
)
"""Of each part of the page one figure or more; the star stands for any item of a list."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The demo's shape with a few failures: its JSON and its page, with one of the pictures."""
    lost = Block("hybrid", 20, [None] * 3, error_type="connect")
    quick = Block("hybrid", 5, [101.0 + at / 7 for at in range(90)], tier="local")
    run_dir = runs.write(tmp_path_factory.mktemp("page"), [*runs.three_arms(n=60), lost, quick])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "PICTURES", figures.PICTURES[:1])
        write.write_all(build.report(run_dir, SLO), run_dir)
    whole = json.loads((run_dir / "report.json").read_text(encoding="utf-8"))
    return whole, (run_dir / "report.html").read_text(encoding="utf-8")


def test_every_number_of_the_page_stands_in_the_json(demo: tuple[dict[str, Any], str]) -> None:
    whole, text = demo
    page = Page(text)
    assert sum(len(pages.NUMBER.findall(words)) for _, words in page.shown) > 500
    assert pages.not_in_json(page, whole) == []


def _replaced(value: Any, old: float) -> Any:
    """Return a JSON value in which a number, wherever it stands, is another one."""
    if isinstance(value, dict):
        return {key: _replaced(item, old) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, old) for item in value]
    same = isinstance(value, int | float) and not isinstance(value, bool) and value == old
    return 88_888 if same else value


def _changed(whole: dict[str, Any], path: str) -> dict[str, Any] | None:
    """Return the JSON with another figure at a path; None where it holds none there."""
    old = pages.part(whole, path)
    if not isinstance(old, int | float):
        return None
    first, *rest = path.split(".")
    if not rest or not rest[0].isdigit():
        return whole | {first: _replaced(whole[first], old)}
    number = int(rest[0])
    items = [*whole[first]]
    items[number] = _replaced(items[number], old)
    return whole | {first: items}


@pytest.mark.parametrize("path", EVERY_FIGURE)
def test_a_figure_that_differs_is_found(demo: tuple[dict[str, Any], str], path: str) -> None:
    whole, text = demo
    page = Page(text)
    first = path.partition(".")[0]
    found = []
    for number in range(len(whole[first]) if "*" in path else 1):
        changed = _changed(whole, path.replace("*", str(number)))
        if changed is not None:
            found += pages.not_in_json(page, changed)
    assert found, f"{path} is not shown"
    assert all(place.startswith(first) for place, _ in found if place)
    assert any(place for place, _ in found)


def test_nothing_is_fetched_and_nothing_runs(demo: tuple[dict[str, Any], str]) -> None:
    page = Page(demo[1])
    tags = {tag for tag, _ in page.tags}
    assert not {"script", "iframe", "object", "embed", "form"} & tags
    assert all(address.startswith("data:") for address in page.loads)
    policy = next(item for item in page.named("meta") if "http-equiv" in item)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:;")
    style = re.search(r"<style>(.*?)</style>", demo[1], re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_page_has_a_shape_that_machines_can_read(demo: tuple[dict[str, Any], str]) -> None:
    page = Page(demo[1])
    assert len(page.named("h1")) == 1
    assert page.named("html") == [{"lang": "en"}]
    assert all(item.get("scope") in {"col", "row"} for item in page.named("th"))
    assert all(item.get("alt") for item in page.named("img"))
    identities = [item["id"] for _, item in page.tags if "id" in item]
    assert len(identities) == len(set(identities))
    targets = [str(item["href"]) for item in page.named("a")]
    assert len(targets) > 10
    assert {target.removeprefix("#") for target in targets} <= set(identities)
    regions = [item for item in page.named("div") if item.get("class") == "wide"]
    assert regions
    assert all(item.get("aria-label") and item.get("tabindex") == "0" for item in regions)


def test_the_first_screen_holds_verdict_rows_and_figure(demo: tuple[dict[str, Any], str]) -> None:
    whole, text = demo
    first = text[: text.index("<nav")]
    assert first.count("<img") == 0
    assert whole["reasons"][-1] in first
    assert first.count('data-of="guide.') == 5
    assert len(re.findall(r'class="strip-row[ "]', first)) == len(whole["cells"]) + 1


def test_the_slowest_say_who_served_them(demo: tuple[dict[str, Any], str]) -> None:
    whole, text = demo
    slow = text[text.index('id="slowest"') : text.index('id="goodput"')]
    assert slow.count("<li class=") == len(whole["slowest"]) == 10
    for item in whole["slowest"]:
        assert item["request_id"] in slow
        assert f"{item['ttft_ms']:.1f} ms" in slow
    assert "remote, default_local" in slow
    widths = [float(width) for width in re.findall(r'class="ph-\w+" style="width:([\d.]+)%', slow)]
    assert max(widths) <= 100
    assert sum(widths[: slow.split("</li>")[0].count("style=")]) == pytest.approx(100, abs=0.1)


def test_what_was_not_measured_is_named(tmp_path: Path) -> None:
    run_dir = runs.write(tmp_path, [Block("hybrid", 20, [100.0] * 100)], with_attempts=False)
    report = build.report(run_dir, SLO)
    named = "\n".join(report.not_measured)
    assert "Total response" in named
    assert "availability rests on 100 requests, 3000 needed" in named
    assert "hybrid against local_only and remote_only: not in this run" in named
    assert "a real provider" in named
    assert "no request could be split into phases" not in named
    page = write.html(report, [])
    for line in report.not_measured:
        assert f"<li>not measured: {line}</li>" in page


def test_several_machines_are_named(tmp_path: Path) -> None:
    workers = [WorkerResult(name, f"box-{name}", 10, 0, 1_500_000, 50) for name in ("a", "b")]
    report = build.report(
        runs.write(tmp_path, [Block("hybrid", 20, [100.0] * 100)], workers=workers), SLO
    )
    assert any("2 machines (box-a, box-b)" in gap and "1.5 ms" in gap for gap in report.gaps)
