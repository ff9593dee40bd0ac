"""The active probe: health path and token, its time limit, and what Ollama says is loaded."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from firsttoken.engines.ollama import model_loaded
from router.health.probes import LocalProbe, health_url
from tests.router.conftest import backend

NAME = "qwen2:1.5b-instruct-q4_0"
LOAD_S = 30.0


class Engine:
    """Answers probes as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.token = True
        self.models = [NAME]
        self.error: Exception | None = None
        self.loads: asyncio.Event | None = None
        """A token comes only when this is set: the model has to be loaded first."""
        self.given_up = 0
        self.asked: list[str] = []
        self.limits: list[float] = []
        self.spoken = "openai"

    async def get(self, url: str) -> tuple[int, bytes]:
        self.asked.append(url)
        if self.error is not None:
            raise self.error
        if self.status == 0:
            await asyncio.Event().wait()
        body = {"models": [{"name": name, "model": name} for name in self.models]}
        return self.status, json.dumps(body).encode()

    async def generate(self, name: str, seconds: float) -> bool:
        self.asked.append(f"token of {name}")
        self.limits.append(seconds)
        if self.loads is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self.loads.wait()
            except BaseException:
                self.given_up += 1
                raise
            self.models = [NAME]
        return self.token

    async def meet(self) -> None:
        self.asked.append("what it is")

    def probe(self, dialect: str = "openai", endpoint: str | None = None) -> LocalProbe:
        asked = backend("local", "http://engine:1", dialect=dialect, model=NAME)
        self.spoken = dialect
        return LocalProbe(
            asked, endpoint, 0.05, LOAD_S, self.generate, self.get, lambda: self.spoken, self.meet
        )


@pytest.mark.parametrize(
    ("dialect", "endpoint", "url"),
    [
        ("ollama", None, "http://engine:1/api/tags"),
        ("openai", None, "http://engine:1/v1/models"),
        ("dashscope", None, None),
        ("openai", "http://engine:1/health", "http://engine:1/health"),
    ],
)
def test_what_is_fetched(dialect: str, endpoint: str | None, url: str | None) -> None:
    assert health_url("http://engine:1", dialect, endpoint) == url


async def test_a_probe_is_the_health_path_and_a_token() -> None:
    engine = Engine()
    assert await engine.probe().passes()
    assert engine.asked == ["http://engine:1/v1/models", "what it is", "token of local"]
    assert engine.limits == [0.05]


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
    assert engine.asked == ["http://engine:1/v1/models", "what it is"]


async def test_without_a_path_the_token_alone_is_asked_for() -> None:
    engine = Engine()
    assert await engine.probe("dashscope").passes()
    assert engine.asked == ["what it is", "token of local"]


async def test_ollama_is_asked_what_is_loaded_before_it_is_asked_for_a_token() -> None:
    engine = Engine()
    probe = engine.probe("ollama")
    assert probe.loaded is None
    assert await probe.passes()
    base = "http://engine:1"
    assert engine.asked == [
        *(f"{base}/api/tags", "what it is", f"{base}/api/ps", "token of local"),
    ]
    assert probe.loaded is True
    engine.token = False
    assert await probe.passes() is False
    assert probe.loaded is True
    openai = engine.probe("openai")
    await openai.passes()
    assert openai.loaded is None


async def test_an_ollama_found_out_late_is_probed_as_one() -> None:
    engine = Engine()
    probe = engine.probe("openai")
    assert await probe.passes()
    engine.spoken = "ollama"
    assert await probe.passes()
    assert "http://engine:1/api/tags" in engine.asked
    assert probe.loaded is True


async def test_a_cold_model_is_loaded_with_patience_once_and_that_is_no_failure() -> None:
    engine = Engine()
    engine.models, engine.loads = [], asyncio.Event()
    probe = engine.probe("ollama")
    assert await probe.passes() is None
    assert probe.loaded is False
    assert await probe.passes(serving=True) is None
    # Ollama lists a model as soon as its loading begins.
    engine.models = [NAME]
    assert await probe.passes() is None
    loading = asyncio.create_task(probe.load())
    assert await probe.ready(0.01) is False  # who does not wait any longer breaks nothing off
    assert engine.limits == [LOAD_S]
    engine.loads.set()
    assert await loading is True
    assert await probe.passes() is True
    assert engine.limits == [LOAD_S, 0.05]
    assert engine.given_up == 0
    await probe.aclose()


async def test_a_load_that_failed_is_a_failed_probe_and_the_next_one_loads_again() -> None:
    engine = Engine()
    engine.models, engine.token = [], False
    probe = engine.probe("ollama")
    found = []
    for _ in range(4):
        found.append(await probe.passes())
        await asyncio.sleep(0)
    assert found == [None, False, None, False]
    assert engine.limits == [LOAD_S] * 2


async def test_a_model_under_another_name_passes_by_its_token() -> None:
    engine = Engine()
    engine.models = ["qwen2:latest"]
    probe = engine.probe("ollama")
    assert await probe.passes() is None
    await asyncio.sleep(0)
    assert await probe.passes() is True


async def test_a_server_that_dies_while_it_loads_does_not_pass() -> None:
    engine = Engine()
    engine.models, engine.loads = [], asyncio.Event()
    probe = engine.probe("ollama")
    assert await probe.passes() is None
    await asyncio.sleep(0)
    engine.error = ConnectionRefusedError()
    assert await probe.passes() is False
    assert await probe.ready(1.0) is False
    await probe.aclose()
    assert engine.given_up == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_readiness_is_a_patient_token() -> None:
    engine = Engine()
    probe = engine.probe()
    assert await probe.ready(5.0)
    assert await probe.ready(5.0)
    engine.status = 503
    assert not await probe.ready(5.0)
    assert engine.limits == [LOAD_S] * 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"models": 3}', b"{}", b"\xff\xfe", b"{", b'{"error": "no"}']
)
async def test_a_body_that_says_nothing(body: bytes) -> None:
    engine = Engine()
    probe = engine.probe("ollama")
    probe.loaded = False

    async def get(url: str) -> tuple[int, bytes]:
        return 200, body

    probe.get = get
    assert await probe.passes() is True
    assert probe.loaded is None


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
    assert model_loaded(body, model) is loaded


def test_odd_entries_are_passed_over() -> None:
    body: dict[str, Any] = {"models": [None, 3, {"name": 4}, {"model": NAME}]}
    assert model_loaded(body, NAME) is True
