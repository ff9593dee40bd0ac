"""What a prompt will cost, and where it goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from firsttoken.core.words import Reason
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.events import Timings, Usage
from router.voice.clock import ClockMemory
from router.voice.fingerprints import ACTIVE_S, Fingerprints, fingerprint
from router.voice.foresight import Forecast, LocalReader, against, reason_against
from router.voice.prefill import Prefill
from router.voice.warming import MOST, Warmer, beginning_of
from tests.router.voice.bodies import LOCAL, assistant, body, user
from tests.router.voice.test_clock import Seconds
from tests.router.voice.test_prepare import prepared


def turn(*said: str, persona: str = "") -> ChatRequest:
    request = prepared(body(user("0")), clocks=ClockMemory())
    history = [each for text in said for each in (user(text), assistant(f"to {text}"))]
    head = {**request.messages[0], "content": persona + request.messages[0]["content"]}
    return replace(request, messages=[head, *history, user("now?")])


def test_a_fingerprint_is_as_long_as_the_prompt_and_grows_with_it() -> None:
    one, two = fingerprint(turn("a")), fingerprint(turn("a", "b"))
    assert 10_000 < one.size < two.size
    fingerprints = Fingerprints()
    assert fingerprints.cached(two) == 0
    seat = fingerprints.take(one, pin=False)
    assert fingerprints.cached(two) == 0
    seat.was_read()
    assert one.size - 600 < fingerprints.cached(two) <= one.size
    seat.leave()
    assert fingerprints.cached(fingerprint(turn("a", persona="B"))) == 0


def test_a_conversation_keeps_its_slot_and_a_new_one_takes_another() -> None:
    now_s = Seconds()
    fingerprints = Fingerprints(3, now_s)
    seats = {}
    for number in range(3):
        now_s.now_s += 1
        prompt = fingerprint(turn(f"a{number}", persona=str(number)))
        seat = fingerprints.take(prompt, pin=True)
        seats[number] = seat.number
        seat.leave()
    assert sorted(str(each) for each in seats.values()) == ["0", "1", "2"]
    for number in (2, 0, 1):
        now_s.now_s += 1
        seat = fingerprints.take(
            fingerprint(turn(f"a{number}", "b", persona=str(number))), pin=True
        )
        assert seat.number == seats[number]
        seat.leave()
    # A fourth one gets the slot that was not used for longest.
    now_s.now_s += 2 * ACTIVE_S
    assert fingerprints.take(fingerprint(turn("x", persona="new")), pin=True).number == seats[2]


def test_nobody_is_sent_to_a_slot_in_use() -> None:
    fingerprints = Fingerprints(2)
    prompt = fingerprint(turn("a"))
    first = fingerprints.take(prompt, pin=True)
    second = fingerprints.take(prompt, pin=True)
    # The other slot has read nothing of it: the engine may know better.
    assert (first.number, second.number) == (0, None)
    assert fingerprints.take(prompt, pin=True).slot is None
    second.leave(read=False)
    first.leave()
    first.leave()
    assert fingerprints.take(prompt, pin=True).number == 0


def test_a_conversation_that_the_engine_has_placed_is_left_to_the_engine() -> None:
    fingerprints = Fingerprints(2)
    first, next_ = fingerprint(turn("a")), fingerprint(turn("a", "b"))
    fingerprints.take(first, pin=False).leave()
    assert fingerprints.take(next_, pin=True).number is None
    other = fingerprints.take(fingerprint(turn("a", persona="B")), pin=True)
    assert other.number is not None
    other.leave()
    again = fingerprints.take(fingerprint(turn("a", "b", persona="B")), pin=True)
    assert again.number == other.number


def test_what_was_not_read_is_not_taken_to_be_cached() -> None:
    fingerprints = Fingerprints()
    prompt = fingerprint(turn("a"))
    fingerprints.take(prompt, pin=False).leave(read=False)
    assert fingerprints.cached(prompt) == 0
    fingerprints.take(prompt, pin=False).leave()
    assert fingerprints.cached(prompt) == prompt.size
    # A long reply is under way while the engine is taken to be another one.
    busy = fingerprints.take(fingerprint(turn("a", persona="B")), pin=True)
    fingerprints.begin_anew()
    assert (fingerprints.cached(prompt), fingerprints.pinned) == (0, 1)
    assert fingerprints.take(prompt, pin=True).slot is None
    busy.leave()
    assert (fingerprints.cached(prompt), fingerprints.pinned) == (0, 0)
    fingerprints.begin_anew(4)
    assert (fingerprints.cached(prompt), len(fingerprints)) == (0, 4)


def test_a_spare_slot_is_one_that_nobody_comes_back_to() -> None:
    now_s = Seconds()
    fingerprints = Fingerprints(2, now_s)
    prompt = fingerprint(turn("a"))
    fingerprints.take(prompt, pin=True).leave()
    other = fingerprint(turn("a", persona="A"))
    assert fingerprints.knows(prompt)
    assert not fingerprints.knows(other)
    seat = fingerprints.take_spare(other, pin=True)
    assert seat is not None
    assert seat.number == 1
    seat.leave()
    assert fingerprints.knows(other)
    assert fingerprints.take_spare(fingerprint(turn("b", persona="B")), pin=True) is None
    # One whose reading came to nothing is spare again, as it was.
    third = Fingerprints(1, now_s)
    for _ in range(2):
        seat = third.take_spare(other, pin=True)
        assert seat is not None
        seat.leave(read=False)
    # A new conversation takes it, and leaves the other one its own.
    new = fingerprints.take(fingerprint(turn("z", persona="A")), pin=True)
    assert (new.number, new.cached) == (1, other.beginning_only.size)


def test_the_line_through_first_tokens_is_found() -> None:
    prefill = Prefill()
    assert prefill.line() is None
    for tokens in (10, 3000, 20, 1500, 40, 800):
        prefill.took(tokens, 0.1 + 0.004 * tokens)
    line = prefill.line()
    assert line == pytest.approx((0.1, 0.004))
    warm = Prefill()
    for _ in range(10):
        warm.took(20, 0.4)
    assert warm.line() is None
    few = Prefill()
    for _ in range(3):
        few.took(40, 0.4)
    assert few.line() is None
    long = Prefill()
    for _ in range(3):
        long.took(2000, 8.0)
    assert long.line() == pytest.approx((0.0, 0.004))
    prefill.counted(1000, 400)
    assert prefill.tokens(100) == pytest.approx(40)


def test_a_cold_prompt_is_foreseen_to_be_late_and_a_warm_one_is_not() -> None:
    reader = LocalReader(LOCAL, None, Seconds())
    reader.met(4, 4096)
    cold, next_ = turn("a"), turn("a", "b")
    sent, serve = reader.serve(cold, sticky=True, in_use=0)
    assert sent.extra["id_slot"] == 0
    assert sent.include_usage
    serve.told(Usage(0, 3000, 0, 10), 12.0)
    serve.read = True
    serve.close()
    for tokens in (30, 60, 90):
        serve.told(Usage(0, 3000 + tokens, 3000, 10), 0.3 + tokens * 0.004)
    assert reader.under_way == 0
    warm = reader.forecast(next_)
    assert warm.uncached_ratio < 0.05
    assert reason_against(warm, 0.0, LOCAL, 0.7, 0.4) is None
    other = reader.forecast(turn("a", persona="B"))
    assert other.uncached_ratio == 1.0
    assert other.prefill_s == pytest.approx(12, rel=0.2)
    assert reason_against(other, 0.0, LOCAL, None, 0.4) is Reason.PROMPT_TOO_LONG
    assert reason_against(warm, 4.9, LOCAL, None, 0.4) is Reason.PREDICTED_LATE
    # Others that nobody knows the slots of: the engine chooses.
    assert "id_slot" not in reader.serve(next_, sticky=True, in_use=1)[0].extra


def test_a_few_warm_turns_do_not_send_the_next_longer_one_away() -> None:
    reader = LocalReader(LOCAL, None, Seconds())
    serve = reader.serve(turn("a"), sticky=False, in_use=0)[1]
    for _ in range(3):
        serve.told(Usage(0, 3040, 3000, 10), 0.4)
    serve.was_read()
    serve.close()
    forecast = reader.forecast(turn("a", "tool " * 240))
    assert forecast.tokens * forecast.uncached_ratio > 300
    assert reason_against(forecast, 0.0, LOCAL, 0.7, 0.4) is None


def test_the_engines_own_time_counts_rather_than_what_a_person_waited() -> None:
    reader = LocalReader(LOCAL, None, Seconds())
    serve = reader.serve(turn("a"), sticky=False, in_use=0)[1]
    for tokens in (100, 1000, 3000):
        serve.told(Usage(0, tokens, 0, 10), 9.0, Timings(0, None, 4.0 * tokens, 50.0))
    assert reader.prefill.line() == pytest.approx((0.0, 0.004), abs=1e-6)


def test_who_has_no_slot_of_a_known_number_keeps_others_from_being_sent_to_one() -> None:
    reader = LocalReader(LOCAL, None, Seconds())
    reader.met(4, 4096)
    short = replace(turn(), messages=[user("hi")], tools=[])
    unpinned = reader.serve(short, sticky=True, in_use=0)[1]
    assert (unpinned.seat.number, reader.under_way) == (None, 0)
    assert "id_slot" not in reader.serve(turn("a"), sticky=True, in_use=1)[0].extra
    unpinned.close()
    reader = LocalReader(LOCAL, None, Seconds())
    reader.met(4, 4096)
    pinned = reader.serve(turn("a"), sticky=True, in_use=0)[1]
    assert reader.under_way == 1
    assert "id_slot" in reader.serve(turn("a", persona="B"), sticky=True, in_use=1)[0].extra
    pinned.close()
    pinned.close()
    assert reader.under_way == 1


def test_other_settings_of_the_same_engine_keep_what_was_learned_and_nothing_else() -> None:
    before = LocalReader(LOCAL, None, Seconds())
    before.met(4, 4096)
    serve = before.serve(turn("a"), sticky=True, in_use=0)[1]
    serve.was_read()
    after = LocalReader(replace(LOCAL, first_token_timeout_s=9.0, slots=2), None, Seconds())
    after.take_over(before)
    assert after.backend.first_token_timeout_s == 9.0
    assert (after.slots, after.context, after.pinnable, after.under_way) == (4, 4096, True, 1)
    assert after.forecast(turn("a")).uncached_ratio == 0.0
    serve.close()
    assert after.under_way == 0
    # What nobody but the settings has told is not taken over.
    silent = LocalReader(replace(LOCAL, slots=3), 2048, Seconds())
    after = LocalReader(replace(LOCAL, slots=2), None, Seconds())
    after.take_over(silent)
    assert (after.slots, after.context, len(after.fingerprints)) == (2, None, 2)


def test_a_prompt_that_does_not_fit_is_told_of_in_one_line() -> None:
    reader = LocalReader(LOCAL, 2048, Seconds())
    guessed = reader.forecast(turn("a"))
    assert "about" in guessed.overflow
    assert "\n" not in guessed.overflow
    assert reason_against(guessed, 0.0, LOCAL, None, 0.4) is Reason.CONTEXT_OVERFLOW
    reader.prefill.counted(10_000, 1000)
    assert not reader.forecast(turn("a")).overflow
    assert reader.forecast(replace(turn("a"), max_tokens=1500)).certain
    assert not LocalReader(LOCAL, None, Seconds()).forecast(turn("a")).overflow


def test_a_reason_that_was_known_before_stays() -> None:
    known = {"local": Reason.QUEUE_FULL}
    assert against(known, LOCAL, Reason.PROMPT_TOO_LONG) is known
    assert against(known, LOCAL, None) is known
    assert against(known, LOCAL, Reason.CONTEXT_OVERFLOW) == {"local": Reason.CONTEXT_OVERFLOW}
    assert against({}, LOCAL, Reason.PROMPT_TOO_LONG) == {"local": Reason.PROMPT_TOO_LONG}
    assert reason_against(Forecast(1, 0, None, None), 0, LOCAL, None, 0.4) is None


async def test_beginnings_are_read_newest_first_and_again_after_a_restart() -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def ask(request: ChatRequest) -> bool:
        assert request.max_tokens == 1
        assert len(request.messages) == 2
        asked.put_nowait(str(request.messages[0]["content"])[:1])
        return True

    warmer = Warmer(ask)
    for number in range(MOST + 2):
        warmer.seen(turn("a", persona=str(number % 10)))
    warmer.seen(replace(turn("a"), messages=[user("short")], tools=[]))
    assert len(warmer) == MOST
    task = asyncio.create_task(warmer.run())
    try:
        first = [await asked.get() for _ in range(MOST)]
        assert first == ["9", "8", "7", "6", "5", "4", "3", "2"]
        warmer.all_wanted()
        assert await asked.get() == "9"
        other = Warmer(ask)
        other.take_over(warmer)
        assert len(other) == MOST
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_short_prompt_has_no_beginning_to_be_read() -> None:
    assert beginning_of(ChatRequest("m", [user("hi")], stream=True)) is None
