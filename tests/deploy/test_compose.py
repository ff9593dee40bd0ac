"""The Compose files: valid, as the deployment guide names things, closed, pinned."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core.settings import load
from router.config import from_settings
from tests.deploy.compose import OURS, ROOT, XIAOZHI, merge, read, services

FILES = services(read(OURS))
PULLED = {name: each for name, each in FILES.items() if not each["image"].startswith("firsttoken")}
PUBLISHED = {name: each["ports"] for name, each in FILES.items() if "ports" in each}

UPSTREAM: dict[str, Any] = {
    "services": {
        "xiaozhi-esp32-server": {
            "image": "example.org/xiaozhi-esp32-server:0.9.6",
            "container_name": "xiaozhi-esp32-server",
            "ports": ["8000:8000", "8003:8003"],
            "environment": ["TZ=Asia/Shanghai"],
            "volumes": ["./data:/opt/xiaozhi-esp32-server/data"],
        },
        "xiaozhi-esp32-server-web": {
            "image": "example.org/xiaozhi-esp32-server:web",
            "ports": ["8002:8002"],
        },
    }
}
"""What matters of the voice server's own Compose file: its names and its ports."""


def check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_valid_by_the_published_schema_alone_and_merged(tmp_path: Path) -> None:
    merged = tmp_path / "merged.json"
    everything = merge(merge(UPSTREAM, read(OURS)), read(XIAOZHI))
    merged.write_text(json.dumps(everything))
    filled = tmp_path / "filled.json"
    filled.write_text(json.dumps(read(OURS)))
    for path in (OURS, XIAOZHI, filled, merged):
        done = check(path)
        assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"services": {"router": {"imagee": "x"}}}))
    assert check(broken).returncode != 0


def test_engine_is_as_the_guide_has_it() -> None:
    engine = FILES["local-llm"]
    assert engine["container_name"] == "xiaozhi-local-llm"
    assert "./models:/root/.ollama" in engine["volumes"]
    assert engine["restart"] == "unless-stopped"
    assert engine["deploy"]["resources"] == {
        "limits": {"cpus": "2.0", "memory": "2G"},
        "reservations": {"cpus": "1.0", "memory": "1.5G"},
    }
    told = engine["environment"]
    assert told["OLLAMA_HOST"] == "0.0.0.0"  # noqa: S104 - the guide's, inside the container
    assert told["OLLAMA_MODELS"] == "/root/.ollama/models"
    assert told["OLLAMA_KEEP_ALIVE"] == "24h"
    assert int(told["OLLAMA_NUM_PARALLEL"]) > 1
    assert "command" not in engine, "the image's own entrypoint serves"
    assert "xiaozhi-network" in engine["networks"]
    assert read(OURS)["networks"]["xiaozhi-network"]["name"] == "xiaozhi-network"


@pytest.mark.parametrize(
    "variables",
    [{}, {"OLLAMA_NUM_PARALLEL": "12", "LOCAL_LLM_CONTEXT": "5120", "LOCAL_LLM_THREADS": "4"}],
)
def test_engine_router_exporter_and_health_check_are_told_the_same(
    variables: dict[str, str],
) -> None:
    found = services(read(OURS, variables))
    engine, router = found["local-llm"]["environment"], found["router"]["environment"]
    environ = {key: str(value) for key, value in router.items()}
    settings = load([ROOT / "config" / "hybrid.yaml"], environ)
    config = from_settings(settings)
    (local,) = config.rules.backends
    assert local.base_url == "http://xiaozhi-local-llm:11434"
    assert local.dialect == "ollama"
    assert local.model == engine["LOCAL_LLM_MODEL"]
    assert str(local.slots) == str(engine["OLLAMA_NUM_PARALLEL"])
    loading = dict(config.options[local.name].loading)
    assert json.loads(f"{{{engine['OLLAMA_TOKEN_OPTIONS']}}}") == loading
    assert str(loading["num_ctx"]) == str(engine["OLLAMA_CONTEXT_LENGTH"])
    pull = found["local-llm-pull"]["environment"]
    assert pull["OLLAMA_TOKEN_OPTIONS"] == engine["OLLAMA_TOKEN_OPTIONS"]
    assert found["exporter"]["environment"].items() <= router.items()


def test_threads_do_not_pass_the_cpu_limit() -> None:
    threads = FILES["router"]["environment"][
        "FIRSTTOKEN__LOCAL_OPTIMIZATION__INFERENCE__NUM_THREAD"
    ]
    assert float(threads) <= float(FILES["local-llm"]["deploy"]["resources"]["limits"]["cpus"])


def test_router_settings_are_valid_together(tmp_path: Path) -> None:
    for name in ("api_keys", "alert_token"):
        (tmp_path / name).write_text("a" * 48)
    environ = {key: str(value) for key, value in FILES["router"]["environment"].items()}
    environ |= {
        "FIRSTTOKEN__SERVER__API_KEYS_FILE": str(tmp_path / "api_keys"),
        "FIRSTTOKEN__ALERT_ACTIONS__TOKEN_FILE": str(tmp_path / "alert_token"),
    }
    settings = load([ROOT / "config/hybrid.yaml", ROOT / "config/compose/router.yaml"], environ)
    assert settings.server.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert settings.client_keys() == ("a" * 48,)
    assert settings.recovery.adapter == "ollama"
    assert settings.alert_actions.enable
    assert settings.alert_actions.dry_run, "nothing is done until a person turns it on"


def test_published_ports_are_on_loopback_and_no_two_clash() -> None:
    everything = merge(merge(UPSTREAM, read(OURS)), read(XIAOZHI))
    numbers = []
    for name, service in services(everything).items():
        for port in service.get("ports", ()):
            host, published, _ = ("", *port.split(":"))[-3:]
            numbers.append(published)
            assert host == "127.0.0.1" or name not in FILES, f"{name}: {port}"
    assert len(numbers) == len(set(numbers))
    assert set(PUBLISHED) == {
        "local-llm",
        "router",
        "prometheus",
        "alertmanager",
        "grafana",
        "load-master",
    }
    opened = services(read(OURS, {"FIRSTTOKEN_BIND": "192.0.2.1"}))
    assert opened["router"]["ports"] == ["192.0.2.1:8080:8080"]


def test_images_are_pinned() -> None:
    for name, service in FILES.items():
        _, _, tag = service["image"].rpartition(":")
        assert re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+", tag), f"{name}: {service['image']}"
    assert "version" not in read(OURS), "obsolete"


def test_every_service_is_closed() -> None:
    for name, service in FILES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert not service.get("privileged"), name
        assert not any("docker.sock" in str(each) for each in service.get("volumes", ())), name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service.get("pid") in {None, "service:local-llm"}, name
    assert [name for name, each in FILES.items() if "cap_add" in each] == ["local-llm"]


def test_secrets_are_files_and_none_is_written_down() -> None:
    content = read(OURS)
    for name, secret in content["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    for path in (OURS, XIAOZHI, ROOT / "Dockerfile", *(ROOT / "config/compose").iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?i)(password|token|key)\w*[:=] *['\"]?[0-9a-f]{16,}", text), path
        assert "sk-" not in text
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/secrets/", "/models/", ".env"} <= set(ignored)
    for service in FILES.values():
        for name in service.get("secrets", ()):
            assert name in content["secrets"]


def test_every_mounted_file_exists() -> None:
    names = read(OURS)["volumes"].keys()
    for name, service in FILES.items():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            if not source.startswith("."):
                assert source in names, f"{name}: {volume}"
                continue
            if source != "./models":  # made by Docker
                assert (ROOT / source).exists(), f"{name}: {volume}"
                assert mode == ["ro"], f"{name}: {volume}"
            assert target.startswith("/")
    for path in ("config/hybrid.yaml", "config/compose/router.yaml", "config/ollama/token.sh"):
        assert (ROOT / path).is_file()
    elsewhere = services(read(OURS, {"FIRSTTOKEN_DIR": "/srv/firsttoken"}))
    assert elsewhere["router"]["build"] == "/srv/firsttoken"
    assert all(
        not volume.startswith("./")
        for each in elsewhere.values()
        for volume in each.get("volumes", ())
    )


def test_start_conditions() -> None:
    needs = {
        name: {other: each["condition"] for other, each in service.get("depends_on", {}).items()}
        for name, service in FILES.items()
    }
    started, healthy = "service_started", "service_healthy"
    # Healthy means that a token came, which takes the model: who brings it must not wait for that.
    assert needs["local-llm-pull"] == {"local-llm": started}
    assert needs["router"] == {"local-llm": started}, "the cloud serves meanwhile"
    assert needs["grafana"] == {"prometheus": healthy}
    assert needs["load-master"] == {"router": healthy}
    assert needs["load-worker"] == {"load-master": healthy}
    for name, others in needs.items():
        for other, condition in others.items():
            if condition == healthy:
                checked = FILES[other].get("healthcheck", {}).get("test")
                assert checked or other == "router", f"{name}: {other}"  # the image's own


def test_one_shot_and_optional_services() -> None:
    assert FILES["local-llm-pull"]["restart"] == "no"
    assert {name for name, each in FILES.items() if each.get("profiles") == ["load"]} == {
        "load-master",
        "load-worker",
    }
    assert FILES["load-worker"]["deploy"]["replicas"] == 2


def test_voice_server_gets_the_guides_variables_and_keeps_its_own() -> None:
    everything = merge(merge(UPSTREAM, read(OURS)), read(XIAOZHI))
    server = services(everything)["xiaozhi-esp32-server"]
    assert server["environment"] == {
        "TZ": "Asia/Shanghai",
        "LOCAL_LLM_ENDPOINT": "http://xiaozhi-local-llm:11434",
        "LLM_HYBRID_MODE": "true",
        "LOCAL_LLM_PRIORITY": "80",
    }
    assert server["ports"] == ["8000:8000", "8003:8003"]
    assert set(server["networks"]) == {"default", "xiaozhi-network"}
    assert server["depends_on"] == {"router": {"condition": "service_healthy"}}
    assert "8000" not in str(PUBLISHED)
    assert not FILES.keys() & UPSTREAM["services"].keys()


def test_health_checks_are_bounded() -> None:
    seconds = {"s": 1, "m": 60}
    for name, service in FILES.items():
        told = service.get("healthcheck", {})
        if not told or told.get("disable"):
            continue
        assert told["test"][0] == "CMD", f"{name}: no shell"
        assert int(told["timeout"][:-1]) * seconds[told["timeout"][-1]] <= 30, name
    engine = FILES["local-llm"]["healthcheck"]
    assert int(engine["test"][-1]) < int(engine["timeout"].removesuffix("s"))
    assert set(PULLED) == {"local-llm", "local-llm-pull", "prometheus", "alertmanager", "grafana"}
