"""Every alert has its page, every page its alert, and what a page tells to look at exists."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser
import pytest

from dashboards.promql import duration
from firsttoken.core.alerts import GUIDE_ALERTS
from firsttoken.core.catalogue import CATALOGUE, ConversationEnd
from firsttoken.core.words import ErrorType, Outcome, Reason
from tests.dashboards.rules import promtool
from tests.dashboards.rules.judging import every_alert, packaged, shipped_files
from tests.dashboards.rules.test_emit import _exposed, _selectors

RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
HEADINGS = [
    "What it means",
    "How to look",
    "What to do",
    "What the loop does by itself",
]
LONGEST = 60


def _alert_names() -> set[str]:
    return {each.name for each in every_alert(*packaged())} | set(GUIDE_ALERTS.values())


def test_there_is_one_page_for_each_alert_and_no_other() -> None:
    assert {page.stem for page in PAGES} == {name.lower() for name in _alert_names()}


def test_the_links_of_alerts_lead_to_pages() -> None:
    root = RUNBOOKS.parents[1]
    for group in promtool.read(shipped_files()["alerts.yml"])["groups"]:
        for rule in group["rules"]:
            assert (root / rule["annotations"]["runbook_url"]).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_whole_and_true(page: Path) -> None:
    text = page.read_text()
    assert text.splitlines()[0].removeprefix("# ") in _alert_names()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert len(text.splitlines()) <= LONGEST
    exposed = set(_exposed())
    groups = promtool.read(shipped_files()["recording.yml"])["groups"]
    exposed |= {rule["record"] for group in groups for rule in group["rules"]}
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        for query in block.strip().splitlines():
            for selector in _selectors(promql_parser.parse(query)):
                assert selector.name in exposed, query
    for name in re.findall(r"(?<!:)\bllm_\w+", re.sub(r"_(bucket|count|sum)\b", "", text)):
        assert name in CATALOGUE or name == "llm_routing", name
    for target in re.findall(r"\]\((\w+\.md)\)", text):
        assert (RUNBOOKS / target).is_file(), target


def test_words_that_decide_what_to_do_exist() -> None:
    known = {*ErrorType, *Reason, *Outcome, *ConversationEnd}
    for page in PAGES:
        for step in re.findall(r"^\d+\. (.*)$", page.read_text(), re.MULTILINE):
            for word in re.findall(r"`([a-z_]+)`(?=: | leads)", step):
                assert word in known, f"{page.name}: {word}"


def test_the_table_of_alerts_is_the_rules() -> None:
    rows: dict[str, list[str]] = {}
    for line in (RUNBOOKS.parent / "alerts.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in _alert_names():
            rows[cells[0]] = cells
    every = every_alert(*packaged())
    assert list(rows) == list(dict.fromkeys(each.name for each in every))
    for each in every:
        _, severity, _, hold, action = rows[each.name]
        assert each.severity in severity.split(", ")
        assert hold == (duration(each.hold) if each.hold else "") or hold == "by window"
        assert (each.action or "") in action
        assert bool(each.action) == bool(action)
