"""The active probe: health path and token, its time limit, and what Ollama says is loaded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from router.health.probes import LocalProbe, health_url, model_loaded
from tests.router.conftest import backend

NAME = "qwen2:1.5b-instruct-q4_0"


class Engine:
    """Answers probes as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.token = True
        self.models = [NAME]
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def get(self, url: str) -> tuple[int, bytes]:
        self.asked.append(url)
        if self.error is not None:
            raise self.error
        if self.status == 0:
            await asyncio.Event().wait()
        body = {"models": [{"name": name, "model": name} for name in self.models]}
        return self.status, json.dumps(body).encode()

    async def generate(self, name: str) -> bool:
        self.asked.append(f"token of {name}")
        return self.token

    def probe(self, dialect: str | None = "openai", endpoint: str | None = None) -> LocalProbe:
        asked = backend("local", "http://engine:1", dialect=dialect, model=NAME)
        return LocalProbe(asked, endpoint, 0.05, self.generate, self.get)


@pytest.mark.parametrize(
    ("dialect", "endpoint", "url"),
    [
        ("ollama", None, "http://engine:1/api/tags"),
        ("openai", None, "http://engine:1/v1/models"),
        (None, None, "http://engine:1/v1/models"),
        ("dashscope", None, None),
        ("openai", "http://engine:1/health", "http://engine:1/health"),
    ],
)
def test_what_is_fetched(dialect: str | None, endpoint: str | None, url: str | None) -> None:
    assert health_url(backend("local", "http://engine:1", dialect=dialect), endpoint) == url


async def test_a_probe_is_the_health_path_and_a_token() -> None:
    engine = Engine()
    assert await engine.probe().passes()
    assert engine.asked == ["http://engine:1/v1/models", "token of local"]


async def test_a_green_health_path_over_a_dead_runner_does_not_pass() -> None:
    engine = Engine()
    engine.token = False
    assert not await engine.probe().passes()


@pytest.mark.parametrize("status", [500, 503])
async def test_a_failing_health_path_does_not_pass(status: int) -> None:
    engine = Engine()
    engine.status = status
    assert not await engine.probe().passes()
    assert not await engine.probe().passes(serving=True)
    assert engine.asked == ["http://engine:1/v1/models"] * 2


@pytest.mark.parametrize("status", [401, 404, 405])
async def test_a_server_without_the_path_is_judged_by_its_token(status: int) -> None:
    engine = Engine()
    engine.status = status
    assert await engine.probe().passes()
    engine.token = False
    assert not await engine.probe().passes()


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), OSError("cut off")])
async def test_no_answer_does_not_pass(error: Exception) -> None:
    engine = Engine()
    engine.error = error
    assert not await engine.probe("ollama").passes()


async def test_silence_is_given_up_in_time() -> None:
    engine = Engine()
    engine.status = 0
    assert not await engine.probe().passes()


async def test_a_working_engine_is_not_asked_for_a_token() -> None:
    engine = Engine()
    assert await engine.probe().passes(serving=True)
    assert engine.asked == ["http://engine:1/v1/models"]


async def test_without_a_path_the_token_alone_is_asked_for() -> None:
    engine = Engine()
    assert await engine.probe("dashscope").passes()
    assert engine.asked == ["token of local"]


async def test_ollama_is_asked_what_is_loaded() -> None:
    engine = Engine()
    probe = engine.probe("ollama")
    assert probe.loaded is None
    assert await probe.passes()
    assert engine.asked[-1] == "http://engine:1/api/ps"
    assert probe.loaded is True
    engine.models = []
    await probe.look()
    assert probe.loaded is False
    engine.error = OSError()
    await probe.look()
    assert probe.loaded is None
    openai = engine.probe("openai")
    await openai.look()
    assert openai.loaded is None


@pytest.mark.parametrize(
    ("names", "model", "loaded"),
    [
        ([NAME], NAME, True),
        ([NAME], "qwen2:0.5b", False),
        (["llama3:latest"], "llama3", True),
        (["llama3"], "llama3:latest", True),
        (["hub:5000/me/llama3:latest"], "hub:5000/me/llama3", True),
        ([], NAME, False),
    ],
)
def test_the_loaded_models(names: list[str], model: str, loaded: bool) -> None:
    body = {"models": [{"name": name, "size": 1} for name in names]}
    assert model_loaded(json.dumps(body).encode(), model) is loaded


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"models": 3}', b"{}", b"\xff\xfe", b"{", b'{"error": "no"}']
)
def test_a_body_that_says_nothing(body: bytes) -> None:
    assert model_loaded(body, NAME) is None


def test_odd_entries_are_passed_over() -> None:
    body: dict[str, Any] = {"models": [None, 3, {"name": 4}, {"model": NAME}]}
    assert model_loaded(json.dumps(body).encode(), NAME) is True
