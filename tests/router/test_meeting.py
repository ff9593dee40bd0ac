"""An engine that comes up after the router, one that is cold, and who gets its key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType
from firsttoken.transport.protocol import TransportError
from firsttoken.wire import dialects
from router.admission import Admission
from router.backends.meeting import AGAIN_S, Fetch, Meeting, fetch_from
from router.config import Health
from router.health.breaker import BreakerRules
from tests.router.conftest import backend
from tests.router.scripted import Call, Script, SimReply, SimTransport
from tests.router.simulation import World, config_of, sim_backend
from tests.router.virtual_time import run

LOAD_S = 70.0
"""For which Ollama reads the model from its disk."""

HEALTH: dict[str, Any] = {
    "health": Health(interval_s=30.0, timeout_s=5.0),
    "breaker": BreakerRules.of_probes(3, 30.0, 5.0),
}


class Ollama:
    """A scripted Ollama: it may be down, it may be cold, and it gives a loading up when its client
    leaves."""

    def __init__(self, **settings: Any) -> None:
        self.up = True
        self.loaded = False
        self.loads: dict[int, float] = {}
        """Of each call that began a loading: when."""
        self.given_up = 0
        # A name without a dot is of this network: who has it may be asked what it is.
        values = {"base_url": "http://local", "dialect": None, "first_token_timeout_s": 5.0}
        local = sim_backend("local", **(values | settings.pop("local", {})))
        config = config_of(local, sim_backend("cloud"), **(HEALTH | settings))
        self.world = World(config, self._script)
        self._closed = self.world.transport._closed
        self.world.transport.get = self._get  # type: ignore[method-assign]
        self.world.transport._closed = self._ends  # type: ignore[method-assign]

    async def __aenter__(self) -> World:
        await self.world.serving.start()
        return self.world

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self.world.tasks)
        await self.world.serving.aclose()
        await asyncio.sleep(0)
        assert not self.world.transport.open
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def _script(self, call: Call) -> Script:
        if call.backend == "cloud" or self.loaded:
            return Script()
        if not self.loads or self.given_up == len(self.loads):
            self.loads[call.number] = call.at_s
        return Script(headers_s=LOAD_S)

    def _ends(self, number: int) -> None:
        self._closed(number)
        self._look(number)

    def _look(self, number: int) -> None:
        if number not in self.loads or self.loaded:
            return
        self.loaded = self.world.now_s() - self.loads[number] >= LOAD_S
        self.given_up += not self.loaded

    async def _get(self, url: str, headers: Mapping[str, str]) -> SimReply:  # noqa: ARG002
        if not self.up:
            raise TransportError(ErrorType.CONNECT, "connection refused")
        # It lists a model from the moment its loading begins.
        listed = self.loaded or len(self.loads) > self.given_up
        models = [{"name": "local-model:latest"}] if listed else []
        told = {"/api/version": {"version": "0.9"}, "/api/tags": {}, "/api/ps": {"models": models}}
        found = told.get(url.removeprefix("http://local"))
        at_s = self.world.now_s() + 0.001
        return SimReply(404 if found is None else 200, [(at_s, orjson.dumps(found))])


class Nothing:
    """Restarts an engine that comes back without its model."""

    def restart(self) -> None:
        """See :class:`firsttoken.engines.adapters.Adapter`."""


@pytest.mark.parametrize("preload", [True, False])
def test_a_cold_model_is_loaded_once_whatever_the_limits_of_a_probe(preload: bool) -> None:
    async def main() -> None:
        ollama = Ollama(preload=preload)
        async with ollama as made:
            await asyncio.sleep(1.0)
            assert made.serving.watch.loaded is False
            assert made.serving.gate.cold("local")
            await asyncio.sleep(2 * LOAD_S)
            assert (len(ollama.loads), ollama.given_up) == (1, 0)
            assert made.serving.watch.loaded is True
            assert (await made.ask(model="local")).status == 200

    run(main())


def test_users_of_a_cold_model_open_its_circuit_and_it_closes_when_the_model_is_there() -> None:
    async def main() -> None:
        ollama = Ollama()
        async with ollama as made:
            await asyncio.sleep(0.5)
            visits = [made.visit() for _ in range(5)]
            await asyncio.gather(*visits)
            assert made.serving.monitor.blocked == {"local"}
            await asyncio.sleep(LOAD_S + 30.0)
            assert (len(ollama.loads), ollama.given_up) == (1, 0)
            assert made.serving.monitor.blocked == frozenset()
            assert not made.serving.monitor.dead("local")

    run(main())


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_a_restarted_engine_may_take_its_time_to_load(
    dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(call: Callable[[], None]) -> None:
        call()  # there are no threads in virtual time

    monkeypatch.setattr(asyncio, "to_thread", at_once)

    async def main() -> None:
        health = Health(active=False, timeout_s=5.0)
        local = {"dialect": dialect}
        ollama = Ollama(preload=False, health=health, adapter=Nothing(), local=local)
        async with ollama as made:
            made.serving.monitor.unhealthy("local")
            await asyncio.sleep(LOAD_S + 10.0)
            assert (len(ollama.loads), ollama.given_up) == (1, 0)
            assert made.serving.monitor.blocked == frozenset()
            assert made.metric("_actions", result="succeeded") == 1

    run(main())


def test_an_engine_that_comes_up_later_is_asked_what_it_is_before_it_loads() -> None:
    async def main() -> None:
        ollama = Ollama(preload=True)
        ollama.up = False
        async with ollama as made:
            await asyncio.sleep(100.0)
            assert not made.calls("local")
            ollama.up = True
            await asyncio.sleep(AGAIN_S + 0.1)
            await asyncio.sleep(LOAD_S + 30.0)
            # Never in another dialect, which would load the model with other options.
            assert {call.dialect for call in made.calls("local")} == {"ollama"}
            assert len(ollama.loads) == 1
            assert made.serving.monitor.blocked == frozenset()

    run(main())


@pytest.mark.parametrize("planned", [False, True])
def test_a_circuit_that_closes_has_the_engine_asked_anew(planned: bool) -> None:
    async def main() -> None:
        ollama = Ollama(health=Health(active=False, timeout_s=5.0), preload=False)
        ollama.loaded = True
        async with ollama as made:
            await asyncio.sleep(0.1)
            known = made.serving._dialects
            assert known["local"].name == "ollama"
            known["local"] = dialects.get("openai")
            if planned:
                # Its circuit was closed all the time.
                made.serving.monitor.drain("local")
                made.serving.monitor.readmit("local", healthy=True)
            else:
                made.serving.monitor.unhealthy("local")
            await asyncio.sleep(10.0)
            assert made.serving.monitor.blocked == frozenset()
            assert known["local"].name == "ollama"

    run(main())


def test_a_first_token_that_never_came_counts_as_late_where_a_rule_says_so() -> None:
    async def main() -> None:
        async with Ollama(preload=False) as made:
            serving, watch = made.serving, made.serving.watch
            watch.slow_s = 1.0
            near, far = (serving._backends[name] for name in ("local", "cloud"))
            for seconds in (0.9, 1.0, 5.0):  # not late yet; counted as a failure already
                serving._first_token(near, seconds, censored=True)
            serving._first_token(far, 2.0, censored=True)
            assert watch.evidence().local_ttft_count == 0
            await asyncio.sleep(1.0)
            serving._first_token(near, 3.0, censored=True)
            assert watch.evidence().local_ttft_p95_s == 3.0
            assert watch.loaded is False
            serving._first_token(near, 4.0, censored=False)
            assert watch.evidence().local_ttft_p95_s == 4.0
            assert watch.loaded is True
            assert watch.evidence().remote_ttft_p50_s is None

    run(main())


class Told:
    """Answers what it is told to, by path."""

    def __init__(self, **answers: tuple[int, bytes] | None) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def fetch(self, url: str) -> tuple[int, bytes]:
        path = url.rpartition("/")[2]
        self.asked.append(path)
        answer = self.answers.get(path, (404, b""))
        if answer is None:
            raise OSError("refused")
        return answer


def _meeting(fetch: Fetch, asked: Backend) -> tuple[Meeting, dict[str, Any], Admission]:
    spoken = {"local": dialects.get("openai")}
    queue = Admission(None)
    return Meeting(asked, fetch, spoken, queue), spoken, queue


SILENT: list[tuple[int, bytes] | None] = [None, (502, b""), (503, b"{}"), (504, b"")]


@pytest.mark.parametrize("silent", SILENT)
async def test_no_answer_is_not_an_answer(silent: tuple[int, bytes] | None) -> None:
    told = Told(version=silent, props=(200, b'{"total_slots": 3}'))
    meeting, spoken, queue = _meeting(told.fetch, backend("local", dialect=None))
    assert not await meeting.ask()
    assert told.asked == ["version"]
    told.answers["version"] = 200, b'{"version": "0.9"}'
    told.answers["props"] = silent
    assert not await meeting.ask()
    assert (spoken["local"].name, queue.slots) == ("ollama", None)
    told.answers["props"] = 200, b'{"total_slots": 3}'
    assert await meeting.ask()
    assert queue.slots == 3
    assert told.asked == ["version", "version", "props", "props"]
    assert await meeting.ask()
    assert len(told.asked) == 4
    meeting.begin_anew()
    del told.answers["version"]
    assert await meeting.ask()
    assert spoken["local"].name == "openai"


async def test_slots_that_only_talking_devices_need_are_asked_for_when_one_comes() -> None:
    props = b'{"total_slots": 3, "default_generation_settings": {"n_ctx": 4096}}'
    told, heard = Told(props=(200, props)), []
    known = backend("local", slots=2)
    meeting = Meeting(known, told.fetch, {}, None, lambda *each: heard.append(each))
    await meeting.known()
    assert await meeting.ask()
    assert not told.asked
    assert meeting.want_slots()
    assert not meeting.met
    waiting = asyncio.create_task(meeting.known())
    assert await meeting.ask()
    await waiting
    assert (told.asked, heard) == (["props"], [(3, 4096)])
    assert not meeting.want_slots()
    meeting.begin_anew()
    assert not meeting.met
    assert await meeting.ask()
    assert told.asked == ["props", "props"]
    assert not Meeting(known, told.fetch, {}, None).want_slots()


@pytest.mark.parametrize(
    "other", [(200, b"<html>"), (200, b"[]"), (200, b'{"version": 3}'), (401, b""), (404, b"x")]
)
async def test_something_else_is_an_answer(other: tuple[int, bytes]) -> None:
    meeting, spoken, queue = _meeting(
        Told(version=other, props=other).fetch, backend("local", dialect=None)
    )
    assert await meeting.ask()
    assert (spoken["local"].name, queue.slots) == ("openai", None)


async def test_a_public_host_is_not_asked_for_its_dialect() -> None:
    told = Told()
    public = backend("local", "https://engine.example.com", dialect=None)
    meeting = Meeting(public, told.fetch, {}, None)
    assert meeting.met
    assert await meeting.ask()
    assert told.asked == []


class Heard(SimTransport):
    """Keeps with which headers it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda _: Script())
        self.headers: dict[str, str] = {}

    async def get(self, url: str, headers: Mapping[str, str]) -> SimReply:
        self.headers[url] = headers.get("authorization", "")
        return SimReply(200, [])


async def test_the_key_goes_to_the_backend_and_to_nobody_else() -> None:
    heard = Heard()
    keyed = backend("local", "http://engine:8000/behind", api_key="secret")
    fetch = fetch_from(heard, keyed)
    urls = ("http://engine:8000/health", "http://engine:8000/behind/v1/models")
    others = ("http://engine:9/health", "https://engine:8000/x", "http://other/engine:8000")
    for url in (*urls, *others):
        assert await fetch(url) == (200, b"")
    assert heard.headers == dict.fromkeys(urls, "Bearer secret") | dict.fromkeys(others, "")
    await fetch_from(heard, backend("local", "http://engine:8000"))(urls[0])
    assert heard.headers[urls[0]] == ""


def test_circuit_states_reach_the_metrics() -> None:
    async def main() -> None:
        async with Ollama() as made:
            assert made.metric("_backend_up", backend="local") == 1
            made.serving.monitor.unhealthy("local")
            open_ = {"backend": "local", "state": CircuitState.OPEN}
            assert made.metric("_circuit_state", **open_) == 1

    run(main())
