"""Conversations begin once and end once, and nothing of what was said is kept."""

from __future__ import annotations

import gc
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.catalogue import ConversationEnd
from firsttoken.core.words import Outcome
from router.conversations import END_OF, PREFIX_CHARS, Conversations, Identifier, Key

IDLE_S = 10.0


class Told:
    """Conversations, and what they told."""

    def __init__(self, most: int = 100) -> None:
        self.started = 0
        self.ends: list[ConversationEnd] = []
        self.open = Conversations(IDLE_S, self._start, self.ends.append, most)

    def _start(self) -> None:
        self.started += 1

    def ask(self, key: Key, now_s: float, outcome: Outcome = Outcome.SUCCESS) -> None:
        assert self.open.begin(key, now_s)
        self.open.end(key, outcome, now_s)


def test_a_conversation_ends_as_its_last_request_did() -> None:
    for outcome, end in END_OF.items():
        told = Told()
        told.ask(b"a", 0.0, Outcome.SUCCESS)
        told.ask(b"a", 5.0, outcome)
        told.open.expire(14.9)
        assert (told.started, told.ends) == (1, [])
        told.open.expire(15.0)
        assert (told.started, told.ends, len(told.open)) == (1, [end], 0)
    assert END_OF.keys() == set(Outcome)


def test_who_comes_back_too_late_begins_anew() -> None:
    told = Told()
    told.ask(b"a", 0.0, Outcome.CANCELLED)
    told.ask(b"a", 10.0)
    assert (told.started, told.ends) == (2, [ConversationEnd.ABANDONED])


def test_a_long_answer_is_no_silence_and_the_last_of_two_answers_counts() -> None:
    told = Told()
    assert told.open.begin(b"a", 0.0)
    assert told.open.begin(b"a", 1.0)
    told.open.end(b"a", Outcome.ERROR, 2.0)
    told.open.expire(100.0)
    assert told.ends == []
    told.open.end(b"a", Outcome.SUCCESS, 100.0)
    told.open.expire(109.9)
    assert told.ends == []
    told.open.expire(110.0)
    assert told.ends == [ConversationEnd.COMPLETED]


def test_where_there_is_no_room_the_longest_quiet_one_ends() -> None:
    told = Told(most=2)
    told.ask(b"a", 0.0, Outcome.ERROR)
    told.ask(b"b", 1.0)
    told.ask(b"a", 2.0, Outcome.CANCELLED)
    assert told.open.begin(b"c", 3.0)
    assert told.ends == [ConversationEnd.COMPLETED]
    assert told.open.begin(b"a", 3.0)
    assert not told.open.begin(b"d", 4.0)
    assert (told.started, len(told.open)) == (3, 2)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "end", "wait"]),
        st.integers(0, 11),
        st.sampled_from(list(Outcome)),
        st.floats(0, 12),
    ),
    max_size=150,
)


@given(STEPS, st.integers(1, 6))
def test_every_one_that_began_ends_exactly_once(
    steps: list[tuple[str, int, Outcome, float]], most: int
) -> None:
    told = Told(most)
    now_s = 0.0
    under_way: list[bytes] = []
    for what, which, outcome, seconds in steps:
        now_s += seconds
        if what == "ask":
            key = bytes([which])
            if told.open.begin(key, now_s):
                under_way.append(key)
        elif what == "end" and under_way:
            told.open.end(under_way.pop(which % len(under_way)), outcome, now_s)
        else:
            told.open.expire(now_s)
        assert len(told.open) <= most
        assert told.started == len(told.ends) + len(told.open)
    for key in under_way:
        told.open.end(key, Outcome.SUCCESS, now_s)
    told.open.expire(now_s + IDLE_S + 1.0)
    assert told.started == len(told.ends)
    assert len(told.open) == 0


def test_ten_times_as_many_as_are_kept() -> None:
    told = Told(most=1_000)
    draw = random.Random(1)  # noqa: S311 - a schedule, no secret
    for number in range(10_000):
        told.ask(draw.randbytes(16), number / 1_000, draw.choice(list(Outcome)))
        assert len(told.open) <= 1_000
    told.open.expire(1e9)
    assert told.started == len(told.ends) == 10_000
    assert len(Counter(told.ends)) == 3


def _said(*texts: str, system: str = "You are kind.") -> list[dict[str, str]]:
    roles = ("user", "assistant")
    turns = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return [{"role": "system", "content": system}, *turns]


def test_the_beginning_tells_a_conversation() -> None:
    key = Identifier().key
    first = key(_said("你好"), "")
    assert key(_said("你好", "你好!", "天气怎么样?"), "") == first
    assert key([{"role": "user", "content": [{"type": "text", "text": "你好"}]}], "") == key(
        [{"role": "user", "content": "你好"}], ""
    )
    others = [
        key(_said("您好"), ""),
        key(_said("你好", system="You are terse."), ""),
        key(_said("你好"), "tenant"),
        key(_said("你好"), "", "session-1"),
        Identifier().key(_said("你好"), ""),
    ]
    assert len({first, *others}) == 6
    assert key(_said("x"), "", "s") == key(_said("y"), "", "s")
    assert key(_said("x"), "a", "s") != key(_said("x"), "b", "s")


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_system_and_user_are_never_mixed_up(a: str, b: str, c: str, d: str) -> None:
    key = Identifier(b"k").key
    assert (key(_said(b, system=a), "") == key(_said(d, system=c), "")) is ((a, b) == (c, d))


def test_nothing_that_was_said_is_kept() -> None:
    secret = "the secret that was said" * 10
    told, identifier = Told(), Identifier()
    told.ask(identifier.key(_said(secret, system=secret + "!"), "tenant"), 0.0)
    (found,) = told.open._quiet
    assert isinstance(found, bytes)
    assert len(found) == 16
    kept = [each for each in gc.get_referents(told.open, identifier) if isinstance(each, str)]
    assert not any("secret that was said" in each for each in kept)
    tail = _said("x" * PREFIX_CHARS + "tail")
    assert identifier.key(tail, "") == identifier.key(_said("x" * PREFIX_CHARS), "")


def test_a_voice_conversation_is_told_by_what_was_really_said() -> None:
    key = Identifier().key
    tools = {"name": "direct_answer", "arguments": '{"response": "La la"}'}
    examples: list[dict[str, Any]] = [
        {"role": "user", "content": "Sing me something"},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": tools}]},
        {"role": "tool", "tool_call_id": "1", "content": "sung"},
    ]
    moment = {"role": "user", "content": "当前时间：08:03\n<memory>\n</memory>"}

    def turn(*texts: str, time: str = "08:03", extra: dict[str, str] | None = None) -> Key:
        system, *rest = _said(*texts, system=f"You are an owl. It is {time}. 你是猫头鹰。")
        added = [] if extra is None else [extra]
        return key([system, *examples, *added, *rest], "")

    first = turn("你好")
    assert turn("你好", "你好呀", "几点了?", time="8:59") == first
    assert turn("你好", time="23:59:59") == first
    assert turn("早上好") != first
    # The moment is told in the user's name by some versions; it is not what was said.
    assert turn("你好", extra=moment) == first
    assert turn("你好", extra=moment | {"content": "当前时间：08:04"}) == first
    for told in (
        "Current time: 2026-03-12T10:32:07+08:00",
        "- 当前时间：2026年3月12日 星期四 8:03",
    ):
        assert turn("你好", extra=moment | {"content": told}) == first
    # Two devices with one persona that are greeted alike are taken for one.
    assert turn("你好") == first
    times = [
        key(_said("你好", system=("x" * n + f" {t}" * 8 + "y" * 600)), "")
        for n in (0, 200)
        for t in ("9:05", "10:32")
    ]
    assert times[0] == times[1] != times[2] == times[3]
    # What was said keeps its times.
    assert key(_said("叫我 8:00"), "") != key(_said("叫我 9:00"), "")


@pytest.mark.parametrize(
    "told",
    [
        "Current time: 2026-03-12 10:32\n{}",
        "Current time: 10:32, Thursday. {}",
        "当前时间：10:32\n{}",
        "当前时间：10:32 <memory>a cat</memory> {}",
    ],
)
def test_who_tells_the_time_and_then_speaks_has_spoken(told: str) -> None:
    """Agents begin what a person asks with the time: they are not one conversation."""
    key = Identifier().key
    asked = [key(_said(told.format(each)), "") for each in ("Book a flight", "订一张机票")]
    assert asked[0] != asked[1]
