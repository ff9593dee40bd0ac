"""What the settings let alerts do, and that our own rules ask for nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from firsttoken.core import settings
from firsttoken.core.catalogue import Action
from firsttoken.core.errors import UserError
from router.actions.policy import DEFAULT_LIMITS, Policy
from router.actions.settings import AlertRules, alert_rules

ROOT = Path(__file__).parents[2]


def test_every_rule_with_an_action_may_ask_for_it() -> None:
    rules = YAML(typ="safe").load((ROOT / "dashboards/generated/alerts.yml").read_text())
    asking = [
        (rule["alert"], Action(rule["labels"]["action"]))
        for group in rules["groups"]
        for rule in group["rules"]
        if "action" in rule["labels"]
    ]
    allowed = alert_rules(settings.load(None, {})).policy.allowed
    assert len(asking) >= 5
    assert {action for _, action in asking} == set(Action)
    for name, action in asking:
        assert action in allowed[name]
    assert {(name, action) for name, actions in allowed.items() for action in actions} == set(
        asking
    )


def test_left_out_the_section_is_closed_and_the_packaged_one_says_the_same() -> None:
    assert settings.from_mapping({}).alert_actions == settings.load(None, {}).alert_actions
    rules = alert_rules(settings.from_mapping({}))
    assert not rules.enable
    assert rules.policy.dry_run
    assert rules.policy.limits == DEFAULT_LIMITS
    assert rules == AlertRules(policy=Policy(rules.policy.allowed))


def test_alerts_of_the_users_own_and_the_guides_name_of_an_action() -> None:
    values: dict[str, Any] = {
        "monitoring_metrics": {
            "alerts": [{"metric": "cpu_usage", "threshold": "> 90%", "action": "hybrid_mode"}]
        },
        "alert_actions": {"alerts": {"MyAlert": "restart_service"}},
    }
    allowed = alert_rules(settings.from_mapping(values)).policy.allowed
    assert allowed["MyAlert"] == {Action.RESTART_SERVICE}
    assert allowed["LLMHighCpuUsage"] == {Action.REDUCE_LOCAL_TRAFFIC}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"alerts": {"MyAlert": "reboot"}}, "alert_actions.alerts"),
        ({"alerts": {"My Alert": "restart_service"}}, "alert_actions.alerts"),
        ({"enable": True, "token_env": "ALERT_TOKEN"}, "ALERT_TOKEN is not set"),
        ({"enable": True, "token_file": "/nowhere/token"}, "/nowhere/token cannot be read"),
        ({"stale": 1}, "alert_actions.stale"),
        ({"limits": {"reboot": {}}}, "alert_actions.limits.reboot"),
    ],
)
def test_impossible_settings_are_refused(told: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as found:
        settings.from_mapping({"alert_actions": told})
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_the_token_is_found_and_never_shown(tmp_path: Path) -> None:
    told = {"enable": True, "token_env": "ALERT_TOKEN"}
    secret = "hush-0123456789"
    found = settings.from_mapping({"alert_actions": told}, {"ALERT_TOKEN": secret})
    assert alert_rules(found).token == secret
    rows = [row for row in found.rows() if row[0].startswith("alert_actions.token")]
    assert ("alert_actions.token", "set (from ALERT_TOKEN)", "secret") in rows
    assert secret not in repr((found, alert_rules(found), *found.rows()))
    (tmp_path / "token").write_text(secret + "\n")
    told = {"token_file": str(tmp_path / "token")}
    assert settings.from_mapping({"alert_actions": told}).alert_token() == secret
