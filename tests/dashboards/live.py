"""One life of everything, watched by a real Prometheus: traffic, faults, actions, and the end.

Router, exporter, engine, emulated cloud, fault wall and Prometheus are processes of their own. Each
alert's condition is brought about, none is waited for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from dashboards.rules import emit
from dashboards.rules.model import QUICK, Severity
from dashboards.rules.prometheus import Addresses
from dashboards.rules.windows import Window, WindowSet
from exporter.host import HostCollector
from firsttoken.core import settings as settings_room
from firsttoken.core import slo as slo_room
from firsttoken.core.child import Child
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from firsttoken.engines import options as engine_options
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import monitoring, servers
from firsttoken.trials.talkers import Manner, Talkers
from tests.core.test_host import tree
from tests.router.alertmanager import alert, delivery

WINDOWS = WindowSet(
    "test",
    600,
    (
        Window(Severity.CRITICAL, 20, 5, 0.05, 1),
        Window(Severity.WARNING, 30, 10, 0.1, 1),
    ),
)
"""Burns are seen within seconds: the smallest windows that hold a few scrapes."""

RATE_WINDOW = "10s"
EARLIER = "10s"
"""What the comparison board's variable is set to."""

TOKEN = "a-token-of-the-test"
LOCAL_UP = 'llm_backend_up{backend="local"}'
LOCAL_FIRST_TOKENS = "llm_backend_time_to_first_token_seconds_count"
ATTEMPTS = 5
RESTART_FAILED = 'llm_alert_actions_total{action="restart_service",result="failed"}'
PATIENCE_S = 60.0
"""On a busy machine probes go on failing for a while after an outage has ended."""
ENOUGH_RATINGS = 12
"""A slow machine hears fewer in the same time, and below five the alert on them says nothing."""
LOCAL_TIMEOUT_S = 2.5
"""Generous: a busy machine must not look like an outage, nor a hiccup."""
FULL_PSI = "some avg10=50.00 avg60=50.00 avg300=0.00 total=1\n"
FULL_PSI += "full avg10=40.00 avg60=40.00 avg300=0.00 total=1\n"

UNHAPPY = Manner(think_s=(0.05, 0.4), turns=(2, 3), rate_share=0.9, ratings=(1, 2, 3), max_tokens=8)
"""Quick talkers who do not like what they hear, so that conversations end and opinions are low."""


@dataclass(frozen=True)
class Live:
    """What is left when it is over: a Prometheus that remembers."""

    prometheus: str
    start: float
    end: float
    exported: frozenset[str]
    """Names of samples, as the router and the exporter exposed them."""
    slo: Slo
    settings: Settings

    @property
    def options(self) -> emit.Options:
        """How the rules were built that ran."""
        return emit.Options(windows=WINDOWS, pace=QUICK)


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Live through it once, for every test that asks."""
    with ExitStack() as stack:
        yield asyncio.run(_lived(stack, tmp_path_factory.mktemp("live")))


@dataclass(frozen=True)
class _Stage:
    """Who takes part."""

    router: Child
    exporter: Child
    engine: EngineSupervisor
    model: str


async def _lived(stack: ExitStack, folder: Path) -> Live:
    settings = settings_room.load(None, environ={})
    checked = engine_options.check(engine_options.from_settings(settings, slots=8))
    engine = EngineSupervisor(checked.options, log=folder / "engine.log")
    engine.start()
    stack.callback(engine.stop)
    cloud, wall = (
        stack.enter_context(
            Child.start([sys.executable, "-m", f"firsttoken.upstreams.{module}", *options])
        )
        for module, options in (
            ("cloud", ("--first-token-s", "0.2:0.5", "--error-share", "0.1")),
            ("faults", ()),
        )
    )
    file = _settings(folder, engine, cloud.url, wall.url)
    told = settings_room.load([file], environ={})
    slo = slo_room.load(None, told)
    router = servers.start_router(stack, file, folder / "router.log")
    exporter = monitoring.start_exporter(
        stack, engine.url, folder / "exporter.log", probe_seconds=1
    )
    config = _rules(folder, slo, told, [router.url, exporter.url, _sick(stack, folder)])
    start = time.time()
    _, prometheus = monitoring.start_prometheus(stack, folder, config)
    stage = _Stage(router, exporter, engine, checked.options.model_name)
    exported = await _play(stage)
    return Live(prometheus, start, time.time(), exported, slo, told)


def _settings(folder: Path, engine: EngineSupervisor, cloud: str, wall: str) -> Path:
    """Write the default settings with these servers, quick checks and an alert loop in dry run."""
    yaml = YAML()
    document: dict[str, Any] = yaml.load(settings_room.DEFAULT_PATH.read_text(encoding="utf-8"))
    routing = document["llm_routing"]
    routing["local_model"] |= {
        "endpoint": engine.url,
        "model": engine.options.model_name,
        "dialect": "openai",
        "slots": engine.options.slots,
        "timeout": LOCAL_TIMEOUT_S,
    }

    def remote(name: str, endpoint: str, model: str, trigger: str, **more: Any) -> dict[str, Any]:
        fixed = {"dialect": "openai", "priority": 5, "timeout": 5, "trigger_conditions": [trigger]}
        return {"name": name, "endpoint": endpoint, "model": model, **fixed, **more}

    last = "all_other_models_failed"
    routing["remote_models"] = [
        remote(
            "emulated_cloud",
            f"{cloud}/compatible-mode",
            "emulated-qwen",
            "query_complexity > 0.7",
            price_per_1k_tokens=0.01,
        ),
        remote("broken", f"{wall}/fault/cut_after_first_token", "broken", last),
        remote("gone", "http://127.0.0.1:1", "gone", last),
    ]
    document["health_check"]["local_model"] = {"interval": 4, "timeout": 1.5, "retries": 2}
    document["caching_strategy"]["semantic_cache"]["verify_share"] = 1.0
    document["conversations"] = {"idle_seconds": 1}
    document["confidence"] = {"tokens": 0}
    # A restart that cannot succeed: the action fails, and a person is called.
    document["recovery"] |= {
        "adapter": "command", "command": ["/bin/false"], "cool_down": 5, "ready": 1, "drain": 1
    }  # fmt: skip
    token = folder / "token"
    token.write_text(TOKEN, encoding="ascii")
    token.chmod(0o600)
    document["alert_actions"] = {
        "enable": True,
        "token_file": str(token),
        "audit_log": str(folder / "audit.jsonl"),
        "kill_switch": str(folder / "stop"),
        "snapshots": str(folder / "snapshots"),
    }
    path = folder / "settings.yaml"
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)
    return path


def _rules(folder: Path, slo: Slo, settings: Settings, urls: list[str]) -> Path:
    """Write the rules that are shipped, at their quickest; the last URL is a second exporter."""
    router, *exporters = (url.removeprefix("http://") for url in urls)
    options = emit.Options(WINDOWS, QUICK, addresses=Addresses(router, exporters[0]))
    emit.write_rules(folder / "rules", slo, settings, options)
    config = folder / "rules" / "prometheus.yml"
    yaml = YAML()
    document = yaml.load(config.read_text(encoding="utf-8"))
    document["scrape_configs"][1]["static_configs"][0]["targets"] = exporters
    del document["alerting"]  # the loop over a real Alertmanager has a test of its own
    with config.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)
    return config


def _sick(stack: ExitStack, folder: Path) -> str:
    """Serve what our collector reads on a machine that is out of memory; return its URL."""
    root = tree(
        folder,
        {
            f"proc/{os.getpid()}/cgroup": "0::/engine\n",
            "sys/fs/cgroup/engine/memory.max": "1000\n",
            "sys/fs/cgroup/engine/memory.stat": "anon 900\nshmem 0\nfile 50\n",
            "sys/fs/cgroup/engine/memory.pressure": FULL_PSI,
        },
    )
    assert root.is_dir()
    registry = CollectorRegistry()
    own = psutil.Process()
    registry.register(HostCollector(lambda: [own], folder))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


async def _play(stage: _Stage) -> frozenset[str]:
    """Bring about everything that boards show and rules are about; return the names exported."""
    async with Talkers(stage.router.url, UNHAPPY) as talkers:
        await _scrapes(1)  # counters have to be seen at 0 to be seen to grow
        # At first everything is remote, so that the local share is low.
        await _all(talkers, "emulated_cloud", 8)
        await talkers.announce("run-1", "steps")
        await talkers.talk(4, 4.0)
        await _devices(stage.router.url, 4)
        await _all(talkers, "broken", 8)  # the reply breaks off: the user is failed
        await _all(talkers, "gone", 6)
        await _hiccups(stage, talkers)
        # Away and back three times: that is flapping. The first time until the exporter's probes
        # have failed too, and a restart.
        for until_all_know in (True, False, False):
            await _outage(stage, talkers, until_all_know=until_all_know)
        await _alerts(stage.router.url)
        await talkers.talk(4, 2.0)
        while talkers.rated < ENOUGH_RATINGS:
            await talkers.talk(4, 1.0)
        await _scrapes(1)
        exported = await _scraped(stage.router.url, stage.exporter.url)
        await talkers.conclude("run-1")
    await _scrapes(1)
    # Last of all, what is watched is gone.
    await asyncio.to_thread(stage.exporter.stop)
    await asyncio.to_thread(stage.router.stop)
    await _scrapes(3)
    return exported


async def _scrapes(count: int) -> None:
    """Let Prometheus look a few times; nothing says when it did."""
    await asyncio.sleep(count * QUICK.scrape + 0.2)


async def _all(talkers: Talkers, model: str, count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(talkers.ask(f"question {number} to {model}", model=model))


async def _devices(url: str, count: int) -> None:
    """Let talking devices ask: at first sent again, then so hurried that nobody can answer."""
    spoken = {"type": "object", "properties": {"response": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "direct_answer", "parameters": spoken}}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        for number in range(count):
            said = {"role": "user", "content": f"tell me of number {number}, please"}
            body = {"model": "auto", "messages": [said], "tools": [tool], "stream": True}
            for headers in ({"x-stainless-retry-count": "1"}, {"x-stainless-read-timeout": "0.1"}):
                await client.post(f"{url}/v1/chat/completions", json=body, headers=headers)
                body = {**body, "messages": [said, said]}  # else it comes from the cache
    await _scrapes(1)


@asynccontextmanager
async def _standing_still(engine: EngineSupervisor) -> AsyncIterator[None]:
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def _hiccups(stage: _Stage, talkers: Talkers) -> None:
    """Make local first tokens late, without any failing; again where a busy machine had some
    fail, for fewer than a handful prove nothing to the rules."""
    router = stage.router.url
    first_tokens = f'{LOCAL_FIRST_TOKENS}{{backend="local",model="{stage.model}"}}'
    for attempt in range(ATTEMPTS):
        await _until(router, lambda values: values[LOCAL_UP] == 1)
        before = (await _values(router))[first_tokens]
        for number in range(2):
            async with asyncio.TaskGroup() as group, _standing_still(stage.engine):
                for each in range(4):
                    text = f"late question {attempt} {number} {each}"
                    group.create_task(talkers.ask(text, model=stage.model))
                await asyncio.sleep(0.7)
        if (await _values(router))[first_tokens] - before > QUICK.samples:
            break
    await _scrapes(2)


async def _outage(stage: _Stage, talkers: Talkers, *, until_all_know: bool) -> None:
    """Stop the engine until its circuit is open, and go on until that is closed again."""
    router = stage.router.url
    async with _standing_still(stage.engine):
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(talkers.ask(f"what became of {time.time()} {number}"))
        await _until(router, lambda values: values[LOCAL_UP] == 0)
        if until_all_know:
            await _until(stage.exporter.url, lambda values: values[LOCAL_UP] == 0)
            await _until(router, lambda values: values[RESTART_FAILED] > 0)
        await _scrapes(1)
    await _until(router, lambda values: values[LOCAL_UP] == 1)
    await _scrapes(1)


async def _until(url: str, condition: Callable[[dict[str, float]], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition(await _values(url)):
                return
            await asyncio.sleep(0.1)


async def _values(url: str) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False) as client:
        lines = (await client.get(f"{url}/metrics")).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def _alerts(url: str) -> None:
    """Deliver alerts as Alertmanager does: one that is allowed, one without a token, one broken."""
    told = delivery(
        alert("LLMHighLocalErrorRate", "switch_to_remote", time.time()),
        alert("SomethingElse", "restart_service", time.time(), fingerprint="fedcba9876543210"),
    )
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        known = {"authorization": f"Bearer {TOKEN}"}
        answers = [
            await client.post("/-/alerts", json=told, headers=known),
            await client.post("/-/alerts", json=told),
            await client.post("/-/alerts", content=b"{", headers=known),
        ]
    assert [each.status_code for each in answers] == [200, 401, 422]
    await _scrapes(1)


async def _scraped(*urls: str) -> frozenset[str]:
    async with httpx.AsyncClient(trust_env=False) as client:
        pages = [(await client.get(f"{url}/metrics")).text for url in urls]
    return frozenset(
        sample.name
        for page in pages
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    )
