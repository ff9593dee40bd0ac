"""Truth server: what it says of a request agrees with what a client sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from firsttoken.upstreams import ledger, truth
from firsttoken.upstreams.draws import Span
from firsttoken.upstreams.server import running
from firsttoken.upstreams.truth import Pace, TruthServer
from tests.upstreams.raw import CHAT, ask, chat, connect, state_when

PACE = Pace(first_token_ms=Span(10.0, 60.0), token_interval_ms=2.0, tokens=8)


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with running(TruthServer(PACE)) as address:
        yield address


async def rows_of(url: str, after: int = 0) -> dict[str, Any]:
    reply: dict[str, Any] = (await ask(url, f"/truth?after={after}")).json()
    return reply


async def test_stream_is_role_then_tokens_then_done(url: str) -> None:
    reply = await ask(url, CHAT, chat("m"), {"X-Request-Id": "a"})
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-request-id"] == "a"
    deltas = reply.deltas()
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta["content"] for delta in deltas[1:-1]] == list(truth.WORDS)
    assert reply.text() == "The first token was written at this instant. "
    assert reply.events()[-2]["choices"][0]["finish_reason"] == "length"
    assert reply.events()[-1] == "[DONE]"
    assert all(event["model"] == "m" for event in reply.events()[:-1])
    # Role, one write a token, and what follows the last.
    assert len(reply.chunks) == 1 + 8 + 1
    assert reply.complete


async def test_rows_agree_with_the_client(url: str) -> None:
    ids = [f"id-{index}" for index in range(30)]
    replies = dict(
        zip(
            ids,
            await asyncio.gather(
                *(ask(url, CHAT, chat("m"), {"X-Request-Id": name}) for name in ids)
            ),
            strict=True,
        )
    )
    answer = await rows_of(url)
    assert answer["next"] == 30
    assert answer["lost"] == 0
    assert {row["request_id"] for row in answer["rows"]} == set(ids)
    for row in answer["rows"]:
        reply = replies[row["request_id"]]
        first_ns, last_ns = reply.stamps_ns[1], reply.stamps_ns[-1]
        assert reply.sent_ns <= row["received_ns"] <= row["first_token_ns"] <= first_ns
        assert row["first_token_ns"] <= row["ended_ns"] <= last_ns
        assert row["tokens"] == 8
        server_ms = (row["first_token_ns"] - row["received_ns"]) / 1e6
        client_ms = (first_ns - reply.sent_ns) / 1e6
        # Generous: both ends share one event loop here, on a machine that does other work.
        assert 0 <= client_ms - server_ms < 1000
        # Timers of an event loop may be early by its resolution, never by more.
        assert server_ms > PACE.first_token_s(row["request_id"]) * 1000 - 2


async def test_delay_follows_from_seed_and_id() -> None:
    spans = [PACE.first_token_s(str(index)) for index in range(200)]
    assert spans == [PACE.first_token_s(str(index)) for index in range(200)]
    assert all(0.010 < span < 0.060 for span in spans)
    assert min(spans) < 0.015
    assert max(spans) > 0.055
    other = Pace(first_token_ms=PACE.first_token_ms, seed=1)
    assert other.first_token_s("0") != spans[0]


async def test_max_tokens_and_usage(url: str) -> None:
    body = chat("m", max_tokens=3, stream_options={"include_usage": True})
    reply = await ask(url, CHAT, body)
    assert reply.text() == "The first token "
    *_, usage, done = reply.events()
    assert done == "[DONE]"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3
    assert (await ask(url, CHAT, chat("m", max_completion_tokens=1))).text() == "The "


async def test_not_streamed(url: str) -> None:
    reply = await ask(url, CHAT, chat("m", stream=False, max_tokens=9), {"X-Request-Id": "b"})
    value = reply.json()
    assert value["choices"][0]["message"]["content"] == "".join(truth.WORDS) + "The "
    assert value["usage"]["completion_tokens"] == 9
    row = (await rows_of(url))["rows"][0]
    assert reply.sent_ns <= row["received_ns"] <= row["first_token_ns"] <= reply.stamps_ns[0]
    assert row["tokens"] == 9


async def test_rows_are_handed_out_once(url: str) -> None:
    await ask(url, CHAT, chat("m"), {"X-Request-Id": "a"})
    first = await rows_of(url)
    await ask(url, CHAT, chat("m"), {"X-Request-Id": "b"})
    second = await rows_of(url, after=first["next"])
    assert [row["request_id"] for row in second["rows"]] == ["b"]
    assert (await rows_of(url, after=second["next"]))["rows"] == []
    assert (await rows_of(url, after=10**30))["next"] == 2


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_ROWS", 2)
    async with running(TruthServer(PACE)) as url:
        for name in ("a", "b", "c"):
            await ask(url, CHAT, chat("m", max_tokens=1), {"X-Request-Id": name})
        answer = await rows_of(url)
        assert [row["request_id"] for row in answer["rows"]] == ["b", "c"]
        assert (answer["next"], answer["lost"]) == (3, 1)


async def test_a_client_that_leaves_before_its_first_token() -> None:
    slow = Pace(first_token_ms=Span(60_000.0, 60_000.0))
    async with running(TruthServer(slow)) as url:
        async with connect(url) as client:
            await client.send(CHAT, chat("m"), {"X-Request-Id": "gone"})
            await client.chunk(await client.head())
        state = await state_when(url, client_gone=1, open_requests=0, open_connections=0)
        assert state["client_gone"] == 1
        assert state["open_connections"] == 0
        row = (await rows_of(url))["rows"][0]
        assert row["request_id"] == "gone"
        assert row["first_token_ns"] is None
        assert row["tokens"] == 0


async def test_an_id_is_made_where_none_is_given_and_cleaned_where_one_is(url: str) -> None:
    assert (await ask(url, CHAT, chat("m"))).headers["x-request-id"] == "unnamed-1"
    reply = await ask(url, CHAT, chat("m"), {"X-Request-Id": "a b\tc" + "x" * 500})
    assert reply.headers["x-request-id"] == "abc" + "x" * 197


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "not JSON"),
        ([], "not a JSON object"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": ["hi"]}, "messages"),
        ({"messages": [{}]}, "model"),
        (chat("m", stream="yes"), "stream"),
        (chat("m", max_tokens=0), "max_tokens"),
        (chat("m", max_tokens=True), "max_tokens"),
        (chat("m", max_tokens=10**9), "max_tokens"),
    ],
)
async def test_a_bad_body_is_refused_by_name(url: str, body: object, names: str) -> None:
    reply = await ask(url, CHAT, body)
    assert reply.status == 400
    assert names in reply.json()["error"]["message"]
    assert (await rows_of(url))["next"] == 0


async def test_other_paths(url: str) -> None:
    assert (await ask(url, "/health")).json() == {"status": "ok"}
    assert (await ask(url, "/v1/models")).json()["data"][0]["id"] == "truth"
    assert (await ask(url, "/nothing")).status == 404
    assert (await ask(url, CHAT)).status == 405
    assert (await ask(url, "/truth?after=-1")).status == 400
