"""The watch gathers evidence, steps the mode and probes; CPU and memory of an engine."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from exporter import engine_memory
from exporter.engine_cpu import CpuMeter, listener, loopback_port
from exporter.engine_memory import memory_share
from firsttoken.core.catalogue import CircuitState, Mode
from firsttoken.core.words import ErrorType, Tier
from router.health.breaker import BreakerRules
from router.health.modes import ModeState
from router.health.monitor import Monitor
from router.health.probes import LocalProbe
from router.health.watch import KEPT, Watch, Window, quantile
from tests.router.conftest import backend
from tests.router.test_modes import GUIDE


class Rig:
    """A watch over a backend ``local`` whose probe answers what it is told to."""

    def __init__(self, dialect: str = "openai", **changes: Any) -> None:
        self.now_s = 1000.0
        self.healthy = True
        self.tokens = 0
        self.ages: list[float] = []
        self.states: list[ModeState] = []
        self.circuits: list[tuple[str, CircuitState]] = []
        self.parked = asyncio.Event()
        self.slept: list[float] = []
        self.monitor = Monitor(
            ["local", "cloud"],
            BreakerRules(),
            self._probe,
            lambda *change: self.circuits.append(change),
            now_s=self.clock,
            sleep=self._park,
        )
        self.loads = asyncio.Event()
        local = backend("local", dialect=dialect)
        self.probe = probe = LocalProbe(
            local, None, 1.0, 60.0, self._generate, self._get, lambda: dialect, self._meet
        )
        self.watch = Watch(
            GUIDE,
            self.monitor,
            self.states.append,
            probe=probe,
            waiting=lambda: self.ages,
            now_s=self.clock,
            sleep=self._park,
            **changes,
        )

    def clock(self) -> float:
        return self.now_s

    async def _park(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.parked.wait()

    async def _probe(self, name: str) -> bool | None:
        assert name == "local"
        return self.healthy

    async def _generate(self, name: str, seconds: float) -> bool:
        assert name == "local"
        self.tokens += 1
        if seconds == 60.0:
            await self.loads.wait()
        return self.healthy

    async def _meet(self) -> None:
        """Everything is known."""

    async def _get(self, url: str) -> tuple[int, bytes]:
        assert url.startswith("http://127.0.0.1:9/")
        return 200, b'{"models": []}'

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_s += 1
            self.watch.tick()

    def tokens_of(self, tier: Tier, seconds: float, count: int) -> None:
        for _ in range(count):
            self.watch.first_token("local" if tier is Tier.LOCAL else "cloud", tier, seconds)


async def test_a_slow_local_backend_and_its_recovery() -> None:
    rig = Rig()
    assert rig.watch.state.mode is Mode.NORMAL
    rig.tokens_of(Tier.REMOTE, 0.5, 5)
    rig.tokens_of(Tier.LOCAL, 0.2, 20)
    rig.pass_seconds(1)
    assert rig.watch.state.mode is Mode.NORMAL
    rig.tokens_of(Tier.LOCAL, 1.5, 21)
    rig.pass_seconds(1)
    assert (rig.watch.state.mode, rig.watch.state.local_share) == (Mode.HYBRID, 0.8)
    rig.pass_seconds(62)  # they are forgotten after a minute
    assert rig.watch.evidence().local_ttft_count == 0
    rig.pass_seconds(15 * 40)
    assert rig.watch.state == ModeState(moved_at_s=rig.watch.state.moved_at_s)
    assert rig.states[-1].mode is Mode.NORMAL
    # It is told of changes only.
    assert all(a != b for a, b in zip(rig.states, rig.states[1:], strict=False))


async def test_requests_that_wait_too_long_count_before_they_end() -> None:
    rig = Rig()
    rig.tokens_of(Tier.LOCAL, 0.2, 20)
    rig.ages = [0.1, 0.9]
    assert rig.watch.evidence().local_ttft_p95_s == 0.2
    rig.ages = [0.1, 3.0, 4.0]
    evidence = rig.watch.evidence()
    assert (evidence.local_ttft_p95_s, evidence.local_ttft_count) == (3.0, 22)


async def test_requests_turned_away_for_load_count_as_late() -> None:
    rig = Rig()
    rig.tokens_of(Tier.LOCAL, 0.2, 30)
    for _ in range(2):
        rig.watch.late(Tier.LOCAL)
    assert rig.watch.evidence().local_ttft_p95_s == math.inf


async def test_those_given_up_count_as_old_as_they_were() -> None:
    rig = Rig()
    rig.tokens_of(Tier.LOCAL, 0.2, 30)
    for _ in range(2):
        rig.watch.late(Tier.LOCAL, 3.0)
    assert rig.watch.evidence().local_ttft_p95_s == 3.0


async def test_the_remote_median_needs_three_and_lasts_for_a_quarter_of_an_hour() -> None:
    rig = Rig()
    rig.tokens_of(Tier.REMOTE, 2.0, 2)
    assert rig.watch.evidence().remote_ttft_p50_s is None
    rig.tokens_of(Tier.REMOTE, 1.0, 1)
    assert rig.watch.evidence().remote_ttft_p50_s == 2.0
    rig.now_s += 900
    assert rig.watch.evidence().remote_ttft_p50_s == 2.0
    rig.now_s += 1
    assert rig.watch.evidence().remote_ttft_p50_s is None


async def test_three_failed_probes_open_the_circuit() -> None:
    rig = Rig()
    rig.healthy = False
    for _ in range(2):
        await rig.watch.probe()
    assert rig.monitor.blocked == frozenset()
    await rig.watch.probe()
    assert rig.monitor.blocked == {"local"}
    assert rig.monitor.dead("local")
    rig.watch.tick()
    assert rig.watch.state.mode is Mode.REMOTE_ONLY
    asked = rig.tokens
    await rig.watch.probe()  # the monitor's probes alone go on
    assert rig.tokens == asked
    await rig.monitor.aclose()


async def test_a_probe_that_passes_starts_the_count_again() -> None:
    rig = Rig()
    for healthy in (False, False, True, False, False):
        rig.healthy = healthy
        await rig.watch.probe()
    assert rig.monitor.blocked == frozenset()


async def test_times_from_before_an_outage_say_nothing_of_the_engine_after_it() -> None:
    rig = Rig()
    rig.tokens_of(Tier.LOCAL, 4.0, 40)
    rig.monitor.unhealthy("local")
    rig.watch.tick()
    rig.monitor.readmit("local", healthy=True)
    rig.watch.tick()
    assert [state.mode for state in rig.states][1:] == [Mode.REMOTE_ONLY, Mode.NORMAL]
    await rig.monitor.aclose()


async def test_successes_within_the_interval_spare_the_engine_a_token() -> None:
    rig = Rig()
    rig.monitor.succeeded("local")
    await rig.watch.probe()
    rig.now_s += 30
    await rig.watch.probe()
    assert rig.tokens == 0
    rig.now_s += 1
    await rig.watch.probe()
    assert rig.tokens == 1


async def test_a_model_that_was_not_loaded_is_after_its_first_token() -> None:
    rig = Rig(dialect="ollama")
    assert rig.watch.loaded is None
    await rig.watch.probe()
    assert rig.watch.loaded is False
    rig.watch.first_token("cloud", Tier.REMOTE, 1.0)
    assert rig.watch.loaded is False
    rig.watch.late(Tier.LOCAL)
    rig.watch.late(Tier.LOCAL, 3.0)
    assert rig.watch.loaded is False
    rig.watch.first_token("local", Tier.LOCAL, 1.0)
    assert rig.watch.loaded is True
    await rig.probe.aclose()


async def test_a_model_that_is_loading_is_neither_healthy_nor_unhealthy() -> None:
    rig = Rig(dialect="ollama")
    rig.watch._failed = 2
    for _ in range(5):
        await rig.watch.probe()
        await asyncio.sleep(0)
    assert rig.watch._failed == 2
    assert rig.tokens == 1
    assert rig.monitor.blocked == frozenset()
    rig.healthy = False
    rig.loads.set()
    await rig.probe.load()  # it ends without a token
    await rig.watch.probe()
    assert rig.monitor.blocked == {"local"}
    await rig.monitor.aclose()
    await rig.probe.aclose()


async def test_another_watch_goes_on_where_one_ended() -> None:
    before, after = Rig(dialect="ollama"), Rig(dialect="ollama")
    before.tokens_of(Tier.REMOTE, 0.5, 5)
    before.tokens_of(Tier.LOCAL, 1.5, 20)
    before.pass_seconds(1)
    before.probe.loaded = False
    after.watch.take_over(before.watch)
    assert after.states[-1] == before.watch.state
    assert after.watch.state.local_share == 0.8
    assert after.watch.loaded is False
    assert after.watch.evidence().local_ttft_count == 20


async def test_it_runs_until_it_is_closed_and_outlives_a_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def due(self) -> bool:
            raise ValueError("a fault")

    rig = Rig(cpu=Broken(), interval_s=30.0)
    rig.watch.start()
    for _ in range(10):
        await asyncio.sleep(0)
    assert sorted(rig.slept) == [1.0, 30.0]
    assert rig.tokens == 1
    assert "a fault" in caplog.text
    await rig.watch.aclose()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_without_a_local_backend() -> None:
    rig = Rig()
    watch = Watch(GUIDE, rig.monitor, rig.states.append, now_s=rig.clock)
    await watch.measure()
    await watch.probe()
    watch.tick()
    assert (watch.state.mode, watch.loaded, watch.cpu_share) == (Mode.NORMAL, None, None)
    assert watch.evidence().local_healthy is None


def test_a_window_is_bounded() -> None:
    window = Window(60.0)
    for number in range(KEPT + 10):
        window.add(0.0, number)
    assert len(list(window.values(60.0))) == KEPT
    assert list(window.values(61.0)) == []


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.95, (None, 0)),
        ([3.0], 0.5, (3.0, 1)),
        ([4.0, 1.0, 3.0, 2.0], 0.5, (2.0, 4)),
        (list(range(1, 21)), 0.95, (19, 20)),
    ],
)
def test_quantiles(values: list[float], part: float, expected: tuple[float, int]) -> None:
    assert quantile(values, part) == expected


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://localhost:11434", 11434),
        ("http://127.0.0.1:1", 1),
        ("http://[::1]:8080/v1", 8080),
        ("http://127.0.0.1", 80),
        ("https://localhost", 443),
        ("http://ollama:11434", None),
        ("http://192.0.2.1:80", None),
    ],
)
def test_which_engines_are_on_this_machine(url: str, port: int | None) -> None:
    assert loopback_port(url) == port


BUSY = """
import os, socket, subprocess, sys
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"],
                         stdin=subprocess.PIPE)
print(server.getsockname()[1], child.pid, flush=True)
sys.stdin.read()
child.communicate()
"""


@pytest.fixture
def engine() -> Iterator[SimpleNamespace]:
    """A process that listens on a port and has a child."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port, child = map(int, process.stdout.readline().split())
    yield SimpleNamespace(process=process, pid=process.pid, port=port, child=child)
    process.communicate("")


class Times:
    """Stands in for the processes' CPU times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: dict[int, float] = {}
        monkeypatch.setattr(psutil.Process, "cpu_times", lambda process: self.of(process.pid))

    def of(self, pid: int) -> Any:
        if pid not in self.seconds:
            raise psutil.NoSuchProcess(pid)
        return SimpleNamespace(user=self.seconds[pid], system=0.0)


def test_the_processes_are_found_by_their_port(engine: SimpleNamespace) -> None:
    assert listener(engine.port) == engine.pid
    meter = CpuMeter(lambda: listener(engine.port), lambda: 0.0)
    assert meter.due()
    meter.search()
    assert not meter.due()
    assert [each.pid for each in meter.processes] == [engine.pid, engine.child]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert listener(unused.getsockname()[1]) is None


def test_the_mean_of_half_a_minute(
    engine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = Times(monkeypatch)
    now_s = 0.0
    meter = CpuMeter(lambda: engine.pid, lambda: now_s, quota=2.0)
    times.seconds = {engine.pid: 100.0, engine.child: 50.0}
    meter.search()
    for now_s in range(31):
        times.seconds[engine.pid] = 100.0 + 0.5 * now_s
        times.seconds[engine.child] = 50.0 + 1.0 * now_s
        share = meter.sample()
        assert (share is None) == (now_s < 30)
    assert share == pytest.approx(0.75)
    del times.seconds[engine.child]  # it ended: the rest counts on
    for now_s in range(31, 62):
        times.seconds[engine.pid] = 100.0 + 0.5 * now_s
        share = meter.sample()
    assert share == pytest.approx(0.25)
    assert len(meter.processes) == 1


def test_an_engine_that_died_is_looked_for_anew(
    engine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = Times(monkeypatch)
    found: list[int | None] = [engine.pid, None, os.getpid()]
    now_s = 0.0
    meter = CpuMeter(lambda: found.pop(0), lambda: now_s)
    meter.search()
    assert meter.sample() is None
    assert not meter.processes
    assert meter.due()
    meter.search()
    assert not meter.due()
    now_s = 29.0
    assert not meter.due()
    now_s = 30.0
    assert meter.due()
    times.seconds[os.getpid()] = 1.0
    meter.search()
    assert meter.processes[0].pid == os.getpid()


def test_a_process_that_is_gone_when_it_is_looked_at() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    meter = CpuMeter(lambda: process.pid, lambda: 0.0)
    meter.search()
    assert (meter.processes, meter.sample()) == ((), None)


async def test_the_watch_searches_and_samples() -> None:
    rig = Rig(cpu=CpuMeter(os.getpid, lambda: rig.now_s, quota=1.0))
    await rig.watch.measure()
    assert rig.watch.cpu_share is None
    rig.now_s += 30
    await rig.watch.measure()
    assert rig.watch.cpu_share is not None
    assert 0 <= rig.watch.cpu_share < 1


def test_memory_of_a_control_group(tmp_path: Path) -> None:
    pid = os.getpid()
    (tmp_path / f"proc/{pid}").mkdir(parents=True)
    group = tmp_path / "sys/fs/cgroup/box"
    group.mkdir(parents=True)
    (tmp_path / f"proc/{pid}/cgroup").write_text("1:name=x:/y\n0::/box\n")
    (group / "memory.stat").write_text("anon 700\nfile 5000\nshmem 100\nslab_unreclaimable 100\n")
    (group / "memory.max").write_text("1000\n")
    assert memory_share([psutil.Process()], tmp_path) == 0.9


@pytest.mark.parametrize("limit", ["max\n", None])
def test_memory_without_a_limit(tmp_path: Path, limit: str | None) -> None:
    if limit is not None:
        pid = os.getpid()
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/cgroup").write_text("0::/\n")
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit)
    share = memory_share([psutil.Process()], tmp_path)
    assert share is not None
    assert 0 < share < 0.9


def test_memory_that_cannot_be_told(tmp_path: Path) -> None:
    assert memory_share([]) is None
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    gone = psutil.Process(process.pid)
    process.communicate()
    assert memory_share([gone], tmp_path) is None


async def test_failed_requests_and_probes_meet_in_one_circuit() -> None:
    rig = Rig()
    for _ in range(3):
        rig.monitor.failed("local", ErrorType.CONNECT)
    rig.watch.tick()
    assert rig.watch.state.mode is Mode.REMOTE_ONLY
    assert not rig.monitor.dead("local")
    assert engine_memory.memory_share(()) is None
    await rig.monitor.aclose()
