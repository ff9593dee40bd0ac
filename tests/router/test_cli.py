"""``firsttoken route``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from firsttoken.cli.route import route

CONFIG = """
llm_routing:
  local_model: {endpoint: "http://127.0.0.1:9", model: small, dialect: openai}
  remote_models:
    - {name: cloud, endpoint: "http://127.0.0.1:10", model: big, dialect: openai}
routing_logic:
  simple_queries: {patterns: ["你好|hello|hi"]}
  complex_queries: {patterns: ["写代码|programming"]}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "hybrid.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return str(path)


def _run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(route)
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_the_decision_is_shown_without_calling_anybody(config: str) -> None:
    shown = _run("帮我写代码", "--config", config).splitlines()
    assert shown[0] == "query class  complex"
    assert shown[1].startswith("complexity   0.")
    assert shown[-2:] == [
        "first        cloud (remote, big): rule_complex",
        "then         local (local, small): failover",
    ]
    shown = _run("who are you", "--system", "Be kind.", "--config", config).splitlines()
    assert shown[0] == "query class  neither simple nor complex"
    assert shown[2] == "prompt       19 characters"
    assert "local_model_confidence < 0.8" in shown[-1]
    assert "none: the answer depends on the moment" in _run("现在几点", "--config", config)


def test_json_and_a_named_model(config: str) -> None:
    told = json.loads(_run("hi", "--config", config, "--model", "big", "--json"))
    assert told["query_class"] == "simple"
    first = told["attempts"][0]
    assert (first["backend"], first["tier"], first["reason"]) == ("cloud", "remote", "named_model")
    assert 0 <= told["complexity"]["score"] <= 1
