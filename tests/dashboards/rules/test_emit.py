"""The files: the same bytes from the same input, made of metrics and labels that exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

import dashboards.rules
from dashboards.metrics import PROMETHEUS_OWN
from dashboards.rules import FILES, alerts, emit, files, recording, write_rules
from dashboards.rules.model import QUICK
from dashboards.rules.windows import BENCHMARK_DAY
from firsttoken.core.alerts import GUIDE_ALERTS, OWN_ALERTS
from firsttoken.core.catalogue import CATALOGUE, LABEL_VALUES, Action, Kind
from firsttoken.core.errors import UserError
from firsttoken.core.slo import Targets
from tests.dashboards.rules import promtool
from tests.dashboards.rules.judging import every_alert, packaged, shipped_files, written
from tests.dashboards.rules.subjects import EVERY_METRIC

GENERATED = Path(dashboards.rules.__file__).parents[1] / "generated"

TARGET = {"job", "instance"}


def _rules(content: bytes) -> list[dict[str, Any]]:
    return [rule for group in promtool.read(content)["groups"] for rule in group["rules"]]


def _selectors(node: Any) -> Iterator[Any]:
    """Yield every selector of a parsed query."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "vector_selector", "args", "param"):
        below = getattr(node, name, None)
        for each in below if isinstance(below, list) else [below]:
            if each is not None and not isinstance(each, str):
                yield from _selectors(each)


def _exposed() -> dict[str, set[str]]:
    """Return every series that the catalogue's metrics have, with the labels it carries."""
    found = {name: set(each.labels) | TARGET for name, each in PROMETHEUS_OWN.items()}
    for name, each in CATALOGUE.items():
        parts = ("_bucket", "_count", "_sum") if each.kind is Kind.HISTOGRAM else ("",)
        for part in parts:
            le = {"le"} if part == "_bucket" else set()
            found[name + part] = set(each.labels) | TARGET | le
    return found


@pytest.mark.parametrize("configured", [packaged, lambda: written(EVERY_METRIC)])
def test_every_name_and_label_in_a_rule_exists(configured: Any) -> None:
    contents = files(*configured())
    rules = _rules(contents["recording.yml"]) + _rules(contents["alerts.yml"])
    exposed = _exposed()
    for rule in rules:
        if "record" in rule:
            exposed[rule["record"]] = {"job", "tier", "backend"}
    seen = set()
    for rule in rules:
        for selector in _selectors(promql_parser.parse(rule["expr"])):
            seen.add(selector.name)
            assert selector.name in exposed, rule
            for matcher in selector.matchers.matchers:
                assert matcher.name in exposed[selector.name], rule
                values = LABEL_VALUES.get(matcher.name)
                if values:
                    assert set(matcher.value.split("|")) <= set(values), rule
    assert {"llm_fallbacks_total", "llm_time_to_first_token_seconds_bucket", "up"} <= seen


def test_no_name_of_a_metric_is_written_as_text() -> None:
    """Names are taken from the catalogue, where a renamed one is missed at once."""
    for path in sorted(Path(dashboards.rules.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in _exposed(), f"{path.name}: {node.value}"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = files(*packaged()), files(*packaged())
    assert first == second == shipped_files()
    assert tuple(first) == FILES
    assert all(content.startswith(emit.HEADER.encode()) for content in first.values())
    paths = write_rules(tmp_path / "new" / "folder", *packaged())
    assert {path.name: path.read_bytes() for path in paths} == first


def test_generated_files_are_up_to_date() -> None:
    stale = [n for n, c in shipped_files().items() if (GENERATED / n).read_bytes() != c]
    assert stale == [], "run: firsttoken dashboards build"


def test_labels_are_closed_and_annotations_complete() -> None:
    for rule in _rules(shipped_files()["alerts.yml"]):
        labels, annotations = rule["labels"], rule["annotations"]
        assert set(labels) <= {"severity", "service", "action", "backend", "window"}
        assert not any("{{" in value for value in labels.values())
        assert labels.get("action", Action.RESTART_SERVICE) in tuple(Action)
        assert set(annotations) == {"summary", "description", "runbook_url", "dashboard_url"}


def test_the_loop_lets_our_alerts_ask_for_what_they_ask_for() -> None:
    """The router's own list and the labels of the rules are one."""
    asked = {each.name: each.action for each in every_alert(*packaged()) if each.action}
    named = {GUIDE_ALERTS[each.condition.name]: each.action for each in packaged()[0].alerts}
    assert asked == {**named, **OWN_ALERTS}


def test_the_boards_that_alerts_link_to_exist() -> None:
    made = [json.loads(path.read_text())["uid"] for path in GENERATED.glob("grafana/boards/*.json")]
    assert {each.board for each in every_alert(*packaged())} <= set(made)


def test_links_can_point_elsewhere() -> None:
    links = emit.Links(
        runbooks="https://docs.example.org/runbooks", boards="https://g.example.org/d"
    )
    text = files(*packaged(), emit.Options(links=links))["alerts.yml"].decode()
    assert "https://docs.example.org/runbooks/watchdog.md" in text
    assert "docs/runbooks/watchdog.md\n" not in text.replace("https://docs.example.org/", "/")


@pytest.mark.parametrize(
    "options",
    [emit.Options(windows=BENCHMARK_DAY), emit.Options(pace=QUICK, windows=BENCHMARK_DAY)],
)
def test_other_windows_and_paces_pass_the_tools(options: emit.Options, tmp_path: Path) -> None:
    write_rules(tmp_path, *packaged(), options)
    promtool.run("promtool", "check", "config", tmp_path / "prometheus.yml")
    rules = [tmp_path / "recording.yml", tmp_path / "alerts.yml"]
    promtool.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules)


def test_what_alerts_read_is_recorded() -> None:
    for options in (emit.SHIPPED, emit.Options(windows=BENCHMARK_DAY, pace=QUICK)):
        contents = files(*packaged(), options)
        names = {rule["record"] for rule in _rules(contents["recording.yml"])} | set(_exposed())
        for rule in _rules(contents["alerts.yml"]):
            for selector in _selectors(promql_parser.parse(rule["expr"])):
                assert selector.name in names


def test_a_target_that_is_no_edge_of_a_bucket_is_refused() -> None:
    slo, settings = packaged()
    other = slo.model_copy(update={"targets": Targets(ttft_p95_ms=420)})
    with pytest.raises(UserError, match=r"no bucket ends at 0.42 s.* expected one of 0.05, 0.1"):
        files(other, settings)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            [("memory_usage", "< 85%", "restart_service")],
            "memory_usage < 85% would fire while all is well; expected the operator > or >=",
        ),
        ([EVERY_METRIC[0], EVERY_METRIC[0]], "stands there 2 times"),
    ],
)
def test_an_alert_that_makes_no_sense_is_refused(
    entries: list[tuple[str, str, str]], said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        files(*written(entries))


def test_settings_without_alerts_make_no_group_of_their_own() -> None:
    slo, settings = written([])
    names = [group["name"] for group in promtool.read(files(slo, settings)["alerts.yml"])["groups"]]
    assert "firsttoken-settings" not in names
    assert recording.groups(slo)
    assert alerts.groups(slo, settings)


def test_the_local_share_is_half_of_what_the_priorities_ask_for() -> None:
    low = next(each for each in every_alert(*packaged()) if each.name == "LLMLocalShareLow")
    assert "< 0.4)" in low.query.text


def test_scrapes_are_bounded() -> None:
    for job in promtool.read(shipped_files()["prometheus.yml"])["scrape_configs"]:
        assert job["sample_limit"] == 5000
        assert job["label_limit"] <= 30
