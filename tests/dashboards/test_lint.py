"""Each rule of the lint: boards of ours pass, and a board that breaks the rule does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from dashboards.boards import boards
from dashboards.boards.frame import as_json
from dashboards.lint import GRAFANA_RULES, OWN_RULES, RULES, lint
from dashboards.lint.dimensions import dimension
from dashboards.lint.view import parsed
from firsttoken.core import slo

BOARDS = {board.name: as_json(board) for board in boards(slo.load())}

Json = dict[str, Any]
Break = Callable[[Json], None]

GRAFANA_IDS = {
    "panel-datasource-rule",
    "panel-no-targets-rule",
    "panel-title-description-rule",
    "panel-units-rule",
    "target-counter-agg-rule",
    "target-instance-rule",
    "target-job-rule",
    "target-logql-auto-rule",
    "target-logql-rule",
    "target-promql-rule",
    "target-rate-interval-rule",
    "template-datasource-rule",
    "template-instance-rule",
    "template-job-rule",
    "template-label-promql-rule",
    "template-on-time-change-reload-rule",
    "uneditable-dashboard-rule",
}


def panel(board: Json, title: str) -> Json:
    return next(each for each in board["panels"] if each["title"] == title)


def variable(board: Json, name: str) -> Json:
    found: Json = next(each for each in board["templating"]["list"] if each["name"] == name)
    return found


def in_panel(title: str, **changes: Any) -> Break:
    return lambda board: panel(board, title).update(changes)


def in_variable(which: str, **changes: Any) -> Break:
    return lambda board: variable(board, which).update(changes)


def in_defaults(**changes: Any) -> Break:
    return lambda board: panel(board, LATE)["fieldConfig"]["defaults"].update(changes)


def replaced(old: str, new: str) -> Break:
    def change(board: Json) -> None:
        target = panel(board, LATE)["targets"][0]
        assert old in target["expr"]
        target["expr"] = target["expr"].replace(old, new)

    return change


def asks(query: str, **changes: Any) -> Break:
    return lambda board: panel(board, LATE)["targets"][0].update({"expr": query, **changes})


def asks_loki(query: str) -> Break:
    return asks(query, datasource={"type": "loki", "uid": "${datasource}"})


def dropped(key: str) -> Break:
    return lambda board: board.pop(key)


def without_variable(name: str) -> Break:
    return lambda board: board["templating"]["list"].remove(variable(board, name))


def recoloured(board: Json) -> None:
    for override in panel(board, LATE)["fieldConfig"]["overrides"]:
        override["properties"][0]["value"]["fixedColor"] = "#ff00ff"


def twice(board: Json) -> None:
    board["panels"].append(copy.deepcopy(panel(board, LATE)))


LATE = "First token by tier, p95"
SCOPE = 'job=~"$job", instance=~"$instance"'
UNLIMITED = "sum by (tier) (rate(llm_requests_total{{{}}}[$__rate_interval]))"

BROKEN: list[tuple[str, Break]] = [
    ("template-datasource-rule", without_variable("datasource")),
    ("template-datasource-rule", in_variable("datasource", name="source")),
    ("template-datasource-rule", in_variable("datasource", label="Source")),
    ("template-job-rule", without_variable("job")),
    ("template-job-rule", in_variable("job", multi=False)),
    ("template-job-rule", in_variable("job", allValue=".*")),
    ("template-job-rule", in_variable("job", datasource={"type": "prometheus", "uid": "abc"})),
    ("template-instance-rule", without_variable("instance")),
    ("template-instance-rule", in_variable("instance", label="Where")),
    ("template-label-promql-rule", in_variable("job", query="label_values(up{, job)")),
    ("template-label-promql-rule", in_variable("job", query="labels(up, job)")),
    ("template-on-time-change-reload-rule", in_variable("backend", refresh=1)),
    ("panel-datasource-rule", in_panel(LATE, datasource={"type": "prometheus", "uid": "abc"})),
    ("panel-datasource-rule", in_panel(LATE, datasource="Prometheus")),
    ("panel-title-description-rule", in_panel(LATE, description="")),
    ("panel-units-rule", in_defaults(unit="parsecs")),
    ("panel-no-targets-rule", in_panel(LATE, targets=[])),
    ("target-promql-rule", replaced("sum by", "sum buy")),
    ("target-rate-interval-rule", replaced("$__rate_interval", "5m")),
    ("target-job-rule", replaced('job=~"$job", ', "")),
    ("target-job-rule", replaced('job=~"$job"', 'job="$job"')),
    ("target-instance-rule", replaced(', instance=~"$instance"', "")),
    ("target-counter-agg-rule", asks(f"sum(llm_requests_total{{{SCOPE}}})")),
    ("target-counter-agg-rule", asks(f"delta(llm_requests_total{{{SCOPE}}}[$__rate_interval])")),
    ("target-logql-rule", asks_loki("rate(errors)")),
    ("target-logql-rule", asks_loki('rate({app="x"}[$__auto]')),
    ("target-logql-auto-rule", asks_loki('rate({app="x"}[5m])')),
    ("uneditable-dashboard-rule", lambda board: board.update(editable=True)),
    ("metric-known", replaced("llm_time_to_first_token_seconds", "llm_ttft_seconds")),
    ("metric-known", replaced("_seconds_bucket", "_seconds")),
    ("label-known", replaced("sum by (le, tier)", "sum by (le, user)")),
    ("label-known", replaced('job=~"$job"', 'job=~"$job", user="x"')),
    ("label-known", asks(UNLIMITED.format(SCOPE), legendFormat="{{level}}")),
    ("bucket-edge-kept", replaced("sum by (le, tier)", "sum by (tier)")),
    ("unit-fits", asks(UNLIMITED.format(SCOPE))),
    ("unit-fits", in_defaults(unit="percentunit")),
    ("description-complete", in_panel(LATE, description="The first token.")),
    ("field-defaults", lambda board: panel(board, LATE)["fieldConfig"]["defaults"].pop("noValue")),
    ("field-defaults", in_defaults(thresholds={"mode": "absolute", "steps": []})),
    ("field-defaults", in_defaults(thresholds={"steps": [{"color": "red", "value": 80}]})),
    ("tier-colours", recoloured),
    ("no-datasource-literal", in_panel(LATE, datasource={"type": "prometheus", "uid": "abc"})),
    ("no-datasource-literal", lambda b: b["annotations"]["list"][0].update(datasource="Prom")),
    ("layout", in_panel(LATE, gridPos={"x": 20, "y": 90, "w": 12, "h": 8})),
    ("layout", twice),
    ("frame", dropped("uid")),
    ("frame", lambda board: board.update(graphTooltip=0)),
    ("frame", without_variable("model")),
]


@pytest.mark.parametrize("name", BOARDS)
def test_our_boards_pass_every_rule(name: str) -> None:
    assert lint(BOARDS[name]) == []


@pytest.mark.parametrize(("rule", "damage"), BROKEN)
def test_a_board_that_breaks_a_rule_is_found(rule: str, damage: Break) -> None:
    board = copy.deepcopy(BOARDS["overview"])
    damage(board)
    assert rule in {found.rule for found in lint(board)}


def test_every_rule_has_an_example_that_breaks_it() -> None:
    assert {rule for rule, _ in BROKEN} == RULES.keys()


def test_the_rules_of_grafanas_linter_are_there_by_their_ids() -> None:
    assert GRAFANA_RULES.keys() == GRAFANA_IDS
    assert not OWN_RULES.keys() & GRAFANA_IDS


def test_a_well_formed_query_for_loki_passes_the_rules_about_it() -> None:
    board = copy.deepcopy(BOARDS["overview"])
    asks_loki('sum(rate({app="x"} |= "a[b" [$__auto]))')(board)
    assert not {"target-logql-rule"} & {found.rule for found in lint(board)}


def test_a_finding_says_where_and_what() -> None:
    board = copy.deepcopy(BOARDS["overview"])
    board["editable"] = True
    assert [str(found) for found in lint(board)] == [
        "firsttoken / Overview: uneditable-dashboard-rule: editable is not false"
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("llm_memory_limit_bytes", {"B": 1}),
        ("llm_memory_unreclaimable_bytes / llm_memory_limit_bytes", {}),
        ("rate(llm_tokens_total[5m])", {"token": 1, "s": -1}),
        ("increase(llm_tokens_total[5m])", {"token": 1}),
        ("rate(llm_process_cpu_seconds_total[5m])", {}),
        ("rate(llm_cost_usd_total[5m]) / rate(llm_tokens_total[5m]) * 1000",
         {"USD": 1, "token": -1}),
        ("histogram_quantile(0.5, sum by (le) (rate(llm_queue_duration_seconds_bucket[5m])))",
         {"s": 1}),
        ("llm_time_to_first_token_seconds_sum / llm_time_to_first_token_seconds_count", {"s": 1}),
        ("-(llm_memory_limit_bytes)", {"B": 1}),
        ("count(llm_memory_limit_bytes)", {}),
        ("topk(5, llm_memory_limit_bytes) > 0", {"B": 1}),
        ("unheard_of_seconds", {}),
        ("1", {}),
    ],
)  # fmt: skip
def test_the_dimension_follows_the_metrics(query: str, expected: dict[str, int]) -> None:
    assert dict(dimension(parsed(query))) == expected
