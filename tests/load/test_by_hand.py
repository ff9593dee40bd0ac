"""Locust driven by hand on the command line, as a child process.

Importing locust patches the process, so nothing here imports it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.load.scripted import CHUNKED_HEAD, DONE, STOP, Reply, Scripted, chunked, delta, sse

ROOT = Path(__file__).parents[2]


def by_hand(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", "loadtests/", "--headless", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def table_of(history: Path) -> pd.DataFrame:
    return pd.read_csv(f"{history}_stats.csv").set_index("Name")


def test_locust_prints_rows_at_one_millisecond(truth_url: str, tmp_path: Path) -> None:
    history, page = tmp_path / "stats", tmp_path / "report.html"
    done = by_hand(
        *("Steps", "-u", "3", "-r", "10", "-t", "1s", "--host", truth_url, "--max-tokens", "30"),
        *("--csv", str(history), "--html", str(page)),
    )
    assert done.returncode == 0, done.stderr
    table = table_of(history)
    assert set(table.index) == {"TTFT", "TTFS", "TPOT", "E2E", "Aggregated"}
    # The total is that of E2E: nothing is mixed or counted twice.
    figures = table.drop(columns="Type")
    assert list(figures.loc["Aggregated"]) == list(figures.loc["E2E"])
    assert (table["Request Count"] == table["Request Count"]["E2E"]).all()
    assert table["Request Count"]["E2E"] > 3
    assert table["Failure Count"].sum() == 0
    assert 50 <= table["Median Response Time"]["TTFT"] <= 140
    # 50-120 ms and up to 29 more tokens at 5 ms: two digits could only say 100, 110, 120 ...
    quantiles = [int(table[share]["E2E"]) for share in ("50%", "66%", "75%", "80%", "90%", "95%")]
    assert any(value % 10 for value in quantiles)
    said = page.read_text(encoding="utf-8")
    assert all(f'"name": "{name}"' in said for name in table.index)
    assert f'"0.95": {int(table["95%"]["E2E"])}' in said


def test_failures_show_and_count_once_and_nobody_hammers(tmp_path: Path) -> None:
    history = tmp_path / "stats"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = f"http://127.0.0.1:{taken.getsockname()[1]}"
    done = by_hand("Steps", *("-u", "1", "-t", "1s", "--host", gone, "--csv", str(history)))
    assert done.returncode == 1
    table = table_of(history)
    assert set(table.index) == {"TTFT", "E2E", "Aggregated"}
    assert table["Failure Count"].nunique() == 1
    assert (table["Failure Count"] == table["Request Count"]).all()
    # A server that is gone refuses at once: a talker asks again after 0.25 s.
    assert 1 <= table["Request Count"]["E2E"] <= 8
    failures = pd.read_csv(f"{history}_failures.csv")
    assert list(failures["Error"]) == ["error (connect)"]


def test_a_slow_reply_at_the_end_is_waited_for_and_an_idle_talker_is_not(tmp_path: Path) -> None:
    """Two talkers: one hears a reply when time is up, the other thinks for half a minute."""
    history = tmp_path / "stats"
    hello = sse(delta("Hello."), STOP, DONE)
    quick = Reply([CHUNKED_HEAD, *chunked(hello)])
    slow = Reply([CHUNKED_HEAD, 1.6, *chunked(hello)])
    began = time.monotonic()
    with Scripted([quick, slow]) as server:
        done = by_hand(
            *("Sessions", "-u", "2", "-r", "10", "-t", "1s", "--host", server.url),
            *("--think", "30", "--csv", str(history)),
        )
        assert len(server.requests) == 2
    assert done.returncode == 0, done.stderr
    table = table_of(history)
    assert table["Request Count"]["E2E"] == 2
    assert table["Max Response Time"]["E2E"] >= 1600
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("Steps",), "no server was named: give --host"),
        (("--host", "http://127.0.0.1:1"), "name the scenario to run, such as"),
    ],
)
def test_what_cannot_run_is_one_line(options: tuple[str, ...], says: str) -> None:
    done = by_hand(*options, "-t", "1s")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("firsttoken: ")]
    assert len(said) == 1
    assert says in said[0]
    assert "Traceback" not in done.stderr
