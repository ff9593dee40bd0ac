"""Warnings and notes: said when due, silent otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firsttoken.core import settings

GUIDE = sorted((Path(__file__).parent / "guide").glob("*.yaml"))


def remote(**keys: Any) -> dict[str, Any]:
    model = {"name": "c", "endpoint": "http://h", "model": "m", "priority": 20, **keys}
    return {"llm_routing": {"local_model": {"model": "m"}, "remote_models": [model]}}


def test_plain_settings_give_no_warning_and_no_note() -> None:
    loaded = settings.from_mapping({"llm_routing": {"local_model": {"max_tokens": 512}}})
    assert loaded.warnings == ()
    assert loaded.notes == ()


def test_the_guides_file_warns_of_keys_and_context() -> None:
    warnings = settings.load(GUIDE, {}).warnings
    assert len(warnings) == 3
    assert "qwen_cloud is off: QWEN_API_KEY is not set" in warnings[0]
    assert "openai_backup is off: OPENAI_API_KEY is not set" in warnings[1]
    assert "first turn of 3700 tokens" in warnings[2]
    assert "set 5120 or more" in warnings[2]


def test_the_guides_file_is_acted_on_whole() -> None:
    notes = settings.load(GUIDE, {}).notes
    assert [note for note in notes if "planned" in note] == []
    assert any("tuning_recommendations.slow_response[1]: the temperature" in n for n in notes)


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({}, "alert_actions.enable: true"),
        ({"enable": True}, "alert_actions.dry_run: false"),
        ({"enable": True, "dry_run": False}, None),
    ],
)
def test_whether_alerts_are_acted_on(told: dict[str, bool], missing: str | None) -> None:
    alerts = [{"metric": "memory_usage", "threshold": "> 85%", "action": "restart_service"}]
    values = {"monitoring_metrics": {"alerts": alerts}, "alert_actions": told}
    notes = [each for each in settings.from_mapping(values).notes if "about alerts" in each]
    assert len(notes) == (missing is not None)
    assert all(str(missing) in note for note in notes)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            remote(trigger_conditions=["local_model_confidence < 0.7"]),
            "the trigger's value is used",
        ),
        (remote(priority=30), "the priorities add up to 110"),
        (remote(endpoint="http://llm.example.org", api_key_env="KEY"), "without encryption"),
        ({"server": {"host": "0.0.0.0"}}, "anyone who reaches 0.0.0.0"),  # noqa: S104
        ({"health_check": {"local_model": {"endpoint": "http://x:1"}}}, "another server"),
        ({"local_optimization": {"memory": {"mlock": True}}}, "ignored by Ollama"),
        ({"local_optimization": {"memory": {"numa": True}}}, "ignored by Ollama"),
        ({"local_optimization": {"model_loading": {"keep_alive": 0}}}, "unloads at once"),
        ({"local_optimization": {"model_loading": {"num_ctx": 1024}}}, "1024 tokens a slot"),
    ],
)
def test_each_warning(values: dict[str, Any], said: str) -> None:
    warnings = settings.from_mapping(values, {"KEY": "secret-key"}).warnings
    assert len(warnings) == 1
    assert said in warnings[0]
    assert warnings[0].startswith("settings:1: ")
    assert "secret-key" not in warnings[0]


@pytest.mark.parametrize(
    "values",
    [
        remote(trigger_conditions=["local_model_confidence < 80%"]),
        {"server": {"host": "0.0.0.0", "api_keys_env": "KEY"}},  # noqa: S104
        {"local_optimization": {"model_loading": {"num_ctx": 5120}}},
        {"local_optimization": {"memory": {"mlock": False, "numa": False}}},
        {
            "llm_routing": {
                "hybrid_mode": False,
                "remote_models": remote()["llm_routing"]["remote_models"],
            }
        },
    ],
)
def test_no_warning_where_all_is_well(values: dict[str, Any]) -> None:
    assert not [
        w for w in settings.from_mapping(values, {"KEY": "k"}).warnings if "add up" not in w
    ]


def test_notes_say_how_values_are_read() -> None:
    values: dict[str, Any] = remote()
    values["llm_routing"]["hybrid_mode"] = False
    values["local_optimization"] = {"inference": {"batch_size": 8}}
    values["tuning_recommendations"] = {"slow_response": ["降低temperature到0.5"]}
    notes = "\n".join(settings.from_mapping(values).notes)
    for said in ("the smaller of the two", "n_batch", "does not move the first token", "is off"):
        assert said in notes
