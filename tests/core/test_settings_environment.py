"""Overrides from the environment and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core import settings
from firsttoken.core.errors import UserError
from firsttoken.core.settings.environment import rescale

GUIDE = sorted((Path(__file__).parent / "guide").glob("*.yaml"))


def test_local_endpoint_moves_the_backend_and_its_health_check() -> None:
    environ = {"LOCAL_LLM_ENDPOINT": "http://xiaozhi-local-llm:11434"}
    loaded = settings.load(GUIDE, environ)
    assert loaded.backends()[0].base_url == "http://xiaozhi-local-llm:11434"
    assert loaded.health_check.local_model.endpoint is None
    source = "environment variable LOCAL_LLM_ENDPOINT"
    assert loaded.source_of("llm_routing.local_model.endpoint") == source
    assert loaded.source_of("health_check.local_model.endpoint") == source
    assert loaded.health_check.local_model.interval == 30


def test_local_endpoint_leaves_a_health_check_of_another_server(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("health_check: {local_model: {endpoint: http://probe:1}}", encoding="utf-8")
    loaded = settings.load([*GUIDE, path], {"LOCAL_LLM_ENDPOINT": "http://other:1"})
    assert loaded.health_check.local_model.endpoint == "http://probe:1"
    assert any("another server" in warning for warning in loaded.warnings)


def test_local_priority_rescales_the_others() -> None:
    loaded = settings.load(GUIDE, {"LOCAL_LLM_PRIORITY": "60"})
    assert [backend.priority for backend in loaded.backends()] == [60, 30, 10]
    source = loaded.source_of("llm_routing.remote_models[0].priority")
    assert source.startswith("environment variable LOCAL_LLM_PRIORITY, rescaled from 15 (")
    assert settings.load(GUIDE, {"LOCAL_LLM_PRIORITY": "100"}).backends()[1].priority == 0


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8).filter(sum), st.integers(0, 100))
def test_rescaled_shares_add_up_and_keep_their_order(shares: list[int], total: int) -> None:
    scaled = rescale(shares, total)
    assert sum(scaled) == total
    for share, result in zip(shares, scaled, strict=True):
        assert abs(result - share * total / sum(shares)) < 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LLM_HYBRID_MODE", "maybe", "llm_routing.hybrid_mode: is not a truth value"),
        ("LOCAL_LLM_PRIORITY", "many", "llm_routing.local_model.priority: is not a whole number"),
        ("LOCAL_LLM_PRIORITY", "101", "llm_routing.local_model.priority: is too large"),
        ("LOCAL_LLM_ENDPOINT", "ftp://x", "llm_routing.local_model.endpoint: is no http"),
        ("FIRSTTOKEN__SERVER__PROT", "1", 'server.prot: unknown key; did you mean "port"?'),
        ("FIRSTTOKEN__SERVER", "1", "server: is a section"),
        ("FIRSTTOKEN__SERVER__PORT__X", "1", "server.port: has no keys below it"),
        ("FIRSTTOKEN__SERVER__PORT", "x", "server.port: is not a whole number"),
        ("FIRSTTOKEN__LLM_ROUTING__REMOTE_MODELS", "[]", "llm_routing.remote_models: has no item"),
        (
            "FIRSTTOKEN__LLM_ROUTING__REMOTE_MODELS__9__PRIORITY",
            "1",
            "expected the name of one (qwen_cloud, openai_backup)",
        ),
    ],
)
def test_wrong_variables_are_one_line_that_names_them(name: str, value: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        settings.load(GUIDE, {name: value})
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"environment variable {name}: ")
    assert expected in lines[0]


def test_keys_by_path_take_numbers_text_lists_and_items_by_name() -> None:
    prefix = "FIRSTTOKEN__LLM_ROUTING__"
    environ = {
        f"{prefix}LOCAL_MODEL__TIMEOUT": "3",
        f"{prefix}LOCAL_MODEL__MODEL": "7",
        f"{prefix}LOCAL_MODEL__MODEL_ALIASES": "[a, b]",
        f"{prefix}REMOTE_MODELS__QWEN_CLOUD__PRIORITY": "30",
        f"{prefix}REMOTE_MODELS__1__MODEL": "other",
        f"{prefix}REMOTE_MODELS__1__TRIGGER_CONDITIONS": "['query_complexity > 70%']",
        "FIRSTTOKEN__LOCAL_OPTIMIZATION__MODEL_LOADING__KEEP_ALIVE": "-1",
        "FIRSTTOKEN__SERVER__PORT": "",
    }
    local, qwen, openai = settings.load(GUIDE, environ).backends()
    assert (local.first_token_timeout_s, local.model) == (3.0, "7")
    assert local.model_aliases == ("a", "b")
    assert (qwen.priority, openai.model) == (30, "other")
    assert openai.conditions[0].value == 0.7
    loaded = settings.load(GUIDE, environ)
    assert loaded.local_optimization.model_loading.keep_alive == -1
    assert loaded.server.port == 8080


def test_endpoint_variable_alone_makes_a_local_backend() -> None:
    loaded = settings.load([], {"LOCAL_LLM_ENDPOINT": "http://engine:9/v1"})
    assert loaded.backends()[0].base_url == "http://engine:9"


def test_priority_variable_adds_no_local_backend_to_remotes_alone(tmp_path: Path) -> None:
    path = tmp_path / "remote.yaml"
    path.write_text(
        "llm_routing: {remote_models: [{name: c, endpoint: 'http://h', model: m}]}",
        encoding="utf-8",
    )
    loaded = settings.load([path], {"LOCAL_LLM_PRIORITY": "50"})
    assert [backend.name for backend in loaded.backends()] == ["c"]


def test_command_line_wins_and_its_errors_say_so() -> None:
    overrides = {
        "llm_routing.local_model.endpoint": "http://127.0.0.1:4711",
        "llm_routing.remote_models.qwen_cloud.endpoint": "http://127.0.0.1:4712",
        "llm_routing.remote_models[0].model": "emulated",
    }
    loaded = settings.load(GUIDE, {"LOCAL_LLM_ENDPOINT": "http://other"}, overrides)
    local, qwen, _ = loaded.backends()
    assert (local.base_url, qwen.base_url) == ("http://127.0.0.1:4711", "http://127.0.0.1:4712")
    assert qwen.enabled
    with pytest.raises(UserError, match=r"^command line: server\.port: is too large"):
        settings.load([], {}, {"server.port": 70_000})
    with pytest.raises(UserError, match=r"^command line: server\.prt: unknown key"):
        settings.load([], {}, {"server.prt": 1})
