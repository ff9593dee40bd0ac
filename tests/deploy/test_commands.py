"""Every command line of docker-compose.yml, tried as a process, wherever its program is here."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from firsttoken.core.child import Child
from tests.deploy.compose import OURS, ROOT, read, services
from tests.deploy.stand_in import MODEL, StandIn

FILES = services(read(OURS))
DEADLINE_S = 20.0
KEY = "k" * 48
BIN = Path(sys.executable).parent
Content = dict[str, Any]


def by_hand(name: str, places: dict[str, Path]) -> list[str]:
    """Return a service's command with the paths of its mounts, and of ``places``, as they are
    here."""
    service = FILES[name]
    mounts = [each.split(":")[:2] for each in service.get("volumes", ()) if each.startswith(".")]
    paths = {target: str(ROOT / source) for source, target in mounts}
    paths |= {target: str(path) for target, path in places.items()}
    words = [*service.get("entrypoint", ()), *service["command"]]
    for target in sorted(paths, key=len, reverse=True):
        words = [word.replace(target, paths[target]) for word in words]
    return words


def environment(name: str, **changes: str) -> dict[str, str]:
    told = FILES[name].get("environment", {})
    return {**{key: str(value) for key, value in told.items()}, **changes}


def until(succeeds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not succeeds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(words: list[str], **changes: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        words, env={**os.environ, **changes}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def checks(*words: str) -> bool:
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("name", ["router", "exporter"])
def test_verbs_and_options_exist(name: str) -> None:
    verb, *options = FILES[name]["command"]
    program = str(BIN / "firsttoken")
    done = subprocess.run(
        [program, verb, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    for option in options:
        if option.startswith("--"):
            assert option in done.stdout


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    for name in ("api_keys", "alert_token"):
        (tmp_path / name).write_text(KEY)
    runs = tmp_path / "runs"
    return {
        "FIRSTTOKEN__SERVER__API_KEYS_FILE": str(tmp_path / "api_keys"),
        "FIRSTTOKEN__ALERT_ACTIONS__TOKEN_FILE": str(tmp_path / "alert_token"),
        "FIRSTTOKEN__ALERT_ACTIONS__KILL_SWITCH": str(runs / "stop"),
        "FIRSTTOKEN__ALERT_ACTIONS__AUDIT_LOG": str(runs / "audit.jsonl"),
        "FIRSTTOKEN__ALERT_ACTIONS__SNAPSHOTS": str(runs / "snapshots"),
    }


def test_router_serves_with_its_key_alone(secrets: dict[str, str]) -> None:
    with StandIn().serving() as engine:
        here = {**secrets, "LOCAL_LLM_ENDPOINT": f"http://{engine.at}"}
        words = [str(BIN / "firsttoken"), *by_hand("router", {}), "--host", "127.0.0.1"]
        words += ["--port", "0", "--ready-json"]
        with (
            Child.start(words, env=environment("router", **here)) as router,
            httpx.Client(base_url=router.url, timeout=10) as client,
        ):
            for open_to_all in ("/healthz", "/metrics"):
                assert client.get(open_to_all).status_code == 200
            assert client.get("/v1/models").status_code == 401
            listed = client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"})
            assert MODEL in listed.text
            assert client.post("/-/alerts", json={}).status_code == 401


def test_an_open_router_without_keys_does_not_start() -> None:
    words = [str(BIN / "firsttoken"), *by_hand("router", {}), "--port", "0"]
    done = subprocess.run(
        words,
        env={**os.environ, **environment("router")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "api_keys" in done.stderr


def test_image_health_check_of_the_router_and_that_of_the_exporter() -> None:
    check = FILES["exporter"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "-c"]
    with StandIn().serving() as server:
        for source in (check[3], _image_health_check()):
            assert "/healthz" in source
            there = source.replace("/healthz", "/api/tags")
            for port in ("8080", "9464"):
                there = there.replace(f":{port}/", f":{server.port}/")
            for good, source_of_check in (
                (True, there),
                (False, there.replace("/api/tags", "/nothing")),
            ):
                assert checks(sys.executable, "-c", source_of_check) is good


def _image_health_check() -> str:
    text = (ROOT / "Dockerfile").read_text()
    return text.split('CMD ["python", "-c", "', 1)[1].split('"]', 1)[0]


def test_exporter_watches_the_engine() -> None:
    with StandIn().serving() as engine:
        here = {"LOCAL_LLM_ENDPOINT": f"http://{engine.at}"}
        words = [str(BIN / "firsttoken"), *by_hand("exporter", {}), "--ready-json"]
        words[words.index("--pid") + 1] = str(os.getpid())
        words[words.index("--host") + 1] = "127.0.0.1"
        words += ["--port", "0"]
        with Child.start(words, env=environment("exporter", **here)) as exporter:
            assert answers(f"{exporter.url}/healthz")
            until(
                lambda: (
                    'llm_process_resident_memory_bytes{component="engine"}'
                    in httpx.get(f"{exporter.url}/metrics", timeout=5).text
                )
            )


def test_prometheus_starts_and_its_health_check_succeeds(tmp_path: Path) -> None:
    port = free_port()
    words = ["prometheus", *by_hand("prometheus", {"/prometheus": tmp_path / "data"})]
    # The path of its settings holds the path of its data as well.
    words[1] = f"--config.file={ROOT}/dashboards/generated/prometheus.yml"
    assert checks("promtool", "check", "config", words[1].partition("=")[2])
    with running([*words, f"--web.listen-address=127.0.0.1:{port}"]):
        until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        check = _check("prometheus", 9090, port)
        assert checks(*check)
    assert not checks(*check)


def test_alertmanager_starts_and_its_health_check_succeeds(tmp_path: Path) -> None:
    port = free_port()
    words = by_hand("alertmanager", {})
    program = shutil.which("alertmanager") or "prometheus-alertmanager"
    words[words.index("--storage.path=/alertmanager")] = f"--storage.path={tmp_path}"
    (config,) = (word.partition("=")[2] for word in words if word.startswith("--config.file="))
    assert checks("amtool", "check-config", config)
    with running([program, *words, f"--web.listen-address=127.0.0.1:{port}"]):
        until(lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        check = _check("alertmanager", 9093, port)
        assert checks(*check)
    assert not checks(*check)


def _check(name: str, usual: int, port: int) -> list[str]:
    words = FILES[name]["healthcheck"]["test"][1:]
    return [word.replace(f":{usual}", f":{port}") for word in words]


def test_alertmanager_finds_its_token_and_prometheus_its_targets() -> None:
    text = (ROOT / "dashboards/generated/alertmanager.yml").read_text()
    assert "/run/secrets/alert_token" in text
    assert "alert_token" in FILES["alertmanager"]["secrets"]
    assert "http://router:8080/-/alerts" in text
    text = (ROOT / "dashboards/generated/prometheus.yml").read_text()
    for target in ("router:8080", "exporter:9464", "alertmanager:9093"):
        assert target in text
        here, there = FILES["prometheus"]["networks"], FILES[target.split(":")[0]]["networks"]
        assert set(here) & set(there)


def test_load_master_takes_two_workers() -> None:
    web, bind = free_port(), free_port()
    master = [str(BIN / by_hand("load-master", {})[0]), *by_hand("load-master", {})[1:]]
    master[master.index("--web-host") + 1] = "127.0.0.1"
    master += ["--web-port", str(web), "--master-bind-host", "127.0.0.1"]
    master += ["--master-bind-port", str(bind)]
    worker = [str(BIN / "locust"), *by_hand("load-worker", {})[1:], "--master-port", str(bind)]
    worker[worker.index("--master-host") + 1] = "127.0.0.1"
    key = {"FIRSTTOKEN_API_KEY": KEY}
    with running(master, **key), running(worker, **key), running(worker, **key):
        until(lambda: answers(f"http://127.0.0.1:{web}/"))

        def ready() -> bool:
            found = httpx.get(f"http://127.0.0.1:{web}/stats/requests", timeout=5).json()
            wanted: int = FILES["load-worker"]["deploy"]["replicas"]
            return len(found["workers"]) == wanted

        until(ready)
