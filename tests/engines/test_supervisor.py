"""A real engine serves, comes back on the same address after a kill, and leaves nothing behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.engines.memory import memory_needed
from firsttoken.engines.options import EngineOptions, check, default_model
from firsttoken.engines.supervisor import EngineSupervisor, RestartPolicy, reserve_port

SMALL = EngineOptions(
    model=default_model(),
    slots=2,
    context_per_slot=512,
    threads=1,
    max_tokens=16,
    preload=False,
    prompt_cache_mib=0,
)


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait for ``condition`` to hold."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.02)


def request(
    url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def generate(url: str) -> str:
    """Stream a short answer and return its text."""
    body = {
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": True,
        "max_tokens": 4,
    }
    response, data = request(url, "POST", "/v1/chat/completions", body)
    assert response.status == 200
    events = [line[6:] for line in data.decode().splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineSupervisor]:
    log = tmp_path_factory.mktemp("engine") / "engine.log"
    with EngineSupervisor(check(SMALL).options, log=log) as running:
        yield running


def test_serves_and_streams(engine: EngineSupervisor) -> None:
    assert engine.url.startswith("http://127.0.0.1:")
    assert (engine.slots, engine.context_per_slot) == (2, 512)
    assert json.loads(request(engine.url, "GET", "/health")[1]) == {"status": "ok"}
    assert generate(engine.url)
    models = json.loads(request(engine.url, "GET", "/v1/models")[1])
    assert models["data"][0]["id"] == engine.options.model_name == "SmolLM2-135M-Instruct.Q4_1"


def test_metrics_and_slots_are_on(engine: EngineSupervisor) -> None:
    assert b"llamacpp:" in request(engine.url, "GET", "/metrics")[1]
    assert len(json.loads(request(engine.url, "GET", "/slots")[1])) == 2


def test_no_web_page_may_read_from_it(engine: EngineSupervisor) -> None:
    headers = {"Origin": "http://evil.example"}
    response, _ = request(engine.url, "GET", "/v1/models", headers=headers)
    assert response.headers["Access-Control-Allow-Origin"] in {None, ""}


def test_answers_end_at_max_tokens(engine: EngineSupervisor) -> None:
    body = {"messages": [{"role": "user", "content": "Count to one hundred."}]}
    answer = json.loads(request(engine.url, "POST", "/v1/chat/completions", body)[1])
    assert answer["usage"]["completion_tokens"] <= SMALL.max_tokens


def test_memory_stays_below_the_estimate(engine: EngineSupervisor) -> None:
    need = check(SMALL).need.total
    assert engine.pid is not None
    resident = psutil.Process(engine.pid).memory_info().rss
    assert 0.3 * need < resident < 1.15 * need
    assert need == memory_needed(check(SMALL).header, 2, 512)


def test_a_killed_engine_comes_back_on_the_same_address(tmp_path: Path) -> None:
    events: list[str] = []
    engine = EngineSupervisor(SMALL, log=tmp_path / "log", on_event=events.append)
    with engine:
        url, first = engine.url, engine.pid
        assert first is not None
        with socket.create_connection(("127.0.0.1", engine.options.port)) as client:
            client.sendall(b"GET /health HTTP/1.1\r\n")  # a client that is cut off in mid-request
            os.kill(first, signal.SIGKILL)
            until(lambda: engine.restarts == 1 and len(events) == 1)
        assert engine.url == url
        assert engine.pid not in {None, first}
        assert generate(url)
        assert "ended by signal 9; restarted in" in events[0]
        second = engine.pid
        began = time.monotonic()
    assert time.monotonic() - began < 8
    assert engine.wait(0)
    assert engine.failure is None
    assert engine.pid is None
    assert second is not None
    assert not psutil.pid_exists(second)
    engine.stop()


def test_restarted_on_request(tmp_path: Path) -> None:
    events: list[str] = []
    policy = RestartPolicy(most=1)
    engine = EngineSupervisor(SMALL, log=tmp_path / "log", on_event=events.append, policy=policy)
    with pytest.raises(UserError, match="was not started"):
        engine.restart()
    with engine:
        url, pids = engine.url, [engine.pid]
        for count in (1, 2):  # more than the policy allows after deaths
            engine.restart()
            assert engine.restarts == count
            assert engine.pid not in {None, *pids}
            assert not [pid for pid in pids if pid is None or psutil.pid_exists(pid)]
            pids.append(engine.pid)
            assert engine.url == url
            assert generate(url)
        assert [event.partition(" in ")[0] for event in events] == [
            "the engine was restarted on request"
        ] * 2
        assert pids[-1] is not None
        os.kill(pids[-1], signal.SIGKILL)  # it is watched as the first one was
        until(lambda: engine.restarts == 3)
    with pytest.raises(UserError, match="was stopped"):
        engine.restart()
    assert engine.failure is None


def test_a_request_that_fails_is_tried_again_as_after_a_death(tmp_path: Path) -> None:
    link = tmp_path / "model.gguf"
    link.symlink_to(default_model())
    events: list[str] = []
    options = EngineOptions(model=link, slots=1, context_per_slot=256, threads=1, preload=False)
    engine = EngineSupervisor(options, log=tmp_path / "engine.log", on_event=events.append)
    with engine:
        link.unlink()
        with pytest.raises(UserError, match="before it was ready"):
            engine.restart()
        link.symlink_to(default_model())
        until(lambda: engine.restarts == 1 and engine.pid is not None)
        assert generate(engine.url)
        assert "; restarted in" in events[-1]


def test_stop_during_a_restart_on_request(tmp_path: Path) -> None:
    engine = EngineSupervisor(SMALL, log=tmp_path / "log")
    engine.start()
    before = engine.pid
    caught: list[str] = []

    def restart() -> None:
        try:
            engine.restart()
        except UserError as error:
            caught.append(str(error))

    thread = threading.Thread(target=restart)
    thread.start()
    until(lambda: before is not None and not psutil.pid_exists(before))
    began = time.monotonic()
    engine.stop()
    thread.join()
    assert time.monotonic() - began < 8
    children = psutil.Process().children()
    assert not [p for p in live(children) if engine.options.to_json() in p.cmdline()]
    assert not caught or "stopped before it was ready" in caught[0]


def test_stop_during_a_restart(tmp_path: Path) -> None:
    engine = EngineSupervisor(SMALL, log=tmp_path / "log")
    engine.start()
    before = engine.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    children = psutil.Process().children
    # Stop when the next child exists but does not serve yet.
    until(
        lambda: any(
            "firsttoken.engines.llamacpp" in p.cmdline() and p.pid != before
            for p in live(children())
        )
    )
    began = time.monotonic()
    engine.stop()
    assert time.monotonic() - began < 8
    assert not [p for p in live(children()) if engine.options.to_json() in p.cmdline()]


def live(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_given_up_after_too_many_deaths(tmp_path: Path) -> None:
    link = tmp_path / "model.gguf"
    link.symlink_to(default_model())
    options = EngineOptions(model=link, slots=1, context_per_slot=256, threads=1, preload=False)
    policy = RestartPolicy(most=2, first_pause_s=0.01)
    engine = EngineSupervisor(options, log=tmp_path / "engine.log", policy=policy)
    with engine:
        link.unlink()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        assert engine.wait(30)
        message = str(engine.failure)
        assert "did not start again" in message
        assert "given up after 2 tries" in message
        assert "failed to load model" in message or "failed to open" in message
        assert str(tmp_path / "engine.log") in message
        assert "\n" not in message
        assert engine.pid is None


def test_port_taken_by_a_server() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot serve on 127.0.0.1 port {port}: it is taken"):
            EngineSupervisor(EngineOptions(model=default_model(), port=port)).start()


def test_a_reserved_port_can_be_served_on_but_not_given_away() -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        address = holder.getsockname()
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen()
            with socket.create_connection(address, timeout=5):
                accepted, _ = server.accept()
                accepted.close()


def test_host_of_another_machine() -> None:
    with pytest.raises(UserError, match=r"host 192\.0\.2\.1: not an address of this machine"):
        reserve_port("192.0.2.1", 0)


def test_started_twice(engine: EngineSupervisor) -> None:
    with pytest.raises(UserError, match="started already"):
        engine.start()


def test_model_that_only_looks_like_one(tmp_path: Path) -> None:
    path = tmp_path / "strange.gguf"
    data = bytearray(default_model().read_bytes())
    at = data.index(b"llama", data.index(b"general.architecture"))
    data[at : at + 5] = b"lloma"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        EngineSupervisor(
            EngineOptions(model=path, slots=1, context_per_slot=256, preload=False),
            log=tmp_path / "engine.log",
        ).start()
    message = str(caught.value)
    assert "llama.cpp could not start with" in message
    assert "lloma" in message
    assert "\n" not in message


POLICY = RestartPolicy(most=3, window_s=60, first_pause_s=1, longest_pause_s=3)


@pytest.mark.parametrize(
    ("restarts_s", "now_s", "pause_s"),
    [
        ([], 0, 0.0),
        ([0], 1, 1.0),
        ([0, 1], 2, 2.0),
        ([0, 1, 2], 3, None),
        ([0, 1, 2], 60.5, 2.0),
        ([0, 1, 2], 1000, 0.0),
    ],
)
def test_restart_policy(restarts_s: list[float], now_s: float, pause_s: float | None) -> None:
    restarts = [int(at * NS_PER_S) for at in restarts_s]
    assert POLICY.pause_s(restarts, int(now_s * NS_PER_S)) == pause_s


def test_pauses_are_bounded() -> None:
    policy = RestartPolicy(most=100, longest_pause_s=10)
    assert policy.pause_s([0] * 60, 0) == 10
