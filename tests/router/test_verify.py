"""Hits by meaning are checked against the local model, while nobody else needs it."""

from __future__ import annotations

import threading

import pytest

from firsttoken.core.catalogue import CacheCheck
from firsttoken.core.settings.guide import CachingStrategy, SemanticCache
from firsttoken.language.encoder import DEFAULT, Vector, load
from tests.router.conftest import Running, Start
from tests.router.upstream import Call, Script, refuse, whole_reply

ALWAYS = CachingStrategy(semantic_cache=SemanticCache(enable=True, verify_share=1))
ENCODER, _ = load(DEFAULT)
PATIENT = {"first_token_timeout_s": 10.0}
"""The router loads its own encoder meanwhile, which a busy machine takes a while for."""
FIRST, AGAIN = "What is the capital of France?", "please tell me what the capital of France is"


def answers(by_question: dict[str, str]) -> Script:
    """Answer in one piece, by the question."""

    async def script(call: Call) -> None:
        question = call.body["messages"][-1]["content"]
        await call.whole(whole_reply(by_question.get(question, "It is Paris.")))

    return script


async def _hit_and_check(router: Running) -> dict[str, float]:
    assert router.router is not None
    caches = router.router.serving.caches
    caches.use(ENCODER, ENCODER.threshold)
    assert (await router.ask(FIRST, stream=False)).status_code == 200
    await router.settled(1)
    assert (await router.ask(AGAIN, stream=False)).headers["x-firsttoken-cache"] == "semantic"
    name = "llm_cache_verifications_total"
    while not (found := await router.metric(name)):
        pass
    assert found == 1
    return {result: await router.metric(name, result=result) for result in CacheCheck}


async def test_answers_are_compared_beside_the_event_loop(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, threading.Thread] = {}
    encode = ENCODER.encode

    def noted(text: str) -> Vector:
        threads[text] = threading.current_thread()
        return encode(text)

    monkeypatch.setattr(ENCODER, "encode", noted)
    router = await start(
        local=answers({AGAIN: "The capital is Paris."}), caching=ALWAYS, backend=PATIENT
    )
    await _hit_and_check(router)
    here = threading.current_thread()
    assert threads.keys() == {FIRST, AGAIN, "It is Paris.", "The capital is Paris."}
    assert here not in (threads["It is Paris."], threads["The capital is Paris."])


async def test_answers_of_one_meaning_agree(start: Start) -> None:
    router = await start(
        local=answers({AGAIN: "The capital is Paris."}), caching=ALWAYS, backend=PATIENT
    )
    assert (await _hit_and_check(router))["agreed"] == 1
    assert await router.metric("llm_cache_false_hit_ratio") == 0
    checks = [call.body for call in router.local.calls[1:]]
    assert [body["temperature"] for body in checks] == [0.0, 0.0]
    # A check is no request of a client.
    assert await router.metric("llm_requests_total") == 2
    assert await router.metric("llm_attempts_total") == 1


async def test_an_entry_whose_answer_differs_is_dropped(start: Start) -> None:
    router = await start(
        local=answers({AGAIN: "Bananas grow in bunches."}), caching=ALWAYS, backend=PATIENT
    )
    assert (await _hit_and_check(router))["differed"] == 1
    assert await router.metric("llm_cache_false_hit_ratio") == 1
    assert (await router.ask(AGAIN, stream=False)).headers["x-firsttoken-cache"] == "miss"


async def test_a_check_that_gets_no_answer_says_nothing(start: Start) -> None:
    router = await start(local=answers({}), caching=ALWAYS, backend=PATIENT)

    async def asked(call: Call) -> None:
        await answers({})(call)
        router.local.script = refuse(503)

    router.local.script = asked
    assert (await _hit_and_check(router))["failed"] == 1
    assert await router.metric("llm_cache_false_hit_ratio") == 0


async def test_nobody_is_asked_where_no_share_is_to_be_checked(start: Start) -> None:
    semantic = SemanticCache(enable=True, verify_share=0)
    router = await start(local=answers({}), caching=CachingStrategy(semantic_cache=semantic))
    assert router.router is not None
    router.router.serving.caches.use(ENCODER, ENCODER.threshold)
    await router.ask(FIRST, stream=False)
    await router.settled(1)
    await router.ask(AGAIN, stream=False)
    await router.settled(2)
    assert len(router.local.calls) == 1
