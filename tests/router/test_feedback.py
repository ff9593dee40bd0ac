"""What users think, which conversations end how, and which load test runs, on a real router."""

from __future__ import annotations

import asyncio
import math

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from router.fronts.feedback import parse
from router.fronts.http import SMALL_BODY_BYTES, BodyError
from tests.router.conftest import Running, Start
from tests.router.upstream import ROLE, answer, delta, refuse, then_silent

ENDED = "llm_conversations_ended_total"
RATED = "llm_user_feedback_total"


async def _rate(router: Running, body: object, **headers: str) -> httpx.Response:
    return await router.http.post("/v1/feedback", json=body, headers=headers)


async def test_a_request_and_a_session_are_rated_once(start: Start) -> None:
    router = await start()
    await router.ask(headers={"X-Request-Id": "r-1", "X-Session-Id": "s-1"})
    reply = await _rate(router, {"request_id": "r-1", "rating": 4})
    assert (reply.status_code, reply.json()) == (202, {"counted": True, "why": None})
    reply = await _rate(router, {"request_id": "r-1", "rating": 1})
    assert (reply.status_code, reply.json()) == (200, {"counted": False, "why": "already rated"})
    assert (await _rate(router, {"session_id": "s-1", "rating": "down"})).status_code == 202
    assert (await _rate(router, {"session_id": "s-1", "rating": "up"})).status_code == 200
    assert [await router.metric(RATED, rating=f"{stars}") for stars in range(1, 6)] == [
        *(1, 0, 0, 1, 0)
    ]


async def test_a_thumb_is_the_end_of_the_scale(start: Start) -> None:
    router = await start()
    for name in ("a", "b"):
        await router.ask(headers={"X-Request-Id": name})
    await _rate(router, {"request_id": "a", "rating": "up"})
    await _rate(router, {"request_id": "b", "rating": "down"})
    assert await router.metric(RATED, rating="5") == await router.metric(RATED, rating="1") == 1


async def test_what_was_not_served_is_not_rated(start: Start) -> None:
    router = await start()
    reply = await _rate(router, {"request_id": "never", "rating": 5})
    assert reply.status_code == 404
    assert reply.json()["error"]["message"] == "no request of this id was served lately"
    assert await router.metric(RATED) == 0


async def test_an_answer_that_failed_can_be_rated(start: Start) -> None:
    router = await start(local=refuse(500), cloud=refuse(500))
    assert (await router.ask(headers={"X-Request-Id": "bad"})).status_code >= 500
    assert (await _rate(router, {"request_id": "bad", "rating": 1})).status_code == 202


async def test_one_tenant_cannot_rate_what_another_was_served(start: Start) -> None:
    router = await start(api_keys=("one", "two"))
    mine, theirs = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
    await router.ask(headers={"X-Request-Id": "r", **mine})
    body = {"request_id": "r", "rating": 5}
    assert (await _rate(router, body)).status_code == 401
    assert (await _rate(router, body, **theirs)).status_code == 404
    assert (await _rate(router, body, **mine)).status_code == 202


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON"),
        (b'{"request_id":"r"}', "rating: expected"),
        (b'{"rating":5}', "one of the two"),
        (b'{"request_id":"r","session_id":"s","rating":5}', "one of the two"),
        (b'{"request_id":"r","rating":5,"comment":"x"}', "nothing else"),
        (b'{"request_id":7,"rating":5}', "request_id: expected 1 to 128"),
        (b'{"request_id":"","rating":5}', "request_id: expected 1 to 128"),
        ('{"session_id":"会话","rating":5}'.encode(), "session_id: expected 1 to 128"),
        *(
            (b'{"request_id":"r","rating":%s}' % rating, "rating: expected")
            for rating in (b"0", b"6", b"4.0", b"true", b'"5"', b"null", b"[5]")
        ),
    ],
)
async def test_a_malformed_rating_is_refused_in_one_line(
    start: Start, body: bytes, told: str
) -> None:
    router = await start()
    await router.ask(headers={"X-Request-Id": "r"})
    reply = await router.http.post("/v1/feedback", content=body)
    assert reply.status_code == 400
    assert told in reply.json()["error"]["message"]
    assert b"\n" not in reply.content
    assert await router.metric(RATED) == 0


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)


@given(
    st.dictionaries(
        st.sampled_from(["request_id", "session_id", "rating"]) | st.text(max_size=8), JSON_VALUES
    )
)
def test_any_object_is_a_rating_or_one_line(fields: dict[str, object]) -> None:
    status, told = _read(fields)
    assert status in {202, 400}
    assert told.isprintable()


def _read(fields: dict[str, object]) -> tuple[int, str]:
    try:
        return 202, parse(fields).name
    except BodyError as error:
        return error.status, str(error)


async def test_a_body_that_is_too_large(start: Start) -> None:
    router = await start()
    body = orjson.dumps({"request_id": "x" * SMALL_BODY_BYTES, "rating": 5})
    for path in ("/v1/feedback", "/-/load-test"):
        sent = {"content-type": "application/json"}
        reply = await router.http.post(path, content=body, headers=sent)
        assert (reply.status_code, reply.headers["connection"]) == (413, "close")


async def test_conversations_end_as_their_last_request_did(start: Start) -> None:
    router = await start(answer("fine"), conversation_idle_s=0.05)
    await router.ask(headers={"X-Session-Id": "kind"})
    await router.ask(headers={"X-Session-Id": "kind"})
    router.local.script = router.cloud.script = refuse(500)
    await router.ask(headers={"X-Session-Id": "unlucky"})
    router.local.script = router.cloud.script = then_silent(ROLE, delta("wait"))
    await _hang_up(router, "hasty")
    async with asyncio.timeout(5):
        while await router.metric(ENDED) < 3:
            pass
    for end in ("completed", "failed", "abandoned"):
        assert await router.metric(ENDED, end=end) == 1
    assert await router.metric("llm_conversations_started_total") == 3


async def _hang_up(router: Running, session: str) -> None:
    """Ask, and leave at the first piece of the answer."""
    body = {"messages": [{"role": "user", "content": "tell me"}], "stream": True}
    headers = {"X-Session-Id": session}
    async with router.http.stream(
        "POST", "/v1/chat/completions", json=body, headers=headers
    ) as reply:
        await anext(reply.aiter_bytes())


async def test_without_a_session_the_beginning_tells(start: Start) -> None:
    router = await start()
    await router.ask("good morning")
    growing = [
        {"role": "user", "content": "good morning"},
        {"role": "assistant", "content": "near"},
        {"role": "user", "content": "and now?"},
    ]
    await router.ask(messages=growing)
    await router.ask("good evening")
    await router.ask("good morning", headers={"X-Session-Id": "named"})
    assert await router.metric("llm_conversations_started_total") == 3
    assert await router.metric(ENDED) == 0


async def test_the_local_share(start: Start) -> None:
    router = await start()
    assert math.isnan(await router.metric("llm_local_share_ratio"))
    for model in ("local", "local", "local", "cloud"):
        await router.ask(model=model)
    assert await router.metric("llm_local_share_ratio") == 0.75


async def test_a_load_test_is_shown_while_it_runs(start: Start) -> None:
    router = await start()

    async def tell(**fields: object) -> httpx.Response:
        return await router.http.post("/-/load-test", json=fields)

    async def shown() -> list[tuple[dict[str, str], float]]:
        text = (await router.http.get("/metrics")).text
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "llm_load_test_run_info"
        ]

    assert await shown() == []
    reply = await tell(state="start", run_id="run-1", scenario="steps")
    assert (reply.status_code, reply.json()) == (200, {"run_id": "run-1", "replaced": None})
    assert await shown() == [({"run_id": "run-1", "scenario": "steps"}, 1.0)]
    reply = await tell(state="start", run_id="run-2", scenario="soak")
    assert reply.json() == {"run_id": "run-2", "replaced": "run-1"}
    assert await shown() == [({"run_id": "run-2", "scenario": "soak"}, 1.0)]
    assert (await tell(state="stop", run_id="run-1")).json()["stopped"] is False
    assert (await tell(state="stop", run_id="run-2")).json()["stopped"] is True
    assert await shown() == []
    for wrong in (
        {"state": "begin", "run_id": "a", "scenario": "b"},
        {"state": "start", "run_id": "a"},
        {"state": "start", "run_id": "a", "scenario": 'b"} 1'},
        {"state": "start", "run_id": "a" * 101, "scenario": "b"},
        {"state": "start", "run_id": "a", "scenario": "b", "more": 1},
        {"state": ["start"], "run_id": "a", "scenario": "b"},
        {"state": "stop", "run_id": None},
    ):
        reply = await tell(**wrong)
        assert reply.status_code == 400
        assert list(reply.json()) == ["error"]
    assert await shown() == []


async def test_a_web_page_cannot_announce_a_load_test(start: Start) -> None:
    # A browser sends text to another site without asking it first, and alerts would be held back.
    router = await start()
    body = b'{"state": "start", "run_id": "a", "scenario": "b"}'
    for media in ({}, {"content-type": "text/plain"}):
        reply = await router.http.post("/-/load-test", content=body, headers=media)
        assert (reply.status_code, list(reply.json())) == (415, ["error"])
    assert "llm_load_test_run_info{" not in (await router.http.get("/metrics")).text


async def test_a_load_test_needs_the_key(start: Start) -> None:
    router = await start(api_keys=("right",))
    body = {"state": "stop", "run_id": "a"}
    assert (await router.http.post("/-/load-test", json=body)).status_code == 401
    headers = {"Authorization": "Bearer right"}
    assert (await router.http.post("/-/load-test", json=body, headers=headers)).status_code == 200


async def test_readiness_tells_the_queues(start: Start) -> None:
    router = await start()
    assert (await router.http.get("/readyz")).json() == {
        "ready": True,
        "blocked": [],
        "queues": {"local": {"slots": 64, "in_use": 0, "waiting": 0}},
    }
