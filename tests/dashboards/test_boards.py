"""The boards: what they promise a reader, and that Grafana's own models can read them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import theme
from dashboards.boards import boards, latency
from dashboards.boards.frame import as_json
from dashboards.lint.view import View
from firsttoken.core import slo
from firsttoken.core.catalogue import CATALOGUE
from firsttoken.core.errors import UserError
from firsttoken.core.slo import Slo, Targets

SLO = slo.load()
BOARDS = {board.name: as_json(board) for board in boards(SLO)}


def panels(name: str) -> dict[str, Any]:
    return {panel.title: panel for panel in View(BOARDS[name]).panels}


def values(panel: Any) -> list[float | None]:
    return [step["value"] for step in panel.defaults["thresholds"]["steps"]]


@pytest.mark.parametrize("name", BOARDS)
def test_grafanas_models_read_a_board_and_lose_nothing_of_its_panels(name: str) -> None:
    board = BOARDS[name]
    read = Dashboard.from_json(board)
    again = JSONEncoder(sort_keys=True).encode(read)
    assert len(read.panels or []) == len(board["panels"])
    for panel in board["panels"]:
        assert (
            f'"{panel["title"]}"'.encode("unicode_escape").decode() in again
            or panel["title"] in again
        )
    queries = [query["expr"] for panel in board["panels"] for query in panel.get("targets", [])]
    assert all(query.replace('"', '\\"') in again for query in queries)


@pytest.mark.parametrize("name", BOARDS)
def test_nothing_of_older_grafanas_is_left(name: str) -> None:
    text = str(BOARDS[name])
    for key in (
        "'rows':",
        "sharedCrosshair",
        "__inputs",
        "fieldOptions",
        "xAxis",
        "intervalFactor",
    ):
        assert key not in text
    assert "'null'" not in text


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_asks_only_for_what_is_in_the_catalogue(name: str) -> None:
    text = " ".join(target.query for _, target in View(BOARDS[name]).targets())
    for found in set(re.findall(r"llm_\w+", text)):
        assert found in CATALOGUE or re.sub(r"_(bucket|sum|count)$", "", found) in CATALOGUE


def test_the_first_sentence_stands_beside_the_first_token() -> None:
    shown = panels("latency")["First sentence beside first token, p95"]
    queried = " ".join(target.query for target in shown.targets)
    assert "llm_time_to_first_sentence_seconds_bucket" in queried
    assert "llm_time_to_first_token_seconds_bucket" in queried


def test_uids_are_fixed_and_differ() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        "overview": "firsttoken-overview",
        "latency": "firsttoken-latency",
        "engine": "firsttoken-engine",
        "routing": "firsttoken-routing",
        "experience": "firsttoken-experience",
        "comparison": "firsttoken-comparison",
        "health": "firsttoken-health",
    }


def test_the_overviews_first_row_answers_with_figures() -> None:
    first = [panel for panel in BOARDS["overview"]["panels"] if panel["gridPos"]["y"] <= 1]
    assert [panel["type"] for panel in first] == ["row", *["stat"] * 6]
    assert first[0]["title"] == "Are we meeting the goal?"


def test_limits_are_the_targets_and_the_alerts_thresholds() -> None:
    shown = panels("overview")
    response = SLO.alert("local_model_response_time")
    errors = SLO.alert("local_model_error_rate")
    memory = SLO.alert("memory_usage")
    assert response is not None
    assert errors is not None
    assert memory is not None
    assert values(shown["First token, p95"]) == [None, SLO.ttft_p95_ms / 1000, response.value]
    assert values(shown["Error rate"]) == [None, SLO.error_rate, errors.value]
    assert values(shown["Memory"]) == [None, SLO.memory_share, memory.value]
    assert values(shown["Availability"]) == [None, SLO.availability]


def test_other_targets_make_other_boards() -> None:
    other = as_json(latency.board(Slo(targets=Targets(ttft_p95_ms=300), alerts=SLO.alerts)))
    shown = {panel.title: panel for panel in View(other).panels}
    assert values(shown["Percentiles by tier"])[1] == 0.3
    assert 'le="0.3"' in str(other)
    assert "300 ms" in shown["Percentiles by tier"].description


def test_a_target_between_two_buckets_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"no bucket ends at 0\.42 s.*expected one of.*0\.4"):
        boards(Slo(targets=Targets(ttft_p95_ms=420)))


def test_one_figure_is_asked_for_as_it_is_now() -> None:
    for board in BOARDS.values():
        for panel in View(board).panels:
            if panel.type == "stat":
                assert all(target.json["instant"] for target in panel.targets)
                assert panel.json["interval"] in ("5m", "1h")


def test_quantiles_of_one_tier_differ_in_lightness_alone() -> None:
    overrides = theme.by_quantile(theme.QUANTILES, {"local": theme.LOCAL})
    colours = [each["properties"][0]["value"]["fixedColor"] for each in overrides]
    assert colours[1] == theme.LOCAL
    brightness = [sum(int(colour[at : at + 2], 16) for at in (1, 3, 5)) for colour in colours]
    assert brightness == sorted(brightness, reverse=True)
    assert len(set(colours)) == 3


def test_a_low_value_can_be_the_bad_one() -> None:
    steps = theme.Limits(warn=0.99, alarm=0.95, low_is_bad=True).steps()
    assert [step["value"] for step in steps] == [None, 0.95, 0.99]
    assert [step["color"] for step in steps] == [theme.ERROR, theme.WARN, theme.GOOD]


def test_boards_mark_alerts_deploys_load_tests_and_actions() -> None:
    marks = {each["name"]: each["expr"] for each in BOARDS["latency"]["annotations"]["list"]}
    assert set(marks) == {"Alerts", "Deploys", "Load tests", "Actions"}
    assert 'alertstate="firing"' in marks["Alerts"]
    assert "llm_build_info" in marks["Deploys"]
    assert "llm_load_test_run_info" in marks["Load tests"]
    assert "llm_alert_actions_total" in marks["Actions"]


def test_the_comparison_shifts_every_earlier_query() -> None:
    targets = [target for _, target in View(BOARDS["comparison"]).targets()]
    earlier = [each for each in targets if "earlier" in each.json["legendFormat"]]
    assert len(earlier) == len(targets) / 2
    for target in earlier:
        assert target.query.count("offset $earlier") == target.query.count("[$__rate_interval]")
