"""Each adapter restarts something real: a process, a program on PATH, a server that is scripted."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from firsttoken.core import settings
from firsttoken.core.errors import UserError
from firsttoken.engines.adapters import Command, OllamaModel, docker, of_settings, systemd
from tests.engines.test_supervisor import until

MODEL = "qwen2:1.5b-instruct-q4_0"


def is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    program = script(tmp_path / "restart", f'for a in "$@"; do echo "[$a]"; done > {out}')
    Command((program, "a b", "$(touch x)", "; echo")).restart()
    assert out.read_text() == "[a b]\n[$(touch x)]\n[; echo]\n"


def test_a_command_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    program = script(tmp_path / "restart", "echo first >&2; echo no such unit >&2; exit 5")
    with pytest.raises(UserError) as caught:
        Command((program,)).restart()
    assert str(caught.value) == f"{program} ended with exit code 5: no such unit"
    with pytest.raises(UserError, match=r"ended with exit code 3$"):
        Command((script(tmp_path / "silent", "exit 3"),)).restart()


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot start .*/none: No such file or directory"):
        Command((str(tmp_path / "none"),)).restart()


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = script(tmp_path / "restart", f"sleep 600 & echo $! > {note}; wait")
    with pytest.raises(UserError, match=r"did not end within 0\.3 s"):
        Command((program,), timeout_s=0.3).restart()
    child = int(note.read_text())
    until(lambda: not psutil.pid_exists(child) or is_zombie(child))  # nobody may reap it


def test_an_engine_that_the_command_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = script(tmp_path / "restart", f"sleep 600 & echo $! > {note}")
    began = time.monotonic()
    Command((program,)).restart()
    assert time.monotonic() - began < 5
    engine = psutil.Process(int(note.read_text()))
    assert engine.is_running()
    engine.kill()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Executables ``docker`` and ``systemctl`` that write down how they were called."""
    log = tmp_path / "log"
    for name in ("docker", "systemctl"):
        script(tmp_path / name, f'echo "{name} $*" >> {log}')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return log


def test_containers_and_units(on_path: Path) -> None:
    docker("xiaozhi-ollama").restart()
    systemd("ollama@main.service").restart()
    assert on_path.read_text() == (
        "docker restart xiaozhi-ollama\nsystemctl restart ollama@main.service\n"
    )


@pytest.mark.parametrize("make", [docker, systemd])
@pytest.mark.parametrize(
    "name", ["", "-H", "--all", "a b", "a;b", "a/b", "../a", "a\n", "$(a)", "a" * 129, "名"]
)
def test_names_that_could_be_something_else(make: Callable[[str], Command], name: str) -> None:
    with pytest.raises(UserError, match="no possible name") as caught:
        make(name)
    assert "\n" not in str(caught.value)


class Ollama:
    """A server that loads and unloads as Ollama does: unloading takes a while."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.keys: set[str | None] = set()
        self.loaded = True
        self.looks = 0
        self.leaves_after = 3
        self.answer: tuple[int, bytes] | None = None
        self.loading = threading.Event()
        self.loading.set()
        """Set: a model is loaded at once."""

    def handle(self, path: str, body: Any) -> tuple[int, bytes]:
        self.calls.append((path, body))
        if self.answer is not None:
            return self.answer
        if path == "/api/ps":
            self.looks += 1
            self.loaded = self.loaded and self.looks < self.leaves_after
            models = [{"name": MODEL}] if self.loaded else []
            return 200, json.dumps({"models": models}).encode()
        if body["keep_alive"] != 0:
            self.loading.wait(10)
            self.loaded = True
        return 200, b'{"done": true}'


@pytest.fixture
def ollama() -> Iterator[tuple[Ollama, str]]:
    state = Ollama()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(size)
            state.keys.add(self.headers.get("Authorization"))
            status, told = state.handle(self.path, json.loads(data) if data else None)
            self.send_response(status)
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        do_GET = _serve  # noqa: N815 - its name there
        do_POST = _serve  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_ollama_unloads_waits_and_loads_with_the_same_options(ollama: tuple[Ollama, str]) -> None:
    state, url = ollama
    naps: list[float] = []
    OllamaModel(
        url, MODEL, "24h", {"num_ctx": 2048}, {"Authorization": "Bearer k"}, sleep=naps.append
    ).restart()
    assert [path for path, _ in state.calls] == ["/api/generate", *["/api/ps"] * 3, "/api/generate"]
    assert state.calls[0][1] == {"model": MODEL, "keep_alive": 0, "stream": False}
    assert state.calls[-1][1] == {
        "model": MODEL,
        "keep_alive": "24h",
        "options": {"num_ctx": 2048},
        "stream": False,
    }
    assert state.loaded
    assert len(naps) == 2
    assert state.keys == {"Bearer k"}


def test_loading_may_take_longer_than_other_answers(ollama: tuple[Ollama, str]) -> None:
    state, url = ollama
    state.loading.clear()
    later = threading.Timer(0.5, state.loading.set)
    later.start()
    OllamaModel(url, MODEL, timeout_s=0.3, load_s=10.0, sleep=lambda _: None).restart()
    later.join()
    assert state.loaded


def test_ollama_lists_a_name_without_its_tag_as_the_latest(ollama: tuple[Ollama, str]) -> None:
    state, url = ollama
    state.answer = 200, b'{"models": [{"name": "llama3:latest"}]}'
    with pytest.raises(UserError, match="did not unload llama3 within 1 s"):
        OllamaModel(url, "llama3", timeout_s=1, sleep=lambda _: None).restart()
    OllamaModel(url, "llama3:8b", timeout_s=1, sleep=lambda _: None).restart()


def test_ollama_that_keeps_the_model(ollama: tuple[Ollama, str]) -> None:
    state, url = ollama
    state.leaves_after = 1000
    with pytest.raises(UserError, match=f"did not unload {MODEL} within 1 s"):
        OllamaModel(url, MODEL, timeout_s=1, sleep=lambda _: None).restart()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (404, b'{"error": "model not found"}'),
            "Ollama answered /api/generate with HTTP 404: model not found",
        ),
        ((500, b"oops"), "Ollama answered /api/generate with HTTP 500"),
    ],
)
def test_ollama_that_refuses(
    ollama: tuple[Ollama, str], answer: tuple[int, bytes], message: str
) -> None:
    state, url = ollama
    state.answer = answer
    with pytest.raises(UserError) as caught:
        OllamaModel(url, MODEL).restart()
    assert str(caught.value) == message


def test_ollama_that_is_gone() -> None:
    with pytest.raises(UserError, match=r"does not answer /api/generate: .*refused"):
        OllamaModel("http://127.0.0.1:1", MODEL).restart()


class Engine:
    def restart(self) -> None:
        """Do nothing."""


def chosen(**recovery: Any) -> Any:
    engine = recovery.pop("engine", None)
    options = recovery.pop("options", None)
    loaded = settings.from_mapping({"recovery": recovery}, {})
    return of_settings(loaded, engine=engine, options=options)


def test_the_settings_choose() -> None:
    assert chosen() is None
    engine = Engine()
    assert chosen(adapter="embedded", engine=engine) is engine
    with pytest.raises(UserError, match="started none"):
        chosen(adapter="embedded")
    assert chosen(adapter="docker", name="ollama", timeout=9) == docker("ollama", 9)
    assert chosen(adapter="systemd", name="ollama.service") == systemd("ollama.service")
    assert chosen(adapter="command", command=["/bin/x", "y"]) == Command(("/bin/x", "y"))
    model = chosen(adapter="ollama", options={"num_ctx": 4096})
    assert (model.base_url, model.model) == ("http://localhost:11434", MODEL)
    assert (model.keep_alive, model.options) == ("24h", {"num_ctx": 4096})
    assert (model.timeout_s, model.load_s) == (60.0, 120.0)


def test_ollama_needs_a_local_model() -> None:
    remote = {"name": "cloud", "endpoint": "http://cloud:1", "model": "m"}
    loaded = settings.from_mapping(
        {"recovery": {"adapter": "ollama"}, "llm_routing": {"remote_models": [remote]}}, {}
    )
    with pytest.raises(UserError, match=r"needs llm_routing\.local_model"):
        of_settings(loaded)


@pytest.mark.parametrize(
    ("recovery", "message"),
    [
        ({"adapter": "docker"}, "adapter docker lacks name; expected the container or the unit"),
        ({"adapter": "systemd"}, "adapter systemd lacks name"),
        ({"adapter": "command"}, "adapter command lacks command; expected a program in a list"),
        ({"adapter": "docker", "name": "--all"}, "recovery.name"),
        ({"adapter": "command", "command": "rm -rf /"}, "recovery.command"),
        ({"adapter": "command", "command": [""]}, r"recovery.command\[0\]"),
        ({"adapter": "reboot"}, "recovery.adapter"),
        ({"memory": 0}, "recovery.memory"),
        ({"most_per_hour": 0}, "recovery.most_per_hour"),
    ],
)
def test_settings_that_cannot_be(recovery: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings.from_mapping({"recovery": recovery}, {})
