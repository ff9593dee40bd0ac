"""Every alert fires, stays quiet just below each threshold, ends, outlives a restart, and says
nothing without traffic or series; each threshold that is moved by a fifth is found out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboards.rules.model import Alert
from dashboards.rules.recording import GUIDE_NAMES
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from tests.dashboards.rules import promtool
from tests.dashboards.rules.judging import (
    Trial,
    every_alert,
    other_cases,
    packaged,
    shipped_files,
    thresholds_cases,
    trials,
    written,
)
from tests.dashboards.rules.subjects import (
    DEFAULT_SUBJECTS,
    EVERY_METRIC,
    WRITTEN_SUBJECTS,
    Subject,
    attempts,
)

# A number beside an operator: not the 0 of a guard against an empty whole, nor the 1 of a flag.
THRESHOLD = re.compile(r"(?P<before>(?:>=|<=|>|<) )(?P<value>(?!0\b(?!\.))[0-9.]+)")

SETS: dict[str, tuple[Callable[[], tuple[Slo, Settings]], tuple[Subject, ...]]] = {
    "packaged": (packaged, DEFAULT_SUBJECTS),
    "written": (lambda: written(EVERY_METRIC), WRITTEN_SUBJECTS),
}


def _trials(name: str) -> list[Trial]:
    configured, subjects = SETS[name]
    return trials(every_alert(*configured()), subjects)


def _guide_rules(folder: Path) -> str:
    """Write the recordings that alerts on the guide's figures read; return the name."""
    every = promtool.read(shipped_files()["recording.yml"])
    guide = [group for group in every["groups"] if group["name"] == "firsttoken-guide"]
    return promtool.write(folder / "recording.yml", {"groups": guide}).name


def _needed(trial: Trial, recording: str) -> list[str]:
    named = any(name in trial.alert.query.text for name in GUIDE_NAMES)
    return [recording] if named else []


def _mutants(trial: Trial) -> dict[str, str]:
    """Return every query with one threshold moved by a fifth, by a name of its own."""
    text = trial.alert.query.text
    found = list(THRESHOLD.finditer(text))
    return {
        f"{trial.alert.name}_{trial.subject.window}_{index}_{'up' if factor > 1 else 'down'}": (
            f"{text[: each.start('value')]}{float(each['value']) * factor:.10g}"
            f"{text[each.end('value') :]}"
        )
        for index, each in enumerate(found)
        for factor in (0.8, 1.2)
    }


def test_every_alert_has_a_subject() -> None:
    """No rule is left untried, whether it is shipped or comes from the settings."""
    for configured, subjects in SETS.values():
        tried = {(each.alert, each.window) for each in subjects}
        made = {(a.name, a.labels.get("window", "")) for a in every_alert(*configured())}
        others = {(each.alert, each.window) for each in DEFAULT_SUBJECTS[3:]}
        assert made - others == tried - others


@pytest.mark.parametrize("name", SETS)
def test_alerts_fire_stay_quiet_and_end(name: str, tmp_path: Path) -> None:
    recording = _guide_rules(tmp_path)
    files = []
    for index, trial in enumerate(_trials(name)):
        rule = trial.rule(trial.alert.name, trial.alert.query.text)
        group = {"groups": [{"name": "g", "rules": [rule]}]}
        rules = promtool.write(tmp_path / f"rules{index}.yml", group).name
        cases = [*thresholds_cases(trial, [trial.alert.name]), *other_cases(trial)]
        content = promtool.test_file([*_needed(trial, recording), rules], cases)
        files.append(promtool.write(tmp_path / f"test{index}.yml", content))
    promtool.run("promtool", "test", "rules", *files)


@pytest.mark.parametrize("name", SETS)
def test_each_threshold_moved_by_a_fifth_is_found_out(name: str, tmp_path: Path) -> None:
    recording = _guide_rules(tmp_path)
    files, expected = [], set()
    for index, trial in enumerate(_trials(name)):
        mutants = _mutants(trial)
        if not mutants:
            continue
        # The rule as it is must pass, or whatever fails the mutants would prove nothing.
        mutants[f"{trial.alert.name}_{index}_control"] = trial.alert.query.text
        group = [trial.rule(mutant, query) for mutant, query in mutants.items()]
        rules = promtool.write(
            tmp_path / f"rules{index}.yml", {"groups": [{"name": "g", "rules": group}]}
        )
        cases = list(thresholds_cases(trial, list(mutants)))
        content = promtool.test_file([*_needed(trial, recording), rules.name], cases)
        files.append(promtool.write(tmp_path / f"test{index}.yml", content))
        expected |= {mutant for mutant in mutants if not mutant.endswith("_control")}
    said = promtool.run("promtool", "test", "rules", *files, fails=True)
    assert promtool.alerts_that_failed(said) == expected
    assert len(expected) >= 2 * len(files)


def test_thresholds_are_found_in_a_query() -> None:
    text = "(a > 0.05) and (b / (c > 0)) >= 20 and d < 3.5 and e == 1"
    assert [each["value"] for each in THRESHOLD.finditer(text)] == ["0.05", "20", "3.5"]


def _settings_alert(slo: Slo, settings: Settings, name: str) -> Alert:
    return next(each for each in every_alert(slo, settings) if each.name == name)


@pytest.mark.parametrize(
    ("entry", "name", "threshold", "action"),
    [
        (EVERY_METRIC[0], "LLMHighLocalResponseTime", "> 0.5", "investigate_performance"),
        (EVERY_METRIC[2], "LLMHighLocalErrorRate", ">= 0.1", None),
        (
            ("local_model_error_rate", "> 7%", "switch_to_remote"),
            "LLMHighLocalErrorRate",
            "> 0.07",
            "switch_to_remote",
        ),
        (
            ("memory_usage", ">= 0.9", "restart_service"),
            "LLMHighMemoryUsage",
            ">= 0.9",
            "restart_service",
        ),
    ],
)
def test_operator_threshold_and_action_are_those_of_the_settings(
    entry: tuple[str, str, str], name: str, threshold: str, action: str | None
) -> None:
    alert = _settings_alert(*written([entry]), name)
    assert f"{entry[0]} {threshold}" in alert.query.text
    assert alert.action == action


def test_errors_that_end_because_traffic_left_do_not_end_the_alert_at_once(tmp_path: Path) -> None:
    """The trap: the local engine fails, traffic is moved away, and the share of failures has no
    value any more although nothing is repaired. The alert alone cannot tell; it stays on for five
    minutes, and what closes the circuit is a probe, never the end of the alert."""
    trial = next(each for each in _trials("packaged") if each.alert.name == "LLMHighLocalErrorRate")
    rule = trial.rule(trial.alert.name, trial.alert.query.text)
    at_once = {key: value for key, value in rule.items() if key != "keep_firing_for"}
    group = [rule, {**at_once, "alert": "WithoutKeeping"}]
    rules = promtool.write(tmp_path / "rules.yml", {"groups": [{"name": "g", "rules": group}]})
    idle = {name: promtool.Rate(0) for name in attempts(1, 1) if "attempts" in name}
    failing = promtool.Phase(11, attempts(60, 0.5))
    gone = promtool.Phase(30, {**attempts(0, 0), **idle})
    labels = trial.labels()
    case = {
        "input_series": promtool.input_series([failing, gone]),
        "alert_rule_test": [
            promtool.alert_check("WithoutKeeping", 10, [labels]),
            promtool.alert_check(trial.alert.name, 10, [labels]),
            promtool.alert_check("WithoutKeeping", 16, []),
            promtool.alert_check(trial.alert.name, 16, [labels]),
            promtool.alert_check(trial.alert.name, 30, []),
        ],
    }
    content = promtool.test_file([_guide_rules(tmp_path), rules.name], [case])
    promtool.run("promtool", "test", "rules", promtool.write(tmp_path / "test.yml", content))


def test_no_alert_on_an_action_asks_for_an_action() -> None:
    """The label of the metric is renamed: otherwise the loop would be asked to repeat what has
    failed, again and again."""
    failed = next(each for each in every_alert(*packaged()) if each.name == "LLMActionFailed")
    assert failed.action is None
    assert "by (failed_action)" in failed.query.text


def test_annotations_are_filled_in(tmp_path: Path) -> None:
    """Of one alert to the letter; promtool checks the templates of all."""
    for name in ("recording.yml", "alerts.yml"):
        (tmp_path / name).write_bytes(shipped_files()[name])
    trial = next(each for each in _trials("packaged") if each.alert.name == "LLMHighMemoryUsage")
    case = next(thresholds_cases(trial, [trial.alert.name]))
    case["alert_rule_test"][0]["exp_alerts"][0]["exp_annotations"] = {
        "summary": "Share of the memory limit that cannot be reclaimed is at 90%.",
        "description": "memory_usage is at 90%; the settings call for restart_service when it is "
        "> 85%.",
        "runbook_url": "docs/runbooks/llmhighmemoryusage.md",
        "dashboard_url": "http://localhost:3000/d/firsttoken-engine",
    }
    content = promtool.test_file(["recording.yml", "alerts.yml"], [case])
    promtool.run("promtool", "test", "rules", promtool.write(tmp_path / "test.yml", content))
