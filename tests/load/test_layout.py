"""What keeps the load tests honest and short: checked on their source."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCUSTFILES = sorted((ROOT / "loadtests").glob("*.py"))
LOAD = sorted((ROOT / "firsttoken" / "load").rglob("*.py"))
NEEDS_PATCHING = {
    *("by_hand.py", "calibrate.py", "feed.py", "hooks.py", "run_plan.py", "table.py", "talker.py"),
    *("web_form.py", "web_tab.py", "distributed/master.py", "distributed/worker.py"),
}
ROOMS = {"firsttoken", "router", "exporter", "loadtests", "dashboards", "reports"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [*LOCUSTFILES, *LOAD], ids=lambda path: path.name)
def test_no_reader_that_waits_for_a_buffer_to_fill(path: Path) -> None:
    """``iter_lines`` of Locust and requests holds the first token back until a kilobyte came."""
    source = path.read_text(encoding="utf-8")
    assert "iter_lines" not in source
    assert "iter_content" not in source


@pytest.mark.parametrize("path", LOCUSTFILES, ids=lambda path: path.name)
def test_a_locustfile_holds_a_scenario_and_no_machinery(path: Path) -> None:
    for name in imported(path):
        if name.split(".")[0] in ROOMS:
            assert name.startswith(("firsttoken.load.", "firsttoken.core."))
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 80
    assert "LoadTestShape" not in source, "a shape found here would take over from -u"


def test_no_locustfile_hides_a_module_of_the_standard_library() -> None:
    assert not {path.stem for path in LOCUSTFILES} & sys.stdlib_module_names


@pytest.mark.parametrize("path", LOAD, ids=lambda path: path.name)
def test_only_those_that_must_import_what_patches_the_process(path: Path) -> None:
    if str(path.relative_to(ROOT / "firsttoken" / "load")) in NEEDS_PATCHING:
        return
    assert not [name for name in imported(path) if name.split(".")[0] == "locust"]
    assert "gevent.monkey" not in set(imported(path))
