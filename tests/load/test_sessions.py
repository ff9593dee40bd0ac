"""Talking devices in virtual time: when each speaks, and what it sends along."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import ErrorType, Outcome
from firsttoken.load.corpus import read_corpus
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.options import SessionsOptions
from firsttoken.load.schedules.sessions import Sessions
from firsttoken.load.schedules.turn import Turn, Wait, Window
from firsttoken.load.script import Script
from firsttoken.wire.events import End, Text
from firsttoken.wire.speaking import spoken_seconds

CORPUS = read_corpus(Path(__file__).parents[2] / "loadtests" / "corpora")
START_NS = 10**12
REPLIES = ("好的，我来说给你听。", "Sure, here you are.", "嗯", "Well no cut here", "")


class Said(NamedTuple):
    """One turn that was sent, and how it went."""

    user: int
    sent_ns: int
    turn: Turn
    exchange: Exchange

    @property
    def ended_ns(self) -> int:
        assert self.exchange.t_end_ns is not None
        return self.exchange.t_end_ns


class Answer(NamedTuple):
    """What a server answers: the first token, then one every ``interval_s``."""

    text: str
    first_s: float = 0.2
    interval_s: float = 0.05
    fails: bool = False


Server = Callable[[Turn], Answer]


def hear(turn: Turn, answer: Answer, sent_ns: int) -> Exchange:
    """Do what the client does: follow the reply to its end, or hang up."""
    exchange = Exchange("r", turn.t_sched_ns, keep_text=turn.keep_text)
    exchange.t_send_ns = sent_ns
    t_ns = sent_ns + int(answer.first_s * NS_PER_S)
    for character in answer.text:
        begun_ns = exchange.t_first_sentence_ns
        if begun_ns is not None and turn.hang_up_after_ms is not None:
            hang_up_ns = begun_ns + int(turn.hang_up_after_ms * 1e6)
            if hang_up_ns < t_ns:
                exchange.fail(ErrorType.CLIENT_GONE, "", hang_up_ns)
                return exchange
        exchange.take(Text(t_ns, character))
        t_ns += int(answer.interval_s * NS_PER_S)
    if answer.fails:
        exchange.fail(ErrorType.HTTP_5XX, "no", t_ns)
        return exchange
    exchange.take(End(t_ns, "stop"))
    return exchange


def play(
    schedule: Sessions, users: int, seconds: float, server: Server, ramp_s: float = 4.0
) -> list[Said]:
    """Let devices talk until ``seconds`` after the start; return all turns in order of sending."""
    stop_ns = START_NS + int(seconds * NS_PER_S)
    window = Window(START_NS, START_NS + int(ramp_s * NS_PER_S), stop_ns=stop_ns)
    events = [(START_NS, user) for user in range(users)]
    under_way: dict[int, Said] = {}
    done: list[Said] = []
    while events:
        now_ns, user = heapq.heappop(events)
        if (said := under_way.pop(user, None)) is not None:
            schedule.done(user, said.turn, said.exchange, now_ns)
        found = schedule.next(user, now_ns, window)
        if isinstance(found, Wait):
            assert found.until_ns > now_ns
            heapq.heappush(events, (found.until_ns, user))
        elif found is not None:
            assert found.t_sched_ns <= now_ns < stop_ns
            said = Said(user, now_ns, found, hear(found, server(found), now_ns))
            under_way[user] = said
            done.append(said)
            heapq.heappush(events, (max(said.ended_ns, now_ns), user))
    return done


def sessions(users: int, seed: int = 1, **options: Any) -> Sessions:
    script = Script(CORPUS, [users], seed, 0.0)
    return Sessions(script, 0, users, 8, 32, options=SessionsOptions(**options), seed=seed)


def conversations(said: list[Said]) -> list[list[Said]]:
    """Return the turns of each session, in order of the place and of time."""
    ordered = sorted(said, key=lambda each: (each.user, each.sent_ns))
    return [list(group) for _, group in groupby(ordered, key=lambda each: each.turn.session)]


def any_server(seed: int, failing: float = 0.1) -> Server:
    """Return a server whose replies depend on what was asked alone."""

    def answer(turn: Turn) -> Answer:
        draw = random.Random(f"{seed}/{turn.session}/{turn.number}")  # noqa: S311
        fails = draw.random() < failing
        return Answer(draw.choice(REPLIES), draw.uniform(0, 3), draw.uniform(0, 0.5), fails)

    return answer


def texts(said: list[Said]) -> dict[tuple[int, int], tuple[str, str]]:
    return {
        (each.turn.session, each.turn.number): (
            each.turn.messages[0]["content"],
            each.turn.messages[-1]["content"],
        )
        for each in said
    }


def spoken_s(text: str) -> float:
    return spoken_seconds(text, 4.5, 15.0)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), users=st.integers(1, 12), barge_in=st.sampled_from([0.0, 0.5]))
def test_the_same_seed_and_replies_give_the_same_conversations(
    seed: int, users: int, barge_in: float
) -> None:
    once, again = (
        play(sessions(users, seed, barge_in_share=barge_in), users, 60, any_server(seed))
        for _ in range(2)
    )
    assert [(each.user, each.sent_ns, each.turn) for each in once] == [
        (each.user, each.sent_ns, each.turn) for each in again
    ]
    names = [(each.turn.session, each.turn.number) for each in once]
    assert len(set(names)) == len(names)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6), users=st.integers(1, 8))
def test_what_is_said_does_not_depend_on_the_replies(seed: int, users: int) -> None:
    fast = texts(play(sessions(users, seed), users, 90, lambda _: Answer("好，")))
    slow = texts(play(sessions(users, seed), users, 90, any_server(seed)))
    assert fast.keys() & slow.keys()
    assert all(fast[name] == slow[name] for name in fast.keys() & slow.keys())


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    bounds=st.tuples(st.integers(1, 4), st.integers(4, 6)),
    think=st.tuples(st.floats(0, 2), st.floats(2, 5)),
)
def test_each_turn_is_due_when_the_reply_was_spoken_and_thought_about(
    seed: int, bounds: tuple[int, int], think: tuple[float, float]
) -> None:
    schedule = sessions(4, seed, turns=bounds, think_seconds=think, barge_in_share=0.0)
    said = play(schedule, 4, 120, any_server(seed))
    for conversation in conversations(said):
        assert [each.turn.number for each in conversation] == list(range(len(conversation)))
        assert len(conversation) <= bounds[1]
        for one, other in pairwise(conversation):
            silent_ns = one.ended_ns
            begun_ns = one.exchange.t_first_sentence_ns
            if one.exchange.outcome == Outcome.SUCCESS and begun_ns is not None:
                spoken_ns = int(spoken_s(one.exchange.text) * NS_PER_S)
                silent_ns = max(silent_ns, begun_ns + spoken_ns)
            thought_s = (other.turn.t_sched_ns - silent_ns) / NS_PER_S
            assert think[0] - 1e-6 <= thought_s <= think[1] + 1e-6
    for user in range(4):
        mine = [each for each in conversations(said) if each[0].user == user]
        for conversation, following in pairwise(mine):
            assert bounds[0] <= len(conversation) <= bounds[1]
            assert following[0].turn.t_sched_ns >= conversation[-1].ended_ns + NS_PER_S
            assert texts(following).keys().isdisjoint(texts(conversation).keys())


def test_devices_join_one_after_the_other_over_the_ramp() -> None:
    said = play(sessions(8), 8, 3.99, lambda _: Answer("好，" * 50), ramp_s=4.0)
    firsts = [(each.turn.t_sched_ns - START_NS) / NS_PER_S for each in said]
    assert firsts == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])


def test_without_a_ramp_a_device_joins_when_it_comes() -> None:
    window = Window(START_NS, START_NS)
    found = sessions(1).next(5, START_NS + 7 * NS_PER_S, window)
    assert isinstance(found, Turn)
    assert found.t_sched_ns == START_NS + 7 * NS_PER_S


def test_the_place_of_one_device_is_taken_by_another_persona() -> None:
    said = play(sessions(2, gap_seconds=(2.0, 2.0)), 2, 600, lambda _: Answer("好，"))
    mine = [each for each in conversations(said) if each[0].user == 1]
    personas = [conversation[0].turn.messages[0]["content"] for conversation in mine]
    assert all(one != other for one, other in pairwise(personas))
    assert set(personas) == {persona.system for persona in CORPUS.personas}
    for conversation in mine:
        assert len({each.turn.messages[0]["content"] for each in conversation}) == 1


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), most=st.integers(2, 9), characters=st.integers(1, 120))
def test_the_conversation_so_far_is_sent_along_within_its_bounds(
    seed: int, most: int, characters: int
) -> None:
    schedule = sessions(3, seed, turns=(6, 9), history_messages=most, history_characters=characters)
    for conversation in conversations(play(schedule, 3, 200, any_server(seed, failing=0.3))):
        spoken: list[dict[str, Any]] = []
        for each in conversation:
            system, *earlier, words = each.turn.messages
            assert (system["role"], words["role"]) == ("system", "user")
            assert earlier == spoken[len(spoken) - len(earlier) :], "the newest part, unchanged"
            assert len(earlier) <= most
            assert sum(len(message["content"]) for message in earlier) <= characters
            assert [message["role"] for message in earlier] == ["user", "assistant"] * (
                len(earlier) // 2
            )
            if each.exchange.outcome != Outcome.ERROR and each.exchange.text:
                spoken += [words, {"role": "assistant", "content": each.exchange.text}]


def test_all_of_it_is_sent_by_default_and_nothing_when_told_so() -> None:
    def longest(**options: Any) -> int:
        said = play(sessions(2, **options), 2, 300, lambda _: Answer("好，" * 8))
        return max(len(each.turn.messages) for each in said)

    assert longest(turns=(8, 8)) == 16
    assert longest(turns=(8, 8), history=False) == 2


def test_whoever_interrupts_hangs_up_on_what_still_streams_and_speaks() -> None:
    options: dict[str, Any] = {
        "barge_in_share": 1.0,
        "barge_in_seconds": (0.5, 1.5),
        "turns": (3, 5),
    }
    said = play(sessions(4, **options), 4, 120, lambda _: Answer("好，" + "说" * 40))
    for conversation in conversations(said):
        for one, other in pairwise(conversation):
            assert one.turn.hang_up_after_ms is not None
            assert 500 <= one.turn.hang_up_after_ms <= 1500
            assert one.exchange.outcome == Outcome.CANCELLED
            words = other.turn.messages[-1]["content"]
            spoken_ns = other.turn.t_sched_ns - one.ended_ns
            assert spoken_ns / NS_PER_S == pytest.approx(spoken_s(words), abs=1e-6)
            assert other.turn.messages[-2]["content"] == one.exchange.text
    full = [each for each in conversations(said) if len(each) == 5]
    assert full
    assert all(each[-1].turn.hang_up_after_ms is None for each in full), "nothing left to say"


def test_an_interruption_while_the_device_speaks_cuts_the_listening_short() -> None:
    options: dict[str, Any] = {
        "barge_in_share": 1.0,
        "barge_in_seconds": (2.0, 2.0),
        "turns": (4, 4),
    }
    # All of it arrives within 0.1 s; it takes 9 s to say.
    said = play(sessions(1, **options), 1, 60, lambda _: Answer("好，" + "说" * 40, 0.1, 0.002))
    for conversation in conversations(said):
        for one, other in pairwise(conversation):
            assert one.exchange.outcome == Outcome.SUCCESS
            assert one.exchange.t_first_sentence_ns is not None
            after_s = (other.turn.t_sched_ns - one.exchange.t_first_sentence_ns) / NS_PER_S
            words = other.turn.messages[-1]["content"]
            assert after_s == pytest.approx(2.0 + spoken_s(words), abs=1e-6)


def test_who_would_interrupt_after_the_last_word_listens_and_thinks() -> None:
    options: dict[str, Any] = {
        "barge_in_share": 1.0,
        "barge_in_seconds": (3.0, 3.0),
        "think_seconds": (2.0, 2.0),
    }
    said = play(sessions(1, **options), 1, 60, lambda _: Answer("好，", 0.1, 0.001))
    for conversation in conversations(said):
        for one, other in pairwise(conversation):
            assert one.exchange.t_first_sentence_ns is not None
            after_s = (other.turn.t_sched_ns - one.exchange.t_first_sentence_ns) / NS_PER_S
            assert after_s == pytest.approx(spoken_s("好") + 2.0, abs=1e-6)


@pytest.mark.parametrize("share", [0.07, 0.3])
def test_barge_in_share_is_how_many_interrupt(share: float) -> None:
    schedule = sessions(20, barge_in_share=share, turns=(8, 8))
    said = play(schedule, 20, 900, lambda _: Answer("好，"))
    asked = [each for each in said if each.turn.number < 7]
    interrupting = sum(each.turn.hang_up_after_ms is not None for each in asked)
    assert len(asked) > 2000
    assert interrupting / len(asked) == pytest.approx(share, abs=0.02)


def test_when_the_block_is_over_nobody_begins_and_nothing_is_owed() -> None:
    schedule = sessions(3)
    window = Window(START_NS, START_NS, START_NS, START_NS + NS_PER_S)
    assert schedule.next(0, START_NS + NS_PER_S, window) is None
    assert not schedule.owes(START_NS + NS_PER_S, window)
    assert schedule.starts(window) is None
    assert schedule.elastic


@given(one=st.text(), other=st.text())
def test_speech_adds_up(one: str, other: str) -> None:
    assert spoken_s(one + other) == pytest.approx(spoken_s(one) + spoken_s(other))
    assert spoken_s(one) >= 0


def test_what_takes_time_to_say() -> None:
    assert spoken_s("好" * 45) == pytest.approx(10.0)
    assert spoken_s("abc 12" * 5) == pytest.approx(2.0)
    assert spoken_s("，。！？😀,.\n") == 0.0


@pytest.mark.parametrize(
    "options", [{"turns": (0, 3)}, {"turns": (5, 3)}, {"think_seconds": (4.0, 1.0)}, {"wish": 1}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SessionsOptions(**options)
