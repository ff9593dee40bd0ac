"""``firsttoken status``: what it reads from a real router, what it makes of it, what it shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from firsttoken.cli.main import app
from firsttoken.core import slo
from firsttoken.core.errors import UserError
from firsttoken.core.words import Outcome, Tier
from firsttoken.trials import status_page
from firsttoken.trials.status import StatusReader
from firsttoken.trials.status_snapshot import (
    WINDOW_S,
    Request,
    Samples,
    Snapshot,
    quantile,
    snapshot,
)
from router.account import DecisionRecord
from tests.router.conftest import Start, start
from tests.router.upstream import answer, refuse

__all__ = ["start"]  # the fixture

TARGETS = slo.load()

METRICS = """
llm_build_info{version="1.2.3"} 1
llm_mode{mode="normal"} 0
llm_mode{mode="hybrid"} 1
llm_backend_info{backend="cloud",tier="remote"} 1
llm_backend_info{backend="local",tier="local"} 1
llm_backend_info{backend="gone",tier="remote"} 0
llm_attempts_total{backend="cloud",model="old-model",outcome="success"} 3
llm_attempts_total{backend="cloud",model="qwen-plus",outcome="success"} 3
llm_attempts_total{backend="local",model="通义千问2-1.5b-指令-q4_0",outcome="success"} 9
llm_backend_up{backend="cloud"} 1
llm_backend_up{backend="local"} 0
llm_backend_up{backend="gone"} 0
llm_circuit_state{backend="cloud",state="closed"} 1
llm_circuit_state{backend="local",state="half_open"} 1
llm_circuit_state{backend="gone",state="open"} 0
llm_requests_in_flight{backend="cloud"} 2
llm_local_share_ratio NaN
llm_memory_unreclaimable_bytes 1.9e9
llm_memory_limit_bytes 2147483648
llm_process_resident_memory_bytes{component="router"} 73400320
llm_conversations_ended_total{end="failed"} 1
llm_conversations_ended_total{end="completed"} 9
llm_user_feedback_total{rating="5"} 3
llm_user_feedback_total{rating="2"} 1
llm_alert_actions_total{action="restart_service",result="succeeded"} 2
llm_alert_actions_total{action="switch_to_remote",result="dry_run"} 0
llm_alert_action_last_timestamp_seconds{action="restart_service"} 9400
llm_load_test_run_info{run_id="run-7",scenario="steps"} 1
"""

HEALTH = {"ready": True, "queues": {"local": {"slots": 8, "in_use": 8, "waiting": 3}}}


def _made(requests: Iterable[Request] = (), metrics: str = METRICS) -> Snapshot:
    samples = Samples(metrics.strip() + "\n")
    return snapshot("http://127.0.0.1:8080", samples, HEALTH, requests, unix_s=10_000.0)


def _request(tier: Tier, ttft_ms: float | None, outcome: Outcome = Outcome.SUCCESS) -> Request:
    failed = outcome not in {Outcome.SUCCESS, Outcome.CANCELLED}
    return Request(9_900.0, tier, outcome, "connect" if failed else None, ttft_ms)


REQUESTS = [
    *(_request(Tier.LOCAL, float(ms)) for ms in range(201, 301)),
    *(_request(Tier.REMOTE, 900.0) for _ in range(10)),
    _request(Tier.CACHE, 0.4),
    _request(Tier.NONE, None, Outcome.ERROR),
    _request(Tier.NONE, None, Outcome.CANCELLED),
]


def test_what_is_made_of_the_metrics() -> None:
    found = _made(REQUESTS)
    local, cloud = found.backends
    assert (local.name, local.tier, local.up, local.circuit) == (
        *("local", "local", False, "half_open"),
    )
    assert (local.slots, local.waiting, cloud.slots, cloud.in_flight) == (8, 3, None, 2)
    assert cloud.model == "qwen-plus"
    assert (found.version, found.mode, found.load_test) == ("1.2.3", "hybrid", "run-7")
    assert found.local_share is None
    assert found.memory_unreclaimable == 1_900_000_000
    assert dict(found.conversations) == {"completed": 9, "failed": 1}
    assert dict(found.ratings) == {"2": 1, "5": 3}
    (action,) = found.actions
    assert (action.action, action.last_unix_s) == ("restart_service", 9_400.0)
    assert dict(action.results) == {"succeeded": 2}
    assert (found.requests, found.failed, found.cancelled) == (113, 1, 1)
    by_tier = {each.tier: (each.n, each.p50_ms, each.p95_ms) for each in found.first_tokens}
    assert by_tier == {
        "local": (100, 250.0, 295.0),
        "remote": (10, 900.0, 900.0),
        "cache": (1, 0.4, 0.4),
        "all": (111, 255.0, 900.0),
    }


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_quantile_is_a_value_that_was_seen(values: list[float], p: float) -> None:
    found = quantile(values, p)
    assert found in values
    share = sum(value <= found for value in values) / len(values)
    assert share >= p - 1e-9
    assert sum(value < found for value in values) / len(values) < p + 1e-9


SCREEN = """\
firsttoken 1.2.3 at http://127.0.0.1:8080   ready   mode hybrid   TIME

backend   tier     model                      state   circuit     in flight
local     local    通义千问2-1.5b-指令-q4_0   down    half open   0 of 8, 3 wait
cloud     remote   qwen-plus                  up      closed      2

first token, last 5 min     n      p50      p95
local                     100   250 ms   295 ms
remote                     10   900 ms   900 ms
cache                       1   0.4 ms   0.4 ms
all                       111   255 ms   900 ms   p95 over 400 ms

requests        113 in 5 min, 1 failed (0.9 %: 1 connect), 1 cancelled
local share     –
memory          engine 1.77 GiB of 2.00 GiB (88 %), over 80 %, router 70 MiB
conversations   9 completed, 1 failed (since the start)
ratings         4.2 of 5 from 4 ratings (since the start)
actions         restart_service 10 min ago: 2 succeeded
load test       run-7 runs"""


def _without_time(screen: str) -> str:
    first, rest = screen.split("\n", 1)
    return f"{first[:-8]}TIME\n{rest}"


def test_the_screen() -> None:
    shown = status_page.as_text(_made(REQUESTS), TARGETS)
    assert _without_time(shown) == SCREEN


@pytest.mark.parametrize("width", [72, 80, 200])
def test_names_give_way_on_a_narrow_terminal_and_figures_never(width: int) -> None:
    found = _made(REQUESTS, METRICS.replace("qwen-plus", "通义千问-" * 30))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(status_page.render(found, TARGETS))
    lines = capture.get().splitlines()
    assert max(map(cell_len, lines)) <= width
    first = next(place for place, line in enumerate(lines) if line.startswith("local "))
    assert lines[first].rstrip().endswith("0 of 8, 3 wait")
    assert lines[first + 1].startswith("cloud ")
    # Columns begin at the same cell in every line, whatever the script of the names.
    places = {
        cell_len(line[: line.index(word)])
        for line, word in zip(lines[first - 1 :], ("state", "down", "up  "), strict=False)
    }
    assert len(places) == 1


def test_an_idle_router_and_one_that_tells_little() -> None:
    shown = status_page.as_text(_made((), 'llm_mode{mode="normal"} 1\n'), TARGETS)
    assert "first token   nothing streamed in the last 5 min" in shown
    assert "requests      0 in 5 min\n" in shown
    assert "memory        engine –\n" in shown
    assert "actions       none" in shown


def test_nothing_of_the_server_commands_the_terminal() -> None:
    evil = METRICS.replace("run-7", "run\x1b]0;title\x07").replace("old-model", "x")
    evil = evil.replace("qwen-plus", "\x1b[2Jqwen")
    assert "\x1b" not in status_page.as_text(_made(REQUESTS, evil), TARGETS)


async def test_a_real_router(start: Start) -> None:
    router = await start(answer("near"))
    for number in range(4):
        await router.ask(headers={"X-Request-Id": f"r{number}"})
    await router.ask(model="cloud")
    router.local.script = router.cloud.script = refuse(500)
    await router.ask()
    await router.http.post("/v1/feedback", json={"request_id": "r1", "rating": 5})
    with StatusReader(router.url) as reader:
        found = await asyncio.to_thread(reader.read)
        assert [(each.name, each.tier, each.model, each.slots) for each in found.backends] == [
            ("local", "local", "local-model", 64),
            ("cloud", "remote", "cloud-model", None),
        ]
        assert (found.ready, found.mode, found.requests, found.failed) == (True, "normal", 6, 1)
        assert dict(found.error_types) == {"http_5xx": 1}
        assert found.local_share == 0.8
        assert dict(found.ratings) == {"5": 1}
        assert found.router_memory
        exact = [each["ttft_ms"] for each in await router.decisions() if each["tier"] == "local"]
        local = found.first_tokens[0]
        assert (local.tier, local.n) == ("local", 4)
        assert (local.p50_ms, local.p95_ms) == (sorted(exact)[1], max(exact))
        router.local.script = answer("near")
        await router.ask()
        assert (await asyncio.to_thread(reader.read)).requests == 7
    told = json.loads(status_page.as_json(found))
    assert told["backends"][0]["name"] == "local"


async def test_all_that_the_router_keeps_and_no_more_is_told(start: Start) -> None:
    router = await start()
    await router.ask()
    assert router.router is not None
    books = router.router.books
    (first,) = books.decisions.after(0)[1]
    kept = 5_000
    for number in range(kept + 500):
        books.decisions.add(replace(first, unix_s=1_000.0 + number / 100))
    now_s = [1_055.0]
    with StatusReader(router.url, now_unix_s=lambda: now_s[0]) as reader:
        found = await asyncio.to_thread(reader.read)
        # The oldest that is kept is number 500: the time before it is not told.
        assert found.requests == kept
        assert found.window_s == pytest.approx(50.0)
        now_s[0] += WINDOW_S - 45.0
        found = await asyncio.to_thread(reader.read)
        assert found.requests == pytest.approx(4_500, abs=2)
        assert found.window_s == WINDOW_S


def test_a_decision_has_what_is_read_of_it() -> None:
    assert {"unix_s", "tier", "outcome", "error_type", "ttft_ms"} <= set(
        DecisionRecord.__dataclass_fields__
    )


async def test_keys(start: Start) -> None:
    router = await start(api_keys=("right",))
    with StatusReader(router.url) as reader, pytest.raises(UserError, match="refuses the API key"):
        await asyncio.to_thread(reader.read)
    with StatusReader(router.url, "right") as reader:
        assert (await asyncio.to_thread(reader.read)).ready


async def test_what_is_no_router_is_told_in_one_line(start: Start) -> None:
    router = await start()
    with (
        StatusReader(router.local.url) as reader,
        pytest.raises(UserError, match="not as a firsttoken router does") as told,
    ):
        await asyncio.to_thread(reader.read)
    assert "\n" not in str(told.value)
    await router.local.stop()
    with (
        StatusReader(router.local.url) as reader,
        pytest.raises(UserError, match=r"no router answers at .*Connection refused") as told,
    ):
        await asyncio.to_thread(reader.read)
    assert "\n" not in str(told.value)


class _Ended(Exception):  # noqa: N818 - Ctrl-C in these tests
    pass


class _Reader(StatusReader):
    """Answers from a list."""

    def __init__(self, answers: list[Snapshot | UserError]) -> None:
        super().__init__("127.0.0.1:9")
        self._answers = answers

    def read(self) -> Snapshot:
        found = self._answers.pop(0)
        if isinstance(found, UserError):
            raise found
        return found


@pytest.mark.parametrize("json_output", [False, True])
def test_watching_goes_on_when_the_router_stops(
    capsys: pytest.CaptureFixture[str], json_output: bool
) -> None:
    made = _made(REQUESTS)
    answers: list[Snapshot | UserError] = [made, UserError("no router"), made]
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            raise _Ended

    with _Reader(answers) as reader, pytest.raises(_Ended):
        status_page.watch(reader, TARGETS, json_output=json_output, wait=wait)
    shown = capsys.readouterr().out
    assert waited == [status_page.EVERY_S] * 3
    if json_output:
        first, second, third = map(json.loads, shown.splitlines())
        assert first == third
        assert second == {"error": "no router"}
    else:
        assert _without_time(shown.split("\n\nno router\n\n")[0]) == SCREEN
        assert "\n\nno router\n\nfirsttoken 1.2.3" in shown


def test_watching_in_place_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(width=80, height=40, force_terminal=True, record=True)
    monkeypatch.setattr(status_page, "Console", lambda **_: shown)

    def wait(seconds: float) -> None:
        if not answers:
            raise _Ended

    answers: list[Snapshot | UserError] = [_made(REQUESTS), UserError("no router")]
    with shown.capture() as capture, _Reader(answers) as reader, pytest.raises(_Ended):
        status_page.watch(reader, TARGETS, wait=wait)
    assert "\x1b[1A" in capture.get()  # the cursor goes back up: the screen is drawn over
    assert "no router" in capture.get()


def test_the_first_failure_ends_it_and_the_command_says_why() -> None:
    with _Reader([UserError("no router")]) as reader, pytest.raises(UserError):
        status_page.watch(reader, TARGETS)
    done = CliRunner().invoke(app, ["status", "--url", "http://127.0.0.1:9"])
    assert isinstance(done.exception, UserError)
    assert "no router answers at http://127.0.0.1:9" in str(done.exception)
    done = CliRunner().invoke(app, ["status", "--url", "user:hush@host"])
    assert str(done.exception).startswith("--url ")
    assert "hush" not in str(done.exception)
    done = CliRunner().invoke(app, ["status", "--help"])
    assert "Example: firsttoken status --watch" in done.output


def test_times_and_sizes() -> None:
    spans = {0: "0 s", 59: "59 s", 119: "119 s", 120: "2 min", 300: "5 min", 7_200: "2 h"}
    assert {seconds: status_page._span(seconds) for seconds in spans} == spans
    assert status_page._bytes(2**30) == "1.00 GiB"
    assert status_page._bytes(2**30 - 1) == "1024 MiB"
