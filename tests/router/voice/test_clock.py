"""The time of day, out of the beginning of the prompt."""

from __future__ import annotations

import pytest

from router.voice.clock import ClockMemory, find, moved, rounded
from tests.router.voice.bodies import assistant, call, user


class Seconds:
    """A clock that only its test drives."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


PRESENT = [
    ("Current time: 10:32", "10:32", "Current time: 10:30"),
    ("- **Current Time**: 9:05 PM", "9:05 PM", "- **Current Time**: 9:00 PM"),
    ("The current time is 10:32:07.", "10:32", "The current time is 10:30."),
    ("Current date and time: 2026-03-12 10:32", "10:32", "Current date and time: 2026-03-12 10:30"),
    (
        "Current time: 2026-03-12T10:32:07+08:00;",
        "10:32",
        "Current time: 2026-03-12T10:30;",
    ),
    ("<current_time>10:32</current_time>", "10:32", "<current_time>10:30</current_time>"),
    ("It is now Thursday, 10:32", "10:32", "It is now Thursday, 10:30"),
    ("当前时间：10:32", "10:32", "当前时间：10:30"),
    (
        "当前时间(北京)：2026年3月12日 星期四 10:32:59",
        "10:32",
        "当前时间(北京)：2026年3月12日 星期四 10:30",
    ),
    ("现在是上午10点32分。", "上午10点32分", "现在是上午10点30分。"),
    ("现在时间是 晚上8点半", "晚上8点半", "现在时间是 晚上8点半"),
    ("😊 北京时间 08:09 😊", "08:09", "😊 北京时间 08:00 😊"),
]


@pytest.mark.parametrize(("text", "time", "down"), PRESENT)
def test_the_present_time_is_found(text: str, time: str, down: str) -> None:
    found = find(text)
    assert (found.time, found.rounded) == (time, down)
    assert find(found.moved).time == ""
    assert find(found.rounded).rounded == found.rounded
    assert found.moved == find(text.replace("32", "41").replace("05", "06")).moved


@pytest.mark.parametrize(
    "text",
    [
        "dentist at 15:30, video call at 19:00",
        "闹钟：8:00，晚上七点视频通话",
        "Today: 2026-03-12, Thursday",
        "the score is 3:2 now",
        "Times of trains: 10:32, 11:02",
        "",
    ],
)
def test_other_times_and_dates_stay(text: str) -> None:
    assert find(text) == ("", text, text)


def test_rounding_changes_the_system_prompt_alone() -> None:
    messages = [{"role": "system", "content": "Current time: 10:39"}, user("Current time: 10:39?")]
    assert rounded(messages)[0]["content"] == "Current time: 10:30"
    assert rounded(messages)[1] is messages[1]
    assert rounded(rounded(messages)) == rounded(messages)


def system(clock: str) -> dict[str, str]:
    return {"role": "system", "content": f"You are a lamp.\nCurrent time: {clock}\nBe brief."}


def test_a_prompt_grows_at_its_end_only() -> None:
    now_s = Seconds()
    memory = ClockMemory(now_s=now_s)
    history = [user("你好")]
    before: list[dict[str, object]] = []
    told = []
    for clock in ("10:32", "10:32", "10:33", "10:33", "11:00"):
        found = moved([system(clock), *history], memory)
        assert found[: len(before)] == before
        assert moved(found, memory) == found
        told.append(str(found[-1]["content"])[:7])
        before = found
        history += [assistant(f"answer at {clock} to {len(history)}"), user(f"and {len(history)}?")]
        now_s.now_s += 60
    assert told == ["[10:32]", "and 1?", "[10:33]", "and 5?", "[11:00]"]
    assert before[0] == moved([system("23:59"), user("x")], ClockMemory())[0]


def test_the_second_request_of_a_turn_says_the_same() -> None:
    now_s = Seconds()
    memory = ClockMemory(now_s=now_s)
    first = moved([system("10:32"), user("weather?")], memory)
    now_s.now_s += 90
    tool = [call("x"), {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
    second = moved([system("10:33"), user("weather?"), *tool], memory)
    assert second[:2] == first
    third = moved([system("10:34"), user("weather?"), *tool, assistant("sun"), user("ok")], memory)
    assert third[:4] == second
    assert third[-1]["content"] == "[10:34] ok"


def test_a_message_that_was_read_without_a_time_stays_so() -> None:
    """A tool takes long, and meanwhile the minute is another one."""
    now_s = Seconds()
    memory = ClockMemory(now_s=now_s)
    history = [user("hi"), assistant("yes?")]
    moved([system("10:32"), user("hi")], memory)
    now_s.now_s += 5
    first = moved([system("10:32"), *history, user("weather?")], memory)
    assert first[-1]["content"] == "weather?"
    now_s.now_s += 25
    tool = [call("x"), {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
    second = moved([system("10:33"), *history, user("weather?"), *tool], memory)
    assert second[: len(first)] == first
    assert moved([system("10:34"), *history, user("weather?"), *tool], memory) == second
    # Where nobody knows, it is told.
    lost = moved([system("10:33"), *history, user("weather?"), *tool], ClockMemory())
    assert lost[3]["content"] == "[10:33] weather?"


def test_two_that_begin_alike_keep_their_own_times() -> None:
    now_s = Seconds()
    memory = ClockMemory(now_s=now_s)
    hello = user("你好")
    one = moved([system("10:32"), hello], memory)
    now_s.now_s += 60
    later = [hello, assistant("one"), user("go on")]
    assert moved([system("10:33"), *later], memory)[:2] == one
    now_s.now_s += 600
    two = moved([system("10:43"), hello], memory)
    assert two[1]["content"] == "[10:43] 你好"
    now_s.now_s += 60
    assert moved([system("10:44"), hello, assistant("two"), user("go on")], memory)[:2] == two
    assert moved([system("10:44"), *later, assistant("x"), user("y")], memory)[:2] == one


def test_memory_is_bounded_and_what_is_lost_is_told_again() -> None:
    now_s = Seconds()
    memory = ClockMemory(most=4, now_s=now_s)
    for number in range(50):
        moved([system("10:32"), user(f"{number}")], memory)
    assert memory.places <= 4
    assert ClockMemory()
    found = moved([system("10:40"), user("0"), assistant("a"), user("b")], memory)
    assert [each["content"] for each in found[1:]] == ["0", "a", "[10:40] b"]


def test_pictures_and_prompts_without_a_user() -> None:
    memory = ClockMemory()
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    found = moved([system("10:32"), {"role": "user", "content": [picture]}], memory)
    assert found[1]["content"] == [{"type": "text", "text": "[10:32]"}, picture]
    alone = [system("10:32")]
    assert moved(alone, memory) is alone
