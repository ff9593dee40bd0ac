"""Calls are numbered, named and identified as strict clients want them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.events import Event, ToolArgument
from firsttoken.wire.speech.tool_numbers import HELD_CHARACTERS, ToolNumbers, random_id
from tests.wire.speech.talk import call, calls, check_numbered, closed, counting_ids, fed


def numbers() -> ToolNumbers:
    return ToolNumbers(make_id=counting_ids().__next__)


def test_a_call_that_is_right_goes_through_unchanged() -> None:
    events = call("get_weather", ['{"a"', ": 1}"])
    assert fed(numbers(), events) == events


def test_numbers_begin_at_0_and_have_no_gaps() -> None:
    events = [*call("a", ["{}"], 1, "x"), *call("b", ["{}"], 1024, "y"), *call("c", ["{}"], 5, "z")]
    made = fed(numbers(), events)
    check_numbered(made)
    assert [(each.name, each.id) for each in calls(made)] == [("a", "x"), ("b", "y"), ("c", "z")]


def test_each_call_has_an_id_of_its_own_and_tells_it_once() -> None:
    repeated = [ToolArgument(0, 0, "x", "a", text) for text in ("{", "}", "")]
    made = fed(numbers(), [*repeated, *call("b", ["{}"], 1, "x"), *call("c", ["{}"], 2, "")])
    check_numbered(made)
    assert [each.id for each in calls(made)] == ["x", "made_0", "made_1"]
    assert calls(made)[0].arguments == "{}"


def test_a_name_that_comes_late_is_waited_for() -> None:
    late: list[Event] = [ToolArgument(0, 0, "x", "", "{"), ToolArgument(0, 0, "", "a", "}")]
    assert fed(numbers(), late) == [ToolArgument(0, 0, "x", "a", "{}")]
    assert closed(numbers(), [ToolArgument(0, 0, "x", "", "{}")]) == []


def test_what_is_held_back_is_bounded() -> None:
    part = numbers()
    half = "x" * (HELD_CHARACTERS - 2)
    events = [ToolArgument(0, 0, "x", "", half), ToolArgument(0, 1, "y", "", half)]
    assert fed(part, events) == []
    named = [ToolArgument(0, 0, "", "a", ""), ToolArgument(0, 1, "", "b", "")]
    assert [len(each.arguments) for each in calls(fed(part, named))] == [len(half), 0]


def test_ids_differ() -> None:
    assert len({random_id() for _ in range(100)}) == 100


fragments = st.builds(
    ToolArgument,
    st.just(0),
    st.integers(0, 4),
    st.sampled_from(["", "x", "y"]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "{", "好", "}"]),
)


@given(st.lists(fragments, max_size=20))
def test_any_fragments_come_out_numbered(events: list[ToolArgument]) -> None:
    made = closed(numbers(), events)
    check_numbered(made)
    named = {event.index for event in events if event.name}
    wanted = "".join(event.text for event in events if event.index in named)
    assert sorted("".join(each.arguments for each in calls(made))) == sorted(wanted)
