"""New settings while the router serves: in force as a whole, or not at all."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from router import __main__ as main
from router.app import Router, _reload_quietly
from router.config import RouterConfig
from router.health.breaker import BreakerRules
from tests.router.conftest import NO_CERTIFICATES, chat
from tests.router.official import start_router
from tests.router.scripted import Call as SimCall
from tests.router.scripted import Fail, Script, SimTransport
from tests.router.simulation import config_of, sim_backend
from tests.router.upstream import (
    DONE,
    FINISH,
    Call,
    Upstream,
    answer,
    delta,
    silent,
    then_silent,
)

EXACT = {"local_cache": {"enable": True}}


class Stage:
    """A router that runs, its settings file, and two backends that settings may name."""

    def __init__(self, path: Path, near: Upstream, far: Upstream) -> None:
        self.path = path
        self.near = near
        self.far = far
        self.child: Child
        self.http: httpx.AsyncClient
        self.seen = 0
        """Decisions of the tests before."""

    async def connect(self, child: Child, stack: AsyncExitStack) -> None:
        """Talk to a router that runs."""
        self.child = child
        self.http = httpx.AsyncClient(base_url=child.url, timeout=10, verify=NO_CERTIFICATES)
        await stack.enter_async_context(self.http)

    def write(
        self, *, remote: bool = False, timeout: float = 5.0, local: str = "near", **sections: Any
    ) -> None:
        """Write the settings file."""
        near = {"dialect": "openai", "model": "small", "slots": 4, "timeout": timeout}
        far = {"name": "cloud", "endpoint": self.far.url, "dialect": "openai", "model": "large"}
        endpoint = {"near": self.near.url, "far": self.far.url}[local]
        settings: dict[str, Any] = {
            "llm_routing": {
                "local_model": {"endpoint": endpoint, **near},
                "remote_models": [far] if remote else [],
            },
            "local_optimization": {"model_loading": {"preload": False}},
            # Nobody answers there, so that the backends are asked by the tests alone.
            "health_check": {"local_model": {"endpoint": "http://127.0.0.1:9"}},
            "hedging": {"enable": False},
            "confidence": {"tokens": 0},
        }
        self.path.write_text(json.dumps(settings | sections))

    async def ask(self, text: str = "tell me more", **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", None)
        body = chat(text, **fields)
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def reload(self, status: int = 200, key: str = "") -> Any:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        reply = await self.http.post("/-/reload", headers=headers)
        assert reply.status_code == status
        return reply.json()

    async def models(self) -> list[str]:
        listed = (await self.http.get("/v1/models")).json()
        return [model["id"] for model in listed["data"]]

    async def decisions(self) -> list[dict[str, Any]]:
        reply = await self.http.get("/debug/decisions", params={"after": self.seen})
        found: list[dict[str, Any]] = reply.json()["decisions"]
        return found

    async def until_models(self, names: list[str]) -> None:
        async with asyncio.timeout(5):
            while await self.models() != names:
                pass


Begin = Callable[..., Any]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """One router for the whole module, and its settings file; each test begins with a reload."""
    path = tmp_path_factory.mktemp("router") / "hybrid.yaml"
    path.write_text("llm_routing: {local_model: {endpoint: 'http://127.0.0.1:9'}}\n")
    with start_router(path) as child:
        yield child, path


@pytest.fixture
async def begin(running: tuple[Child, Path]) -> AsyncIterator[Begin]:
    """Have the router serve by the settings that a test says, with backends of its own."""
    child, path = running
    async with AsyncExitStack() as stack:

        async def run(**settings: Any) -> Stage:
            near = await stack.enter_async_context(Upstream(answer("near")))
            far = await stack.enter_async_context(Upstream(answer("far")))
            stage = Stage(path, near, far)
            await stage.connect(child, stack)
            stage.write(**settings)
            await stage.reload()
            stage.seen = (await stage.http.get("/debug/decisions")).json()["next"]
            return stage

        yield run


async def test_a_backend_is_added_and_timeouts_change(begin: Begin) -> None:
    stage = await begin(timeout=5.0)
    assert await stage.models() == ["small"]
    stage.write(remote=True, timeout=0.2)
    assert await stage.reload() == {"reloaded": True}
    assert await stage.models() == ["small", "large"]
    assert (await stage.ask(model="cloud")).headers["x-firsttoken-backend"] == "cloud"
    stage.near.script = silent
    moved = await stage.ask()
    assert moved.headers["x-firsttoken-backend"] == "cloud"
    stage.write(timeout=0.2)
    await stage.reload()
    # Of what was taken away nothing is left.
    assert (await stage.ask(model="cloud")).status_code == 504
    await stage.far.until(lambda: stage.far.connections == 0)


async def test_sighup_reloads_too(begin: Begin) -> None:
    stage = await begin()
    stage.write(remote=True)
    os.kill(stage.child.pid, signal.SIGHUP)
    await stage.until_models(["small", "large"])
    stage.path.write_text("llm_routing: [")
    os.kill(stage.child.pid, signal.SIGHUP)
    stage.write()
    # Signals are served in their order, so the broken file was read or replaced by now.
    os.kill(stage.child.pid, signal.SIGHUP)
    await stage.until_models(["small"])


WRONG = {
    "llm_routing: [": "hybrid.yaml",
    "llm_rooting: {}": "llm_rooting",
    "\x00": "hybrid.yaml",
    "llm_routing: {local_model: {timeout: soon}}": "timeout",
    "routing_logic: {simple_queries: {patterns: ['(']}}": "patterns",
    "server: {api_keys_env: NO_SUCH_VARIABLE}": "NO_SUCH_VARIABLE",
    "server: {api_keys_file: /no/such/file}": "api_keys_file",
}


async def test_wrong_settings_change_nothing(begin: Begin) -> None:
    stage = await begin()
    for text, told in WRONG.items():
        stage.path.write_text(text)
        error = (await stage.reload(422))["error"]
        assert told in error
        assert len(error.splitlines()) == 1
        assert await stage.models() == ["small"]
        assert (await stage.ask()).headers["x-firsttoken-backend"] == "local"
    stage.path.unlink()
    assert "hybrid.yaml" in (await stage.reload(422))["error"]
    stage.write(remote=True)
    await stage.reload()
    assert await stage.models() == ["small", "large"]


async def test_a_request_under_way_ends_by_the_settings_it_began_with(begin: Begin) -> None:
    go_on = asyncio.Event()

    async def waits(call: Call) -> None:
        await call.head()
        await call.chunk(delta("begun "))
        await go_on.wait()
        await call.chunk(delta("and ended"))
        await call.chunk(FINISH)
        await call.chunk(DONE)
        await call.last_chunk()

    stage = await begin()
    stage.near.script = waits
    async with stage.http.stream("POST", "/v1/chat/completions", json=chat()) as reply:
        texts = reply.aiter_text()
        assert "begun" in await anext(texts)
        stage.write(local="far")
        await stage.reload()
        assert (await stage.ask()).text.count("far") == 1
        go_on.set()
        rest = "".join([text async for text in texts])
    assert "and ended" in rest
    assert rest.endswith("data: [DONE]\n\n")
    # With its last request the router has left the backend.
    await stage.near.until(lambda: stage.near.connections == 0)
    found = await stage.decisions()
    assert sorted(each["outcome"] for each in found) == ["success", "success"]


async def test_a_request_whose_body_is_under_way(begin: Begin) -> None:
    stage = await begin()
    arriving = asyncio.Event()
    content = json.dumps(chat()).encode()

    async def body() -> AsyncIterator[bytes]:
        yield content[:10]
        await arriving.wait()
        yield content[10:]

    asking = asyncio.create_task(stage.http.post("/v1/chat/completions", content=body()))
    async with asyncio.timeout(5):
        # What is asked on another connection is answered after the head above has been read.
        for _ in range(3):
            await stage.models()
    stage.write(local="far")
    await stage.reload()
    arriving.set()
    reply = await asking
    assert reply.status_code == 200
    await stage.near.until(lambda: stage.near.connections == 0)


async def test_leaving_after_a_reload_frees_the_backend(begin: Begin) -> None:
    stage = await begin()
    stage.near.script = then_silent(delta("begun"))
    async with stage.http.stream("POST", "/v1/chat/completions", json=chat()) as reply:
        assert "begun" in await anext(reply.aiter_text())
        stage.write(local="far")
        await stage.reload()
    await stage.near.until(lambda: stage.near.connections == 0, seconds=2)


async def test_connections_do_not_pile_up(begin: Begin) -> None:
    stage = await begin()
    for number in range(5):
        stage.write(timeout=5.0 + number)
        await stage.reload()
        assert (await stage.ask()).status_code == 200
    await stage.near.until(lambda: stage.near.connections == 1)
    metrics = (await stage.http.get("/metrics")).text
    assert 'llm_requests_in_flight{backend="local"} 0.0' in metrics


async def test_ten_reloads_at_once_under_load(begin: Begin) -> None:
    stage = await begin(remote=True)
    asked = (stage.ask(f"question {number}") for number in range(30))
    reloads = (stage.reload() for _ in range(10))
    replying = asyncio.gather(*asked)
    await asyncio.gather(*reloads)
    replies = await replying
    assert {reply.status_code for reply in replies} == {200}
    found = await stage.decisions()
    assert [each["outcome"] for each in found] == ["success"] * 30


async def test_the_cache_is_kept_unless_its_settings_change(begin: Begin) -> None:
    stage = await begin(caching_strategy=EXACT)

    async def cache() -> str:
        return str((await stage.ask()).headers["x-firsttoken-cache"])

    assert [await cache(), await cache()] == ["miss", "exact"]
    stage.write(caching_strategy=EXACT, server={"max_concurrency": 99})
    await stage.reload()
    assert await cache() == "exact"
    stage.write(caching_strategy={"local_cache": {"enable": True, "ttl": 60}})
    await stage.reload()
    assert [await cache(), await cache()] == ["miss", "exact"]
    stage.write()
    await stage.reload()
    assert await cache() == "bypass"


async def test_what_answers_differently_is_not_in_the_cache(begin: Begin) -> None:
    stage = await begin(caching_strategy=EXACT)
    await stage.ask()
    assert (await stage.ask()).headers["x-firsttoken-cache"] == "exact"
    stage.write(local="far", caching_strategy=EXACT)
    await stage.reload()
    reply = await stage.ask()
    assert reply.headers["x-firsttoken-cache"] == "miss"
    assert "far" in reply.text
    colder = {"model_loading": {"preload": False}, "inference": {"temperature": 0.1}}
    stage.write(local="far", caching_strategy=EXACT, local_optimization=colder)
    await stage.reload()
    assert (await stage.ask()).headers["x-firsttoken-cache"] == "miss"
    assert stage.far.calls[-1].body["temperature"] == 0.1


async def test_keys_are_replaced(begin: Begin, tmp_path: Path) -> None:
    stage = await begin()
    keys = tmp_path / "keys"
    keys.write_text("old-key, kept-key")
    keys.chmod(0o600)
    stage.write(server={"api_keys_file": str(keys)})
    await stage.reload()

    async def status(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return int((await stage.ask(headers=headers)).status_code)

    assert [await status(key) for key in ("old-key", "kept-key", "new-key", "")] == [
        *(200, 200, 401, 401)
    ]
    await stage.reload(401)
    await stage.reload(401, "new-key")
    keys.write_text("new-key\nkept-key\n")
    await stage.reload(200, "old-key")
    assert [await status(key) for key in ("old-key", "kept-key", "new-key", "")] == [
        *(401, 200, 200, 401)
    ]
    await stage.reload(401, "old-key")
    stage.write()
    await stage.reload(200, "kept-key")
    assert await status("") == 200


def test_a_router_that_is_open_to_others_does_not_lose_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hybrid.yaml"
    local = "llm_routing: {local_model: {endpoint: 'http://127.0.0.1:9'}}\n"
    path.write_text(local + "server: {api_keys_env: KEYS_OF_THE_TESTS}\n")
    monkeypatch.setenv("KEYS_OF_THE_TESTS", "a-key")
    served: list[Router] = []
    monkeypatch.setattr(main, "die_with_parent", lambda: None)
    monkeypatch.setattr(main, "run", lambda router, *_, **__: served.append(router))
    main.serve([path], "192.0.2.1", 0, ready_json=False)
    load = served[0]._load
    assert load is not None
    assert load().api_keys == ("a-key",)
    path.write_text(local)
    with pytest.raises(UserError, match="no API key is set"):
        load()


class Engine:
    """Counts its restarts."""

    def __init__(self) -> None:
        self.restarts = 0

    def restart(self) -> None:
        self.restarts += 1


class House:
    """A router in this process that is given one configuration after the other."""

    def __init__(self, *configs: RouterConfig) -> None:
        coming = iter(configs)
        self.down: set[str] = set()
        """Backends that refuse connections."""
        self.router = Router(
            next(coming), lambda: next(coming), transport=lambda: SimTransport(self._script)
        )

    def _script(self, call: SimCall) -> Script:
        down = call.backend in self.down
        return Script(headers_s=0.0, first_s=0.0, fail=Fail.REFUSED if down else None)

    async def __aenter__(self) -> Router:
        await self.router.start()
        return self.router

    async def __aexit__(self, *_: object) -> None:
        await self.router.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def _shown(router: Router, name: str, **labels: str) -> list[float]:
    text = router.books.meters.render().decode()
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


LOCAL = sim_backend("local")
CLOUD = sim_backend("cloud")
SOON = BreakerRules(failures=3, first_cool_down_s=0.02, longest_cool_down_s=0.02)


async def test_an_open_circuit_stays_open_is_probed_and_shown_by_one_router_only() -> None:
    house = House(*[config_of(LOCAL, CLOUD, breaker=SOON)] * 2)
    house.down = {"local"}
    async with house as router:
        before = router.serving
        before.monitor.unhealthy("local")
        await router.reload()
        assert router.serving is not before
        assert router.serving.monitor.blocked == {"local"}
        assert router.serving.monitor.dead("local")
        before.monitor.readmit("local", healthy=True)
        before.watch.tick()
        assert _shown(router, "llm_backend_up", backend="local") == [0.0]
        back = asyncio.Event()
        router.serving.monitor.on_blocked = back.set
        house.down = set()
        await asyncio.wait_for(back.wait(), 5)
        assert _shown(router, "llm_backend_up", backend="local") == [1.0]


async def test_a_backend_that_is_another_one_now_begins_anew() -> None:
    other = sim_backend("local", model="another-model")
    async with House(config_of(LOCAL, CLOUD), config_of(other, CLOUD)) as router:
        before = router.serving
        before.monitor.unhealthy("local")
        await router.reload()
        assert router.serving.monitor.blocked == frozenset()
        assert router.serving.gate.times["local"] is not before.gate.times["local"]
        assert router.serving.gate.times["cloud"] is before.gate.times["cloud"]


async def test_a_backend_that_was_removed_is_not_up() -> None:
    async with House(config_of(LOCAL, CLOUD), config_of(LOCAL)) as router:
        assert _shown(router, "llm_backend_up", backend="cloud") == [1.0]
        await router.reload()
        assert _shown(router, "llm_backend_up", backend="cloud") == [0.0]
        assert _shown(router, "llm_backend_up", backend="local") == [1.0]


async def test_what_was_learned_of_the_engine_and_its_mode_is_kept() -> None:
    async with House(*[config_of(LOCAL, CLOUD)] * 2) as router:
        before = router.serving
        before._admissions["local"].resize(3)
        before.watch.first_token("local", LOCAL.tier, 0.2)
        await router.reload()
        assert router.serving._admissions["local"].slots == 3
        assert router.serving.watch.evidence().local_ttft_count == 1


async def test_a_reload_does_not_lift_the_limits_of_restarts() -> None:
    engine = Engine()
    async with House(*[config_of(LOCAL, CLOUD, adapter=engine)] * 2) as router:
        router.serving.monitor.unhealthy("local")
        recovery = router.serving.actions._recovery
        assert recovery is not None
        await recovery.tick()
        assert engine.restarts == 1
        await router.reload()
        router.serving.monitor.unhealthy("local")
        assert router.serving.actions._recovery is not None
        await router.serving.actions._recovery.tick()
        assert engine.restarts == 1


async def test_only_the_requests_of_the_settings_before_go_on() -> None:
    async with House(*[config_of(LOCAL, CLOUD, adapter=Engine())] * 2) as router:
        before = router.serving
        before.pipeline.idle.clear()  # one is under way
        assert before.actions._recovery is not None
        assert before.actions._recovery._task is not None
        tasks = {before.actions._recovery._task, *before.watch._tasks}
        before.monitor.unhealthy("local")
        tasks |= set(before.monitor._recoveries.values())
        assert len(tasks) == 5
        await router.reload()
        await asyncio.wait(tasks, timeout=5)
        assert all(task.done() for task in tasks)
        before.pipeline.idle.set()


async def test_a_signal_that_goes_wrong_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with House(config_of(LOCAL)) as router:

        def broken() -> RouterConfig:
            raise ValueError("a fault of the loading")

        router._load = broken
        before = router.serving
        await _reload_quietly(router)
        assert router.serving is before
    assert "a fault of the loading" in caplog.text
