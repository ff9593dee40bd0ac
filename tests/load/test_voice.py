"""Devices behind a voice server in virtual time: what is sent around what was said, and when."""

from __future__ import annotations

import heapq
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.errors import UserError
from firsttoken.core.records import REQUESTS
from firsttoken.core.voice_texts import read_voice_texts, tool_name
from firsttoken.core.words import MOST_HOPS, CallClass, ErrorType, Outcome, Phase
from firsttoken.load.assignment import assign
from firsttoken.load.client import Line, StreamClient
from firsttoken.load.corpus import read_corpus
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.plan import RunPlan
from firsttoken.load.schedules.choose import Schedules
from firsttoken.load.schedules.turn import Schedule, Turn, Wait, Window
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import End, Event, Text, ToolArgument
from firsttoken.wire.speaking import spoken_seconds
from firsttoken.wire.speech.calls import classify, is_voice
from tests.load.scripted import (
    CHUNKED_HEAD,
    DONE,
    STOP,
    Reply,
    Scripted,
    chunked,
    delta,
    read_request,
    sse,
)
from tests.load.test_locust import records
from tests.load.test_plan import plan_of
from tests.load.test_talking import QUICK, drive

CORPORA = Path(__file__).parents[2] / "loadtests" / "corpora"
CORPUS = read_corpus(CORPORA)
TEXTS = read_voice_texts(CORPORA)
START_NS = 10**12

Server = Callable[[Turn], list[Event] | ErrorType]
"""What comes back, with stamps in ns after the request was sent."""


class Sent(NamedTuple):
    """One request, and how it went."""

    user: int
    sent_ns: int
    turn: Turn
    exchange: Exchange

    @property
    def ended_ns(self) -> int:
        assert self.exchange.t_end_ns is not None
        return self.exchange.t_end_ns


def saying(text: str) -> Server:
    return lambda _: [Text(200_000_000, text), End(400_000_000, "stop")]


def calling(name: str, arguments: str, call_id: str = "") -> list[Event]:
    call = ToolArgument(200_000_000, 0, call_id, name, arguments)
    return [call, End(400_000_000, "tool_calls")]


def hear(turn: Turn, answer: list[Event] | ErrorType, sent_ns: int) -> Exchange:
    """Do what the client does."""
    exchange = Exchange("r", turn.t_sched_ns, keep_text=turn.keep_text)
    exchange.t_send_ns = sent_ns
    if isinstance(answer, ErrorType):
        exchange.fail(answer, "no", sent_ns + NS_PER_S)
        return exchange
    for event in answer:
        begun_ns, after_ms = exchange.t_first_sentence_ns, turn.hang_up_after_ms
        t_ns = sent_ns + event.t_ns
        if begun_ns is not None and after_ms is not None and begun_ns + after_ms * 1e6 < t_ns:
            exchange.fail(ErrorType.CLIENT_GONE, "", begun_ns + int(after_ms * 1e6))
            break
        exchange.take(event._replace(t_ns=t_ns))
    return exchange


def play(schedule: Schedule, users: int, seconds: float, server: Server) -> list[Sent]:
    """Let devices talk until ``seconds`` after the start; what is done aside ends after a minute.
    Returns all requests in the order of sending."""
    stop_ns = START_NS + int(seconds * NS_PER_S)
    window = Window(START_NS, START_NS + 4 * NS_PER_S, stop_ns=stop_ns)
    events: list[tuple[int, int]] = [(START_NS, user) for user in range(users)]
    under_way: dict[int, Sent] = {}
    done: list[Sent] = []
    while events:
        now_ns, user = heapq.heappop(events)
        if (sent := under_way.pop(user, None)) is not None:
            schedule.done(user, sent.turn, sent.exchange, now_ns)
        found = schedule.next(user, now_ns, window)
        if isinstance(found, Wait):
            assert found.until_ns > now_ns
            heapq.heappush(events, (found.until_ns, user))
        elif found is not None:
            assert found.t_sched_ns <= now_ns
            assert found.hop or now_ns < stop_ns
            sent = Sent(user, now_ns, found, hear(found, server(found), now_ns))
            done.append(sent)
            if found.aside:
                heapq.heappush(events, (now_ns, user))
                schedule.done(user, found, sent.exchange, now_ns)
            else:
                under_way[user] = sent
                heapq.heappush(events, (max(sent.ended_ns, now_ns), user))
    assert not schedule.owes(stop_ns, window)
    return done


def voice(users: int = 4, seed: int = 1, sessions: Any = None, **options: Any) -> Schedule:
    values = plan_of(scenario="voice", seed=seed, steps=[users], voice=options)
    values["sessions"] = {"barge_in_share": 0.0} if sessions is None else sessions
    plan = RunPlan.parse(json.dumps(values), "plan")
    return Schedules(plan, CORPUS).of(plan.blocks()[0])


@cache
def usual() -> list[Sent]:
    return play(voice(8), 8, 400, saying("😊好呀，我来说给你听。"))


def conversations(sent: list[Sent]) -> list[list[Sent]]:
    """Return the requests of each session without those aside, in order of time."""
    talked = [each for each in sent if not each.turn.aside]
    ordered = sorted(talked, key=lambda each: (each.turn.session, each.sent_ns))
    return [list(group) for _, group in groupby(ordered, key=lambda each: each.turn.session)]


def whole(sent: list[Sent]) -> list[list[Sent]]:
    return [each for each in conversations(sent) if each[-1].turn.last]


def request_of(turn: Turn) -> ChatRequest:
    return ChatRequest("m", turn.messages, stream=True, tools=[dict(each) for each in turn.tools])


def names(turn: Turn) -> list[str]:
    return [tool_name(each) for each in turn.tools]


def test_a_conversation_has_three_to_eight_turns_each_after_listening_and_thinking() -> None:
    found = whole(usual())
    assert len(found) > 20
    assert {each[-1].turn.number + 1 for each in found} == set(range(3, 9))
    for conversation in found:
        for one, other in pairwise(conversation):
            if other.turn.number == one.turn.number:
                continue
            silent_ns = one.ended_ns
            if one.turn.messages[-1]["role"] == "user" and not silent(other.turn):
                assert one.exchange.t_first_sentence_ns is not None
                spoken_ns = int(spoken_seconds(one.exchange.text) * NS_PER_S)
                silent_ns = max(silent_ns, one.exchange.t_first_sentence_ns + spoken_ns)
            thought_s = (other.turn.t_sched_ns - silent_ns) / NS_PER_S
            assert 0.99 <= thought_s <= 8.0


def silent(following: Turn) -> bool:
    """Whether the turn before ended with a tool after which nothing is said."""
    role: str = following.messages[-2]["role"]
    return role == "tool"


def test_the_same_seed_says_the_same_words_and_another_one_others() -> None:
    def played(seed: int) -> list[Any]:
        sent = play(voice(4, seed), 4, 120, saying("好，"))
        return [(each.user, each.sent_ns, each.turn) for each in sent]

    assert played(3) == played(3)
    assert played(3) != played(4)


def test_what_is_sent_is_what_a_voice_server_sends() -> None:
    first = usual()[0].turn
    assert [message["role"] for message in first.messages] == [
        *("system", "user", "assistant", "tool", "user", "assistant", "tool", "assistant"),
        "user",
    ]
    assert len(first.tools) == 12
    assert names(first)[-1] == "direct_answer"
    assert (first.temperature, first.as_sdk, first.hop) == (0.7, True, 0)
    system = first.messages[0]["content"]
    assert "{{" not in system
    assert 0.75 < system.index("Current time: 09:58") / len(system) < 0.95
    assert 6500 < len(system) < 8500
    for each in usual():
        assert is_voice(request_of(each.turn))


def test_the_clock_ticks_in_the_system_prompt() -> None:
    for each in usual():
        if each.turn.aside:
            continue
        minute = 598 + (each.turn.t_sched_ns - START_NS) // (60 * NS_PER_S)
        clock = f"Current time: {minute // 60:02}:{minute % 60:02}\n"
        assert clock in each.turn.messages[0]["content"]
    clocks = [
        {each.turn.messages[0]["content"] for each in conversation}
        for conversation in whole(usual())
    ]
    assert max(map(len, clocks)) > 1, "a conversation sees it tick"


def test_the_order_of_the_tools_is_the_device_s_own() -> None:
    orders = set()
    for conversation in conversations(usual()):
        own = {tuple(names(each.turn)[:11]) for each in conversation}
        assert len(own) == 1
        orders |= own
    assert len(orders) > 10
    assert len({frozenset(order) for order in orders}) == 1


def test_a_turn_that_uses_a_tool_asks_again_without_the_tool_to_answer_through() -> None:
    again = [each for each in usual() if each.turn.hop]
    assert 0.05 < len(again) / len(usual()) < 0.4
    assert {each.turn.hop for each in again} == {1, 2}
    for each in again:
        words, call, result, *_ = each.turn.messages[-1 - 2 * each.turn.hop :]
        assert (words["role"], call["content"], result["role"]) == ("user", "", "tool")
        assert call["tool_calls"][0]["id"] == result["tool_call_id"]
        assert call["tool_calls"][0]["index"] == 0
        assert "direct_answer" not in names(each.turn)
        assert len(each.turn.tools) == 11
        assert classify(request_of(each.turn)) is CallClass.AFTER_TOOL
    for conversation in conversations(usual()):
        for one, other in pairwise(conversation):
            if other.turn.hop:
                assert (one.turn.number, one.turn.hop + 1) == (other.turn.number, other.turn.hop)
                took_s = (other.turn.t_sched_ns - one.ended_ns) / NS_PER_S
                assert 0.05 <= took_s <= 0.3


def test_what_the_model_calls_is_used_and_put_into_the_conversation() -> None:
    arguments = '{"query": "雨"}'

    def server(turn: Turn) -> list[Event]:
        if turn.hop:
            return [Text(1, "😊下雨了，"), End(2, "stop")]
        return calling("web_search", arguments, "call_x")

    sent = play(voice(2), 2, 60, server)
    hops = [each.turn for each in sent if each.turn.hop]
    assert len(hops) > 5
    for turn in hops:
        *_, call, result = turn.messages
        assert call["tool_calls"][0]["function"] == {"name": "web_search", "arguments": arguments}
        assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "call_x"
        assert len(result["content"]) > 500
    assert {each.turn.hop for each in sent} == {0, 1}


def test_a_model_that_calls_tools_for_ever_is_cut_short() -> None:
    sent = play(voice(1), 1, 60, lambda _: calling("get_lunar", "{}"))
    assert max(each.turn.hop for each in sent) == MOST_HOPS
    talked = [each.turn for each in sent if not each.turn.aside]
    assert all(bool(turn.tools) == (turn.hop < MOST_HOPS) for turn in talked)


def test_of_a_reply_after_which_nothing_is_said_nothing_was_heard() -> None:
    """Music begins; what the model wrote before it counts for nobody's first sentence."""
    speech = ("ttfs_ms", "ttfsc_ms", "segments", "stutters", "longest_gap_ms", "total_gap_ms")
    spoken = [bool(each.exchange.heard.segments) for each in usual() if not each.turn.aside]
    assert 0.02 < spoken.count(False) / len(spoken) < 0.3
    for conversation in conversations(usual()):
        for one, other in pairwise(conversation):
            if other.turn.number > one.turn.number and silent(other.turn):
                place = Place("run", "arm", 1, "s", 0)
                row = dict(zip(REQUESTS.names, one.exchange.row(place, Phase.STEADY), strict=True))
                assert [row[name] for name in (*speech, "t_first_sentence_ns")] == [None] * 7
                assert (row["outcome"], one.exchange.text) == ("success", "")
                assert row["ttft_ms"] == pytest.approx(200.0)


def test_an_answer_through_the_tool_made_for_it_is_heard_like_any_other() -> None:
    text = "😊好呀，我来说给你听。"
    spoken = json.dumps({"response": text}, ensure_ascii=False)
    sent = play(voice(2), 2, 60, lambda _: calling("direct_answer", spoken))
    for conversation in conversations(sent):
        for one, other in pairwise(conversation):
            if other.turn.number > one.turn.number and not silent(other.turn):
                assert other.turn.messages[-2] == {"role": "assistant", "content": text}
                listened_s = (other.turn.t_sched_ns - one.ended_ns) / NS_PER_S
                assert listened_s >= 1 + spoken_seconds(text) - 0.4


def test_the_memory_job_begins_when_a_conversation_ends_and_holds_nobody_up() -> None:
    asides = [each for each in usual() if each.turn.aside]
    ended = whole(usual())
    assert {each.turn.session for each in asides} == {each[0].turn.session for each in ended}
    for each in asides:
        (conversation,) = [one for one in ended if one[0].turn.session == each.turn.session]
        assert each.sent_ns == conversation[-1].ended_ns
        assert classify(request_of(each.turn)) is CallClass.SUMMARY
        assert (each.turn.temperature, each.turn.max_tokens) == (0.2, 300)
        said = each.turn.messages[1]["content"]
        for one in conversation:
            if one.turn.hop == 0:
                assert one.turn.messages[-1]["content"] in said
        following = [one for one in usual() if one.user == each.user and one.sent_ns > each.sent_ns]
        if following:
            assert following[0].sent_ns < each.sent_ns + 60 * NS_PER_S
    assert not [
        e for e in play(voice(4, memory_jobs="off"), 4, 200, saying("好，")) if e.turn.aside
    ]


def test_after_a_barge_in_two_things_said_may_follow_each_other() -> None:
    sessions = {"barge_in_share": 1.0, "barge_in_seconds": [0.5, 1.0], "turns": [4, 6]}
    long: list[Event] = [Text(i * 50_000_000, "说，") for i in range(1, 80)]
    sent = play(voice(4, sessions=sessions), 4, 200, lambda _: [*long, End(4_000_000_000, "stop")])
    seen = set()
    for conversation in conversations(sent):
        for one, other in pairwise(conversation):
            if other.turn.number == one.turn.number:
                continue
            if one.exchange.outcome == Outcome.CANCELLED:
                before, words = other.turn.messages[-2:]
                assert words["role"] == "user"
                seen.add(before["role"])
                if before["role"] == "assistant":
                    assert before["content"] == one.exchange.text
    assert seen >= {"user", "assistant"}


def test_a_failed_turn_leaves_what_was_said_without_an_answer() -> None:
    sent = play(voice(2), 2, 60, lambda _: ErrorType.HTTP_5XX)
    for conversation in conversations(sent):
        roles = [message["role"] for message in conversation[-1].turn.messages[8:]]
        assert roles == ["user"] * len(conversation)
        assert {each.turn.hop for each in conversation} == {0}


@pytest.mark.parametrize("tools", ["none", "intent"])
def test_without_tools_nothing_of_them_is_sent(tools: str) -> None:
    sent = play(voice(4, tools=tools), 4, 120, saying("好，"))
    talked = [each.turn for each in sent if not each.turn.aside]
    assert not any(turn.tools for turn in talked)
    wanted = {CallClass.CHAT} | ({CallClass.INTENT} if tools == "intent" else set())
    assert {classify(request_of(turn)) for turn in talked} == wanted
    assert {turn.hop for turn in talked} == ({0, 1} if tools == "intent" else {0})
    if tools == "intent":
        assert all((classify(request_of(t)) is CallClass.INTENT) == (t.hop == 0) for t in talked)


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_one_language_alone(lang: str) -> None:
    sent = play(voice(4, language=lang, prompt="short", tools="none"), 4, 200, saying("好，"))
    prompts = {each.turn.messages[0]["content"] for each in sent if not each.turn.aside}
    assert prompts == {persona.system for persona in TEXTS.personas if persona.lang == lang}


def test_a_turn_that_began_is_seen_to_its_end() -> None:
    sent = play(voice(8), 8, 100, saying("好，"))
    late = [each for each in sent if each.sent_ns >= START_NS + 100 * NS_PER_S]
    assert all(each.turn.hop for each in late)


def test_requests_bear_the_headers_of_a_voice_server_s_client_library() -> None:
    turn = usual()[0].turn
    with Scripted([Reply([CHUNKED_HEAD, *chunked(sse(delta("好，"), STOP, DONE))])]) as server:
        line = Line.to(server.url, "openai", None, 12.5)
        place = Place("run", "arm", 1, "s", 0)
        assignment = assign(turn, place, "s-0", line, model="m")
        exchange = Exchange("s-0", 0)
        client = StreamClient(line)
        client.ask(assignment.request, exchange, headers=assignment.headers)
        client.close()
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert exchange.outcome == Outcome.SUCCESS
    assert b"x-stainless-retry-count: 0\r\n" in head
    assert b"x-stainless-read-timeout: 12.5\r\n" in head
    sent = json.loads(body)
    assert set(sent) == {
        *("model", "messages", "tools", "stream", "stream_options", "temperature", "max_tokens")
    }
    aside = assign(replace(turn, aside=True), place, "s-0", line, model="m")
    assert aside.headers["x-stainless-read-timeout"] == "300"
    assert (aside.line.limits.total_s, aside.line.limits.silence_s) == (300.0, 300.0)
    assert assignment.line is line
    assert assign(replace(turn, as_sdk=False), place, "s-0", line, model="m").headers == {}


class Busy(Scripted):
    """Answers those who talk, and leaves what is done aside waiting."""

    def _converse(self, connection: socket.socket) -> None:
        answer = [CHUNKED_HEAD, *chunked(sse(delta("好的，"), STOP, DONE))]
        while request := read_request(connection):
            if b"x-stainless-read-timeout: 300\r\n" in request:
                self._stop.wait()
                return
            for piece in answer:
                connection.sendall(piece)


def test_in_a_real_process_what_is_done_aside_is_told_apart_and_holds_no_block_up(
    tmp_path: Path,
) -> None:
    with Busy([]) as server:
        block = drive(
            tmp_path,
            server.url,
            "voice",
            sessions={**QUICK, "barge_in_share": 0.0, "turns": [2, 3]},
            voice={"tool_seconds": [0.0, 0.01]},
            step_seconds=1.0,
        )
    assert (block["ended_ns"] - block["stop_ns"]) / NS_PER_S < 60
    kept = records(tmp_path)
    asides = kept[kept["phase"] == "aside"]
    talked = kept[kept["phase"] != "aside"]
    assert len(asides) > 0
    assert set(asides["outcome"]) == {"cancelled"}
    assert asides["session_id"].str.endswith("-aside").all()
    assert not talked["session_id"].str.endswith("-aside").any()
    assert kept["request_id"].is_unique
    assert talked["hop"].max() >= 1
    assert block["requests"] == (talked["phase"] == "steady").sum()
    assert block["errors"] == 0


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("voice_tools.json", "{}", "voice_tools.json is not what it should be"),
        ("voice_tool_turns.json", '{"turns": {}}', "voice_tool_turns.json is not what"),
        ("voice_tools.json", '[{"type": "function"}]', "voice_tools.json is not what"),
        ("voice_context.json", '{"emoji": "x", "zh": {}}', "voice_context.json is not what"),
        ("voice_few_shot.json", '{"zh": [{"role": "user"}]}', "voice_few_shot.json is not what"),
        ("voice_personas.jsonl", '{"id": "x", "system": "y"}', "'lang' must be a text"),
        ("voice_prompt.txt", None, "cannot read .*voice_prompt.txt"),
    ],
)
def test_texts_that_cannot_be_used_are_named(
    tmp_path: Path, name: str, text: str | None, says: str
) -> None:
    for path in CORPORA.glob("voice_*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=says):
        read_voice_texts(tmp_path)
