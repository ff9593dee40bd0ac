"""Who is told of what: Alertmanager's own tool reads the configuration and finds the routes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboards.rules import emit
from dashboards.rules.alertmanager import config
from dashboards.rules.receivers import EVERY_RECEIVER, Receivers
from firsttoken.core.catalogue import Action
from tests.dashboards.rules import promtool
from tests.dashboards.rules.judging import every_alert, packaged, shipped_files
from tests.dashboards.rules.subjects import WRITTEN_SUBJECTS

CONFIGS = ("alertmanager.yml", "alertmanager-examples.yml")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    for name, content in shipped_files().items():
        (folder / name).write_bytes(content)
    return folder


def _told(folder: Path, name: str, **labels: str) -> list[str]:
    pairs = [f"{label}={value}" for label, value in labels.items()]
    routes = ("config", "routes", "test", f"--config.file={folder / name}")
    return promtool.run("amtool", *routes, *pairs).splitlines()[0].split(",")


def test_the_tools_find_no_fault(folder: Path) -> None:
    promtool.run("promtool", "check", "config", folder / "prometheus.yml")
    rules = [folder / "recording.yml", folder / "alerts.yml"]
    promtool.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules)
    promtool.run("amtool", "check-config", *(folder / name for name in CONFIGS))


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_people_are_told_by_severity(folder: Path, severity: str) -> None:
    assert _told(folder, CONFIGS[0], alertname="A", severity=severity) == ["people"]


@pytest.mark.parametrize("action", Action)
def test_the_loop_is_asked_for_each_action_and_people_are_told(folder: Path, action: str) -> None:
    for name in CONFIGS:
        labels = {"alertname": "A", "severity": "critical", "action": action}
        assert _told(folder, name, **labels) == ["loop", "people"]


def test_an_action_that_is_not_on_the_list_asks_the_loop_for_nothing(folder: Path) -> None:
    labels = {"alertname": "A", "severity": "critical", "action": "format_disk"}
    assert _told(folder, CONFIGS[0], **labels) == ["people"]


def test_the_watchdog_and_a_load_test_disturb_nobody(folder: Path) -> None:
    assert _told(folder, CONFIGS[0], alertname="Watchdog", severity="none") == ["heartbeat"]
    assert _told(folder, CONFIGS[0], alertname="LLMLoadTestRunning", severity="none") == ["nobody"]


def test_what_fits_nowhere_reaches_people(folder: Path) -> None:
    assert _told(folder, CONFIGS[0], alertname="B") == ["people"]


def test_only_alerts_that_exist_inhibit_or_are_inhibited() -> None:
    names = {each.name for each in every_alert(*packaged())}
    names |= {each.alert for each in WRITTEN_SUBJECTS}
    for rule in config(Receivers())["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            found = re.fullmatch(r'alertname=~?"([\w|]+)"', matcher)
            assert found is None or set(found[1].split("|")) <= names


def test_what_inhibits_by_backend_bears_a_backend() -> None:
    """Two labels that are both missing are equal to Alertmanager, and would inhibit too much."""
    bearing = {each.name for each in every_alert(*packaged()) if each.backend}
    bearing |= {"LLMLocalBackendDown", "LLMFallbackStorm", "LLMBreakerFlapping"}
    bearing |= {"LLMLowLocalThroughput", "LLMLocalRatioOffTarget"}
    for rule in config(Receivers())["inhibit_rules"]:
        if rule.get("equal") != ["backend"]:
            continue
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            assert set(matcher.split('"')[1].split("|")) <= bearing


def test_secrets_are_read_from_files() -> None:
    text = shipped_files()["alertmanager.yml"].decode()
    assert "credentials_file: /run/secrets/alert_token" in text
    assert "credentials:" not in text
    assert "WECOM_SECRET" not in repr(EVERY_RECEIVER)


def test_everybody_can_be_left_out() -> None:
    content = config(Receivers(loop=None))
    assert [each["name"] for each in content["receivers"]] == ["people", "heartbeat", "nobody"]
    assert "loop" not in emit.as_yaml(content).decode()


def test_hours_of_load_tests_keep_the_loop_still() -> None:
    routes = config(EVERY_RECEIVER)["route"]["routes"]
    assert [route.get("mute_time_intervals") for route in routes] == [
        None,
        None,
        ["load-tests"],
        None,
        None,
    ]
