"""A real Alertmanager, asked what it holds back."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.dashboards.rules.judging import every_alert, packaged, shipped_files
from tests.dashboards.rules.subjects import DEFAULT_SUBJECTS

PATIENCE_S = 20.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(name="alertmanager", scope="module")
def _alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    (folder / "alertmanager.yml").write_bytes(shipped_files()["alertmanager.yml"])
    address = f"127.0.0.1:{_free_port()}"
    command = [
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):
        try:
            with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
                _until_ready(client, folder / "log")
                yield client
        finally:
            server.terminate()


def _until_ready(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if client.get("/-/ready").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def _labels(name: str) -> dict[str, str]:
    """Return the labels of the first alert of a name as it fires."""
    alert = next(each for each in every_alert(*packaged()) if each.name == name)
    found = next(each.found for each in DEFAULT_SUBJECTS if each.alert == name)
    own = {"backend": alert.backend, "action": alert.action, **alert.labels}
    named = {key: str(value) for key, value in own.items() if value}
    return {"alertname": name, "severity": alert.severity, **found, **named}


def _held_back(client: httpx.Client, *alerts: dict[str, str]) -> set[str]:
    """Post alerts and return the names of those that are held back; then end them."""

    def post(ends: str) -> None:
        body = [{"labels": each, "endsAt": ends} for each in alerts]
        client.post("/api/v2/alerts", json=body).raise_for_status()

    post("2099-01-01T00:00:00Z")
    try:
        deadline = time.monotonic() + PATIENCE_S
        shown: list[dict[str, dict[str, str]]] = []
        while len(shown) < len(alerts) and time.monotonic() < deadline:
            shown = client.get("/api/v2/alerts").json()
        assert len(shown) == len(alerts)
        return {each["labels"]["alertname"] for each in shown if each["status"]["inhibitedBy"]}
    finally:
        post("2020-01-01T00:00:00Z")


def test_a_backend_that_is_down_holds_back_what_follows_from_it(
    alertmanager: httpx.Client,
) -> None:
    names = ("LLMHighLocalErrorRate", "LLMHighLocalResponseTime", "LLMLocalShareLow")
    others = ("LLMHighMemoryUsage", "LLMErrorBudgetBurn", "LLMRemoteBackendDown")
    every = [_labels(name) for name in ("LLMLocalBackendDown", *names, *others)]
    assert _held_back(alertmanager, *every) == set(names)


def test_a_remote_backend_that_flaps_is_told_while_the_local_one_is_down(
    alertmanager: httpx.Client,
) -> None:
    flapping = {**_labels("LLMBreakerFlapping"), "backend": "cloud"}
    assert _held_back(alertmanager, _labels("LLMLocalBackendDown"), flapping) == set()


def test_one_fault_asks_for_one_action(alertmanager: httpx.Client) -> None:
    both = (_labels("LLMHighLocalErrorRate"), _labels("LLMFallbackStorm"))
    assert _held_back(alertmanager, *both) == {"LLMFallbackStorm"}


def test_a_load_test_holds_back_latency_and_no_failure(alertmanager: httpx.Client) -> None:
    late = ("LLMHighLocalResponseTime", "LLMTTFTBudgetBurn")
    failing = ("LLMHighLocalErrorRate", "LLMLocalBackendDown", "LLMErrorBudgetBurn")
    every = [_labels(name) for name in ("LLMLoadTestRunning", *late, *failing)]
    held = _held_back(alertmanager, *every)
    # The errors are held back by the backend that is down, not by the load test.
    assert held == {*late, "LLMHighLocalErrorRate"}


def test_a_slow_leak_is_not_told_beside_a_fast_one(alertmanager: httpx.Client) -> None:
    fast = _labels("LLMTTFTBudgetBurn")
    slow = {**fast, "severity": "warning", "window": "3d"}
    other = {**slow, "alertname": "LLMErrorBudgetBurn"}
    assert _held_back(alertmanager, fast, slow, other) == {"LLMTTFTBudgetBurn"}
