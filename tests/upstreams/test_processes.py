"""The servers as processes: ready line, load, clean stop, clear errors."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns

import pytest

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from tests.upstreams.raw import CHAT, ask, chat, closed_port, connect

NAMES = ("truth", "cloud", "faults")
FAST = {
    "truth": ("--first-token-ms", "5:20", "--token-interval-ms", "5"),
    "cloud": ("--first-token-s", "0.01:0.02", "--tokens-per-second", "200"),
    "faults": ("--token-interval-ms", "5"),
}


@contextmanager
def started(name: str, *options: str, log: Path | None = None) -> Iterator[Child]:
    argv = [sys.executable, "-m", f"firsttoken.upstreams.{name}", "--port", "0", *options]
    with Child.start(argv, log=log, ready_timeout_s=20) as child:
        yield child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", NAMES)
async def test_stops_within_two_seconds_with_streams_open(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    slow = {
        "truth": ("--first-token-ms", "60000"),
        "cloud": ("--first-token-s", "60"),
        "faults": ("--token-interval-ms", "60000"),
    }
    log = tmp_path / "log"
    with started(name, *slow[name], log=log) as child:
        assert child.url.startswith("http://127.0.0.1:")
        async with connect(child.url) as client, connect(child.url) as idle:
            await client.send(CHAT, chat("m"))
            assert (await idle.ask("/health")).status == 200
            os.kill(child.pid, number)
            before_ns = monotonic_ns()
            assert await idle.at_end()
            code = await asyncio.to_thread(child.wait, 5)
            assert code == 0
            assert monotonic_ns() - before_ns < 2_000_000_000
    assert log.read_text() == ""


@pytest.mark.parametrize("name", NAMES)
async def test_a_hundred_streams_at_once(name: str) -> None:
    with started(name, *FAST[name]) as child:
        replies = await asyncio.gather(
            *(ask(child.url, CHAT, chat("m"), {"X-Request-Id": str(n)}) for n in range(100))
        )
        assert {reply.status for reply in replies} == {200}
        assert all(reply.complete and reply.events()[-1] == "[DONE]" for reply in replies)
        if name != "truth":
            return
        rows = (await ask(child.url, "/truth?after=0")).json()["rows"]
        assert len(rows) == 100
        for row in rows:
            reply = replies[int(row["request_id"])]
            # The clock is shared by the processes of this host.
            assert reply.sent_ns <= row["received_ns"] <= row["first_token_ns"]
            assert row["first_token_ns"] <= reply.stamps_ns[1]


async def test_the_same_seed_gives_the_same_replies_in_another_process() -> None:
    texts = []
    for seed in ("1", "1", "2"):
        with started("cloud", *FAST["cloud"], "--seed", seed) as child:
            reply = await ask(child.url, CHAT, chat("m", "你好"), {"X-Request-Id": "a"})
            texts.append(reply.text())
    assert texts[0] == texts[1] != texts[2]


async def test_the_key_is_asked_for_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_KEY", "geheim")
    log = tmp_path / "log"
    with started("cloud", *FAST["cloud"], "--api-key-env", "EMULATED_KEY", log=log) as child:
        assert (await ask(child.url, CHAT, chat("m"))).status == 401
        right = {"Authorization": "Bearer geheim"}
        assert (await ask(child.url, CHAT, chat("m"), right)).status == 200
    assert log.read_text() == ""


BAD = [
    ("truth", ("--first-token-ms", "450:150"), "--first-token-ms is '450:150', expected LOW:HIGH"),
    ("truth", ("--first-token-ms", "x"), "--first-token-ms is 'x', expected a number from 0 to"),
    ("truth", ("--tokens", "0"), "--tokens is '0', expected a number from 1 to"),
    ("truth", ("--token-interval-ms", "nan"), "--token-interval-ms is 'nan', expected a number"),
    ("cloud", ("--first-token-s", "0:3"), "--first-token-s is '0', expected a number from"),
    ("cloud", ("--error-share", "2"), "--error-share is '2', expected a number from 0 to 1"),
    ("cloud", ("--error-kinds", "418"), "--error-kinds is '418', expected some of 429,500,cut"),
    ("cloud", ("--api-key-env", "NOT_SET"), "the environment variable NOT_SET is not set or empty"),
    ("faults", ("--token-interval-ms", "-1"), "--token-interval-ms is '-1', expected a number"),
    ("faults", ("--port", "99999"), "--port is '99999', expected a number from 0 to 65535"),
]


@pytest.mark.parametrize(("name", "options", "message"), BAD)
def test_wrong_options_are_one_clear_line(
    name: str, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = __import__(f"firsttoken.upstreams.{name}", fromlist=["main"])
    assert module.main(list(options)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("firsttoken: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


async def test_a_port_that_is_taken() -> None:
    with started("truth") as child:
        port = child.url.rsplit(":", 1)[1]
        with (
            pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}"),
            started("truth", "--port", port),
        ):
            pass


async def test_a_port_can_be_asked_for() -> None:
    port = closed_port()
    with started("faults", "--port", str(port)) as child:
        assert child.url == f"http://127.0.0.1:{port}"
        assert (await ask(child.url, "/health")).status == 200


async def test_a_closed_port_refuses() -> None:
    with pytest.raises(ConnectionRefusedError):
        await ask(f"http://127.0.0.1:{closed_port()}", "/health")
