"""Locust's web UI over the whole folder, as ``locust -f loadtests/`` opens it."""

from __future__ import annotations

import csv
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.load.scripted import (
    CHUNKED_HEAD,
    DONE,
    STOP,
    Reply,
    Scripted,
    chunked,
    delta,
    error_reply,
    sse,
)

ROOT = Path(__file__).parents[2]


class WebUi:
    """The process, and a browser's way to it."""

    def __init__(self, *options: str, path: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        argv = [sys.executable, "-m", "locust", "-f", "loadtests/", "--web-port", str(port)]
        self.child = subprocess.Popen(
            [*argv, *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.http = httpx.Client(base_url=f"{self.url}{path}")

    def stop(self) -> str:
        self.http.close()
        self.child.send_signal(signal.SIGTERM)
        return self.child.communicate(timeout=15)[0]

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get("/stats/requests").json()
        return found

    def start(
        self, host: str, *, origin: str | None = None, **form: str | list[str]
    ) -> dict[str, Any]:
        asked: dict[str, str | list[str]]
        asked = {"user_count": "2", "spawn_rate": "10", "user_classes": "Steps", "host": host}
        asked |= {"model": "truth", "max_tokens": "5", "dialect": "openai"} | form
        headers = {} if origin is None else {"Origin": origin}
        found: dict[str, Any] = self.http.post("/swarm", data=asked, headers=headers).json()
        return found

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        waited = threading.Event()
        stats: dict[str, Any] = {}
        for _ in range(400):
            with suppress(httpx.TransportError):
                stats = self.stats()
                if holds(stats):
                    return stats
            waited.wait(0.05)
        raise AssertionError(f"not within 20 s: {stats}")


@contextmanager
def web_ui(*options: str, path: str = "") -> Iterator[WebUi]:
    web = WebUi(*options, path=path)
    try:
        web.until(lambda stats: stats["state"] == "ready")
        yield web
    finally:
        said = web.stop()
    assert f"Starting web interface at {web.url}" in said, "on loopback only"
    assert "Traceback" not in said


@pytest.fixture(scope="module")
def web() -> Iterator[WebUi]:
    with web_ui("--ttft-target-ms", "100", "--web-base-path", "/load", path="/load") as opened:
        yield opened


def tab(stats: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of the tab by what they are of, in the order in which the page sorts them."""
    (table,) = [each for each in stats["extended_stats"] if each["key"] == "first-token"]
    return {row["what"]: row for row in sorted(table["data"], key=lambda row: row["name"])}


def reply(tier: str, reason: str, wait_s: float) -> Reply:
    head = CHUNKED_HEAD.replace(b"tier: local", f"tier: {tier}".encode())
    head = head.replace(b"rule_simple", reason.encode())
    return Reply([head, wait_s, *chunked(sse(delta("Hello."), STOP, DONE))])


FAILS = error_reply(
    503,
    '{"error":{"message":"no"}}',
    "x-firsttoken-tier: none\r\nx-firsttoken-reason: all_others_failed\r\n",
)
ROUND = [
    reply("local", "rule_simple", 0.02),
    reply("remote", "rule_complex", 0.15),
    reply("cache", "cache_exact", 0.0),
    FAILS,
]


def test_a_form_that_cannot_run_is_told_so(web: WebUi, truth_url: str) -> None:
    page = web.http.get("/").text
    assert "max_tokens" in page
    assert "think" in page
    assert "First token" in page
    assert "run_plan" not in page
    assert "api_key_env" not in page
    every = ["Burst", "OpenLoop", "Replay", "Sessions", "Soak", "Steps", "Voice"]
    for answer, says in (
        (web.start("nowhere"), "'nowhere' is not a URL"),
        (web.start(""), "no server was named"),
        (web.start(truth_url, user_classes=every), "choose one scenario"),
        (web.start(truth_url, rate="many"), "rate is 'many', expected a number"),
        (web.start(truth_url, user_classes="OpenLoop", rate="0"), "--rate"),
        (web.start(truth_url, api_key_env="HOME"), "not the --api-key-env of this command"),
        (web.start(truth_url, origin="http://other.example"), "may not start a run here"),
    ):
        assert not answer["success"]
        assert says in answer["message"]
    assert web.stats()["state"] in {"ready", "stopped"}
    assert web.start(truth_url, origin=web.url)["success"]
    names = {"TTFT", "TTFS", "TPOT", "E2E", "Aggregated"}
    web.until(lambda stats: names <= {row["name"] for row in stats["stats"]})
    web.http.post("/stop")


def test_the_tab_shows_tiers_target_and_generator(web: WebUi) -> None:
    with Scripted(ROUND * 100) as server:
        assert web.start(server.url, user_count="8")["success"]
        stats = web.until(lambda stats: tab(stats)["all replies"]["n"] >= 80)
        rows = tab(stats)
        assert list(rows) == [
            "all replies",
            "the generator itself",
            "all replies, from the planned start",
            *("tier local", "tier remote", "tier cache", "tier none"),
            *("reason all_others_failed", "reason cache_exact"),
            *("reason rule_complex", "reason rule_simple", "begun with text"),
        ]
        tiers = [rows[f"tier {name}"] for name in ("local", "remote", "cache", "none")]
        assert sum(row["n"] for row in tiers) == rows["all replies"]["n"]
        assert [row["failed"] == row["n"] for row in tiers] == [False, False, False, True]
        assert int(rows["tier remote"]["p50_ms"]) >= 150
        assert rows["tier remote"]["within"] == "0.0%"
        assert rows["tier none"]["p95_ms"] == "never"
        # A failed request waits a quarter of a second; each talker keeps its connection.
        assert float(rows["all replies"]["kept"].rstrip("%")) >= 85
        # Half of the replies are late or failed; a busy machine may not be trusted to say so.
        assert rows["all replies"]["verdict"] in {"FAIL", "UNTRUSTED"}
        assert "event loop late by" in rows["the generator itself"]["why"]
        lines = list(csv.reader(web.http.get("/first-token/csv").text.splitlines()))
        assert lines[0][:6] == [
            *("First token of", "Replies", "Failed", "p50 (ms)", "p95 (ms)", "Within 100 ms")
        ]
        assert [line[0] for line in lines[1:]] == list(rows)
        assert web.http.post("/stop").json()["success"]
        web.until(lambda stats: stats["state"] == "stopped")
        # What Locust's own table counted, the tab did: and reset clears both.
        stats = web.stats()
        (e2e,) = [row for row in stats["stats"] if row["name"] == "E2E"]
        shown = tab(stats)["all replies"]
        assert (shown["n"], shown["failed"]) == (e2e["num_requests"], e2e["num_failures"])
        assert e2e["num_requests"] == len(server.requests)
        web.http.post("/stats/reset")
        assert (
            tab(web.until(lambda stats: not stats["stats"][-1]["num_requests"]))["all replies"]["n"]
            == 0
        )


def test_workers_figures_reach_the_master_whole() -> None:
    """Rows and tab of the master add up to what the server heard, to the last reply."""
    with Scripted(ROUND * 200) as server, web_ui("--processes", "2") as web:
        web.until(lambda stats: stats.get("worker_count") == 2)
        assert web.start(server.url, user_count="4")["success"]
        web.until(lambda _: len(server.requests) >= 40)
        web.http.post("/stop")
        stats = web.until(lambda stats: stats["state"] == "stopped")
        heard = len(server.requests)
        table = {row["name"]: row for row in stats["stats"]}
        assert {table[name]["num_requests"] for name in ("TTFT", "E2E", "Aggregated")} == {heard}
        failed = {table[name]["num_failures"] for name in ("TTFT", "E2E", "Aggregated")}
        assert failed == {heard // 4}
        # To the millisecond: 150 ms and a little.
        assert table["TTFT"]["response_time_percentile_0.95"] >= 150
        rows = tab(stats)
        assert rows["all replies"]["n"] == heard
        tiers = [row["n"] for what, row in rows.items() if what.startswith("tier")]
        assert sum(tiers) == heard
        assert int(rows["tier remote"]["p50_ms"]) >= 150
        assert "of a core" in rows["the generator itself"]["why"]
    # Talkers are numbered through: no two of them speak for the same device.
    names = [each.split(b"x-request-id: ")[1].split(b"\r\n")[0] for each in server.requests]
    assert len(set(names)) == heard
    assert {name.rsplit(b"-", 2)[1] for name in names} == {b"0", b"1", b"2", b"3"}
