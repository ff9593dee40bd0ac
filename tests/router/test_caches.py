"""Both caches in the way of a request: what is found again, and what must not be."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.settings.guide import CachingStrategy, LocalCache, SemanticCache
from firsttoken.language.encoder import DEFAULT, Vector, load
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import End, Event, Probabilities, Reasoning, Role, Text, ToolArgument
from firsttoken.wire.replies import collect
from router.cache.exact import ExactCache, key_of
from router.cache.store import Caches
from router.meters import Meters
from router.policy.plan import Rules
from tests.router.conftest import Running, Start, backend
from tests.router.upstream import Call, answer, delta, then_cut

EXACT = CachingStrategy(local_cache=LocalCache(enable=True))
BOTH = CachingStrategy(
    local_cache=LocalCache(enable=True), semantic_cache=SemanticCache(enable=True, verify_share=0)
)
HEADER = "x-firsttoken-cache"
ENCODER, _ = load(DEFAULT)


def use_encoder(router: Running) -> None:
    """Give the caches their encoder now instead of when the one in the background is loaded."""
    assert router.router is not None
    router.router.serving.caches.use(ENCODER, ENCODER.threshold)


def test_the_least_recently_used_entry_makes_room() -> None:
    cache: ExactCache[int] = ExactCache(2, 10.0)
    cache.put(b"a", 1, 0.0)
    cache.put(b"b", 2, 0.0)
    assert cache.get(b"a", 1.0) == 1
    cache.put(b"c", 3, 1.0)
    assert cache.get(b"b", 1.0) is None
    assert cache.get(b"a", 9.9) == 1
    assert cache.get(b"a", 10.0) is None
    cache.remove(b"c")
    cache.remove(b"c")
    assert cache.get(b"c", 1.0) is None


ASKED: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
    "stream": True,
    "max_tokens": 8,
    "temperature": 0.5,
    "extra": {"response_format": {"type": "json_object"}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"messages": [{"role": "user", "content": "u"}]},
        {"messages": [{"role": "system", "content": "s "}, {"role": "user", "content": "u"}]},
        {"max_tokens": 9},
        {"temperature": None},
        {"top_p": 0.5},
        {"stop": ["x"]},
        {"seed": 1},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"extra": {}},
    ],
)
def test_whatever_changes_an_answer_is_in_the_key(change: dict[str, Any]) -> None:
    assert key_of(ChatRequest(**ASKED), "t") != key_of(ChatRequest(**(ASKED | change)), "t")


def test_what_does_not_change_an_answer_is_not_in_the_key() -> None:
    one = ChatRequest(**ASKED)
    extra = {**ASKED["extra"], "stream_options": {"x": 1}}
    other = ChatRequest(**(ASKED | {"stream": False, "include_usage": True, "extra": extra}))
    assert key_of(one, "t") == key_of(other, "t")
    assert key_of(one, "t") != key_of(one, "another tenant")


@given(st.text(), st.text())
def test_scope_leaves_out_the_question_alone(one: str, other: str) -> None:
    def scope(text: str, system: str) -> bytes:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        return key_of(ChatRequest("auto", messages, stream=True), "", text=False)

    assert scope(one, "s") == scope(other, "s")
    assert (scope(one, one) == scope(one, other)) is (one == other)


class CountingEncoder:
    """Finds every text alike, and counts how often each was encoded."""

    name, threshold, dimensions = "counting", 0.5, 2

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, text: str) -> Vector:
        self.encoded.append(text)
        return ENCODER.encode("alike")


def caches_of(settings: CachingStrategy) -> Caches:
    """Return caches that nobody serves from."""
    return Caches.of(settings, Meters(Rules((backend("local"),))), lambda: 0.0)


def asking(text: str = "who are you") -> ChatRequest:
    return ChatRequest("auto", [{"role": "user", "content": text}], stream=True)


def kept(events: list[Event]) -> tuple[Event, ...] | None:
    """Return what is kept of a reply."""
    caches = caches_of(EXACT)
    caches.keep(caches.look_up(asking(), ""), events, backend("local"))
    reply = caches.look_up(asking(), "").reply
    return None if reply is None else reply.events


def test_after_the_first_token_what_is_kept_is_one_event_a_kind() -> None:
    words = [Text(number, f"w{number} ") for number in range(512)]
    thoughts = [Reasoning(number, f"t{number} ") for number in range(512)]
    likely: list[Event] = [Probabilities(0, (-0.1,), (None,))]
    pieces = [event for word in words for event in (*likely, word, Role(0, ""))]
    reply = [Role(0, "assistant"), *thoughts, *pieces, End(0, "stop")]
    found = kept(reply)
    assert found is not None
    assert found[:2] == (reply[0], thoughts[0])
    assert [type(event) for event in found[2:]] == [Reasoning, Text, End]
    assert collect(found) == collect(reply)


def test_what_is_kept_of_calls_says_which_is_which() -> None:
    def call(index: int, *arguments: str) -> list[Event]:
        begun = ToolArgument(0, index, f"id{index}", "lamp", "")
        return [begun, *(ToolArgument(0, index, "", "", text) for text in arguments)]

    reply = [*call(0, '{"on"', ":", "true", "}"), *call(1, "{", "}"), End(0, "tool_calls")]
    found = kept(reply)
    assert found is not None
    assert len(found) == 6
    assert collect(found) == collect(reply)


def test_a_reply_that_is_too_long_is_not_kept() -> None:
    assert kept([Text(0, "x" * 65_536), End(0, "stop")]) is not None
    assert kept([Text(0, "x"), Text(0, "x" * 65_536), End(0, "stop")]) is None
    assert kept([]) is None


def test_a_question_that_no_cache_was_asked_for_is_no_miss() -> None:
    caches = caches_of(CachingStrategy(semantic_cache=SemanticCache(enable=True)))

    def answer(text: str) -> str:
        return caches.look_up(asking(text), "").answer

    unfit, fit = "what is my name", "who are you"
    assert (answer(unfit), answer(fit)) == ("bypass", "bypass")
    caches.use(ENCODER, ENCODER.threshold)
    assert (answer(unfit), answer(fit)) == ("bypass", "miss")
    assert caches.look_up(asking(unfit), "").key is None


def test_a_question_is_encoded_once_however_often_it_is_compared() -> None:
    caches = caches_of(CachingStrategy(semantic_cache=SemanticCache(enable=True)))
    encoder = CountingEncoder()
    caches.use(encoder, 2.0)
    reply: list[Event] = [Text(0, "x"), End(0, "stop")]
    one, other = "who are you", "please, who are you"
    caches.keep(caches.look_up(asking(one), ""), reply, backend("local"))
    assert encoder.encoded == []
    # Compared, found too far apart, and kept in place of the first one.
    caches.keep(caches.look_up(asking(other), ""), reply, backend("local"))
    caches.use(encoder, 0.5)
    assert caches.look_up(asking(one), "").answer == "semantic"
    assert encoder.encoded == [one, other, one]


def test_once_warm_no_question_reads_a_list() -> None:
    """The lists are the process's, so it takes one of its own."""
    probe = """
from firsttoken.language import guards, thesaurus
from router.cache.store import warm
warm()
def read(name): raise AssertionError(name)
thesaurus.lines = read
for text in ("hello", "how do I cook rice in 20 minutes?", "米饭怎么煮", "电视怎么开",
             'what does "verbose" mean', "“但是”怎么造句", "what is my name", "今天天气怎么样"):
    guards.cacheable(text)
"""
    subprocess.run([sys.executable, "-c", probe], check=True, timeout=60)


async def _twice(router: Running, text: str, **fields: Any) -> tuple[Any, Any]:
    first = await router.ask(text, **fields)
    await router.settled(1)
    return first, await router.ask(text, **fields)


async def test_a_repeated_question_is_answered_from_the_cache(start: Start) -> None:
    router = await start(local=answer("ne", "ar"), caching=EXACT)
    first, again = await _twice(router, "who are you")
    assert (first.headers[HEADER], again.headers[HEADER]) == ("miss", "exact")
    assert again.headers["x-firsttoken-tier"] == "cache"
    assert again.headers["x-firsttoken-reason"] == "cache_exact"
    assert again.headers["x-firsttoken-attempts"] == "0"
    assert b'"content":"ne"' in again.content
    assert again.content.endswith(b"data: [DONE]\n\n")
    whole = await router.ask("who are you", stream=False)
    assert whole.headers[HEADER] == "exact"
    assert whole.json()["choices"][0]["message"]["content"] == "near"
    ollama = await router.http.post(
        "/api/chat",
        json={"model": "auto", "messages": [{"role": "user", "content": "who are you"}]},
    )
    assert ollama.headers[HEADER] == "exact"
    assert ollama.text.splitlines()[-1].count('"done":true') == 1
    assert len(router.local.calls) == 1
    assert await router.metric("llm_requests_total", tier="cache", outcome="success") == 3
    hits = {"cache": "exact", "result": "hit"}
    assert await router.metric("llm_cache_lookups_total", **hits) == 3
    assert await router.metric("llm_time_to_first_token_seconds_count", tier="cache") == 2


async def test_a_whole_reply_is_found_again_as_a_stream(start: Start) -> None:
    router = await start(caching=EXACT)
    first, _ = await _twice(router, "who are you", stream=False)
    streamed = await router.ask("who are you")
    assert first.headers[HEADER] == "miss"
    assert streamed.headers[HEADER] == "exact"
    assert streamed.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("what is the weather like", {}),
        ("今天天气怎么样", {}),
        ("现在几点", {}),
        ("who are you", {"logprobs": True}),
        ("who are you", {"n": 2}),
    ],
)
async def test_what_is_never_kept(start: Start, text: str, fields: dict[str, Any]) -> None:
    router = await start(caching=EXACT)
    first, again = await _twice(router, text, **fields)
    assert (first.headers[HEADER], again.headers[HEADER]) == ("bypass", "bypass")
    assert len(router.local.calls) == 2


async def test_a_reply_that_broke_off_is_not_kept(start: Start) -> None:
    async def cut(call: Call) -> None:
        await then_cut(delta("half"))(call)

    router = await start(local=cut, caching=EXACT)
    await router.ask("who are you")
    await router.settled(1)
    assert (await router.ask("who are you")).headers[HEADER] == "miss"


async def test_a_cache_is_one_client_keys_own(start: Start) -> None:
    router = await start(caching=EXACT, api_keys=("a-key", "b-key"))

    async def ask(key: str) -> str:
        reply = await router.ask("who are you", headers={"authorization": f"Bearer {key}"})
        found: str = reply.headers[HEADER]
        return found

    assert await ask("a-key") == "miss"
    assert await ask("b-key") == "miss"
    assert await ask("a-key") == "exact"


async def test_without_caches_nobody_looks(start: Start) -> None:
    router = await start()
    first, again = await _twice(router, "who are you")
    assert (first.headers[HEADER], again.headers[HEADER]) == ("bypass", "bypass")


async def test_a_question_that_means_the_same_is_answered_from_the_cache(start: Start) -> None:
    router = await start(local=answer("near"), caching=BOTH)
    use_encoder(router)
    first = await router.ask("What is the capital of France?")
    await router.settled(1)
    same = await router.ask("Please tell me, what's the capital of France?")
    other = await router.ask("What is the capital of Germany?")
    assert (first.headers[HEADER], same.headers[HEADER]) == ("miss", "semantic")
    assert same.headers["x-firsttoken-reason"] == "cache_semantic"
    assert other.headers[HEADER] == "miss"
    assert b"near" in same.content


async def test_meaning_is_compared_under_one_system_prompt_without_tools(start: Start) -> None:
    router = await start(caching=BOTH)
    use_encoder(router)

    async def ask(*messages: tuple[str, str], **fields: Any) -> str:
        told = [{"role": role, "content": content} for role, content in messages]
        body = {"model": "auto", "messages": told, **fields}
        reply = await router.http.post("/v1/chat/completions", json=body)
        found: str = reply.headers[HEADER]
        return found

    asked, again = ("user", "who are you"), ("user", "please tell me who are you")
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    assert await ask(("system", "a"), asked) == "miss"
    assert await ask(("system", "b"), again) == "miss"
    assert await ask(("system", "a"), again, tools=[tool]) == "miss"
    assert await ask(("system", "a"), asked, ("assistant", "me"), again) == "miss"
    assert await ask(("system", "a"), again, max_tokens=5) == "miss"
    assert await ask(("system", "a"), again) == "semantic"
