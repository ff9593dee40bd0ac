"""Every fault in every dialect: the other backend is asked at once and answers whole, for every
kind of client, and each request counts once."""

from __future__ import annotations

import asyncio
import socket
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import ollama
import openai
import orjson
import pytest

from firsttoken.core.clock import NS_PER_MS, NS_PER_S
from firsttoken.core.words import OUTCOME_OF, ErrorType, Outcome
from firsttoken.upstreams.misbehaviour import TOKENS
from firsttoken.upstreams.script import Step
from tests.router.clients import CLIENTS, Client
from tests.router.conftest import PATIENCE_S, Running, Start, backend
from tests.router.walls import HEALTHY, Walls, walls
from tests.upstreams.raw import state_when

MOVE_MS = 100
"""Within which the other backend must be asked: after the fault or, where there is only silence,
after the deadline. Where one turn of requests takes longer, since the machine may be busy, it
holds for the median of three."""

DIALECTS = ("openai", "ollama", "dashscope")
MESSAGES: Any = [{"role": "user", "content": "tell me more"}]


class Expected(NamedTuple):
    """How an attempt that meets a fault must fail, streamed or not."""

    stream: ErrorType
    whole: ErrorType

    @classmethod
    def both(cls, error_type: ErrorType) -> Expected:
        """Return the same for a stream and a whole reply."""
        return cls(error_type, error_type)

    def of(self, client: Client) -> ErrorType:
        """Return how it fails for this kind of client."""
        return self.stream if client.stream else self.whole


LATE = Expected(ErrorType.FIRST_TOKEN_TIMEOUT, ErrorType.TOTAL_TIMEOUT)
FAULTS = {
    "refused": Expected.both(ErrorType.CONNECT),
    "silent": LATE,
    "headers_then_silent": LATE,
    "role_then_silent": LATE,
    "pings_only": LATE,
    "slow_drip": LATE,
    "cut_before_first_token": Expected.both(ErrorType.PROTOCOL),
    "error_in_200": Expected.both(ErrorType.PROTOCOL),
    "status_429": Expected.both(ErrorType.RATE_LIMITED),
    "status_503": Expected.both(ErrorType.HTTP_5XX),
    "status_401": Expected.both(ErrorType.AUTH),
    "malformed_chunk": Expected.both(ErrorType.PROTOCOL),
}


DEADLINE_S = 0.8
"""To the first token, where it is to pass: a machine that stalls for a quarter of a second is no
backend's fault, and has to be told from a drip, whose first frame takes the wall some seconds."""

TOLD = {
    ("error_in_200", "openai"): Expected.both(ErrorType.HTTP_5XX),
    ("error_in_200", "dashscope"): Expected(ErrorType.HTTP_5XX, ErrorType.PROTOCOL),
    ("status_503", "openai"): Expected.both(ErrorType.OVERLOADED),
    ("status_503", "dashscope"): Expected.both(ErrorType.OVERLOADED),
}
"""Where a dialect's error says more: what kind it is under status 200, that a 503 is for load."""


async def send(router: Running, client: Client, request_id: str) -> httpx.Response:
    """Ask for a reply that no cache and no rule may answer."""
    body = {"model": "auto", "messages": MESSAGES, "stream": client.stream}
    return await router.http.post(client.path, json=body, headers={"X-Request-Id": request_id})


async def samples(router: Running) -> Callable[..., float]:
    """Return what sums the router's metrics, as they are now, by name and labels."""
    text = (await router.http.get("/metrics")).text
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]

    def count(name: str, **labels: str) -> float:
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(f"{name}{{") and all(each in line for each in wanted)
        )

    return count


@pytest.fixture
def closed() -> Iterator[str]:
    """The URL of a port that nobody listens at, and nobody else can get."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{reserved.getsockname()[1]}"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_the_other_backend_answers_whole_at_once_and_it_counts_once(
    start: Start, closed: str, fault: str, dialect: str
) -> None:
    expected = TOLD.get((fault, dialect), FAULTS[fault])
    async with walls() as servers:
        bad = closed if fault == "refused" else f"{servers.faulty_url}/fault/{fault}"
        deadline_s = DEADLINE_S if FAULTS[fault] is LATE else PATIENCE_S
        local = backend("local", bad, dialect=dialect, slots=8, first_token_timeout_s=deadline_s)
        others = (dialect, DIALECTS[DIALECTS.index(dialect) - 1])
        clouds = [backend("cloud", servers.healthy_url, dialect=each) for each in others]
        routers = [await start(backends=(local, cloud)) for cloud in clouds]
        worst_ms = [await worst_of_a_turn(servers, routers, fault, expected, 1)]
        if worst_ms[0] > MOVE_MS:
            worst_ms += [
                await worst_of_a_turn(servers, routers, fault, expected, turn) for turn in (2, 3)
            ]
        assert statistics.median(worst_ms) <= MOVE_MS, worst_ms
        for router in routers:
            await check_books(router, expected, len(worst_ms))
        # What was read to its end is kept for the next request; all else is closed.
        kept = sum(ends_whole(fault, client.stream) for client in CLIENTS) * len(routers)
        closing = {} if kept else {"open_connections": 0}
        state = await state_when(servers.faulty_url, open_requests=0, **closing)
        assert state["open_requests"] == 0
        assert state["open_connections"] <= kept
        asked = len(CLIENTS) * len(routers) * len(worst_ms)
        assert state["requests"] == (0 if fault == "refused" else asked)


async def worst_of_a_turn(
    servers: Walls, routers: list[Running], fault: str, expected: Expected, turn: int
) -> float:
    """Let every kind of client ask every router at once, and check what each got. Return how long
    it took at worst until the other backend was asked, ms."""
    asked = [(router, client) for router in routers for client in CLIENTS]
    names = [f"{turn}-{number}" for number in range(len(asked))]
    replies = await asyncio.gather(
        *(send(*who, name) for who, name in zip(asked, names, strict=True))
    )
    for (_, client), name, reply in zip(asked, names, replies, strict=True):
        check_reply(reply, client, name)
    pairs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for router in routers:
        await router.settled(len(CLIENTS) * turn)
        for attempt in await router.attempts():
            if attempt["request_id"] in pairs:
                pairs[attempt["request_id"]].append(attempt)
    worst_ms = 0.0
    for (_, client), pair in zip(asked, pairs.values(), strict=True):
        check_attempts(pair, expected.of(client))
        worst_ms = max(worst_ms, milliseconds_to_move(servers, pair, fault, client))
    return worst_ms


def ends_whole(fault: str, stream: bool) -> bool:
    """Whether a fault leaves a reply that can be read to its end."""
    return fault.startswith(("status_", "error_")) or (not stream and fault == "malformed_chunk")


def check_reply(reply: httpx.Response, client: Client, request_id: str) -> None:
    """Check that a client got one whole answer of the healthy backend, and was told from where."""
    assert reply.status_code == 200, reply.text
    assert client.read(reply.content) == "".join(HEALTHY)
    assert reply.headers["content-type"].startswith(client.content_type)
    told = {name: reply.headers[f"x-firsttoken-{name}"] for name in ("tier", "backend", "reason")}
    assert told == {"tier": "remote", "backend": "cloud", "reason": "failover"}
    assert reply.headers["x-firsttoken-attempts"] == "2"
    assert reply.headers["x-request-id"] == request_id


def check_attempts(pair: list[dict[str, Any]], error_type: ErrorType) -> None:
    """Check the records of a request's two attempts."""
    first, second = pair
    assert (first["backend"], first["error_type"]) == ("local", error_type)
    assert first["outcome"] == OUTCOME_OF.get(error_type, Outcome.ERROR)
    assert first["first_token_ns"] is None
    assert (second["backend"], second["outcome"]) == ("cloud", "success")
    assert [each["committed"] for each in pair] == [False, True]


async def check_books(router: Running, expected: Expected, turns: int) -> None:
    """Check that each request of a router was counted once, and each attempt."""
    asked = len(CLIENTS) * turns
    decisions = await router.settled(asked)
    assert len({each["request_id"] for each in decisions}) == len(decisions) == asked
    assert {each["outcome"] for each in decisions} == {"success"}
    assert {(each["backend"], each["attempts"]) for each in decisions} == {("cloud", 2)}
    count = await samples(router)
    assert count("llm_requests_total") == asked
    assert count("llm_requests_total", backend="cloud", outcome="success") == asked
    assert count("llm_attempts_total") == 2 * asked
    assert count("llm_attempts_total", backend="cloud", outcome="success") == asked
    assert count("llm_errors_total") == asked
    error_types = Counter(expected.of(client) for client in CLIENTS)
    for error_type, times in error_types.items():
        assert count("llm_errors_total", backend="local", error_type=error_type) == times * turns
        assert count("llm_fallbacks_total", to="cloud", error_type=error_type) == times * turns
    assert count("llm_requests_in_flight") == 0


def milliseconds_to_move(
    servers: Walls, pair: list[dict[str, Any]], fault: str, client: Client
) -> float:
    """Return how long it took from the fault, or from the deadline, until the other backend had
    the request: by the router's records, and by the clocks of the servers if that is longer."""
    first, second = pair
    began_ns, ended_ns = int(first["started_ns"]), int(first["ended_ns"])
    fault_ns = began_ns + int(DEADLINE_S * NS_PER_S)
    if FAULTS[fault] is LATE:
        assert ended_ns > fault_ns - NS_PER_MS, "it was given up before its deadline"
    elif fault == "refused":
        fault_ns = began_ns
    else:
        fault_ns = stamp_of_fault(servers.faulty.steps[first["request_id"]], fault, client)
    asked_ns = max(int(second["started_ns"]), servers.healthy.received_ns[first["request_id"]])
    assert fault_ns - NS_PER_MS < ended_ns <= second["started_ns"] <= asked_ns
    return (asked_ns - fault_ns) / NS_PER_MS


def stamp_of_fault(steps: list[tuple[Step, int]], fault: str, client: Client) -> int:
    """Return when the wall did what was wrong: in its last step, unless it went on as if nothing
    had happened (head, role, malformed frame, and so on)."""
    place = 2 if fault == "malformed_chunk" and client.stream else -1
    return steps[place][1]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_cut_after_the_first_token_ends_in_the_clients_form_of_an_error(
    start: Start, dialect: str
) -> None:
    streaming = [client for client in CLIENTS if client.stream]
    async with walls() as servers:
        bad = f"{servers.faulty_url}/fault/cut_after_first_token"
        router = await start(
            backends=(
                backend("local", bad, dialect=dialect, slots=8),
                backend("cloud", servers.healthy_url),
            )
        )
        (of_openai, of_ollama), *_ = await asyncio.gather(
            asyncio.gather(*(send(router, client, client.path) for client in streaming)),
            openai_library_raises(router),
            ollama_library_raises(router),
        )
        for reply in (of_openai, of_ollama):
            assert reply.status_code == 200
            assert reply.headers["x-firsttoken-backend"] == "local"
        frames = of_openai.text.split("\n\n")
        assert frames.pop() == ""
        *chunks, error = [orjson.loads(frame.removeprefix("data:")) for frame in frames]
        assert set(error["error"]) >= {"message", "type"}
        texts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
        assert "".join(filter(None, texts)) == TOKENS[0]
        assert not any(chunk["choices"][0]["finish_reason"] for chunk in chunks)

        *lines, error = [orjson.loads(line) for line in of_ollama.content.splitlines()]
        assert error["error"]
        assert not error.get("done")
        assert "".join(line["message"]["content"] for line in lines) == TOKENS[0]
        assert not any(line["done"] for line in lines)

        decisions = await router.settled(4)
        assert [each["outcome"] for each in decisions] == ["error"] * 4
        assert {(each["backend"], each["attempts"]) for each in decisions} == {("local", 1)}
        count = await samples(router)
        assert count("llm_requests_total") == 4
        assert count("llm_requests_total", tier="local", outcome="error") == 4
        assert count("llm_attempts_total") == count("llm_errors_total") == 4
        assert count("llm_attempts_total", backend="local", outcome="error") == 4
        assert servers.healthy.received_ns == {}
        state = await state_when(servers.faulty_url, open_requests=0)
        assert (state["open_requests"], state["requests"]) == (0, 4)


async def openai_library_raises(router: Running) -> None:
    """Check that OpenAI's own client hears of the fault, after the text that came before it."""
    texts = []

    async def read() -> None:
        async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="x") as client:
            completions = client.chat.completions
            async for chunk in await completions.create(model="m", messages=MESSAGES, stream=True):
                text = chunk.choices[0].delta.content
                texts.append(text or "")

    with pytest.raises(openai.APIError):
        await read()
    assert "".join(texts) == TOKENS[0]


async def ollama_library_raises(router: Running) -> None:
    """Check that Ollama's own client hears of the fault, after the text that came before it."""
    texts = []

    async def read() -> None:
        client = ollama.AsyncClient(host=router.url)
        async for part in await client.chat(model="m", messages=MESSAGES, stream=True):
            text = part.message.content
            texts.append(text or "")

    with pytest.raises(ollama.ResponseError):
        await read()
    assert "".join(texts) == TOKENS[0]
