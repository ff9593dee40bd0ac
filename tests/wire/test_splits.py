"""However a stream is cut into reads, its events are the same, stamped by the right read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.wire.events import is_token
from tests.wire.samples import STREAMS, check_well_ended, read, read_capture, reader_of, unstamped


@pytest.mark.parametrize("name", STREAMS)
def test_every_two_way_split_gives_the_same_events(name: str) -> None:
    data = STREAMS[name]
    whole = unstamped(read_capture(name))
    for cut in range(len(data) + 1):
        assert unstamped(read(reader_of(name), [data[:cut], data[cut:]])) == whole, cut


@pytest.mark.parametrize("name", STREAMS)
def test_one_byte_a_read_gives_the_same_events(name: str) -> None:
    data = STREAMS[name]
    pieces = [data[index : index + 1] for index in range(len(data))]
    assert unstamped(read(reader_of(name), pieces)) == unstamped(read_capture(name))


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(STREAMS)), cuts=st.lists(st.integers(0, 20_000), max_size=40))
def test_random_pieces_give_the_same_events(name: str, cuts: list[int]) -> None:
    data = STREAMS[name]
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(places)]
    assert unstamped(read(reader_of(name), pieces)) == unstamped(read_capture(name))


@pytest.mark.parametrize("name", STREAMS)
def test_the_stamp_is_that_of_the_read_that_completed_the_frame(name: str) -> None:
    data = STREAMS[name]
    events = read(reader_of(name), [data[index : index + 1] for index in range(len(data))])
    tokens = [event for event in events if is_token(event)]
    assert tokens
    # The last line of a stream may end with the connection; a token in it has the closing stamp.
    for stamp in sorted({token.t_ns for token in tokens if token.t_ns < len(data)}):
        here = [token for token in tokens if token.t_ns == stamp]
        before = [token for token in tokens if token.t_ns < stamp]
        short, full = reader_of(name), reader_of(name)
        assert len([e for e in short.feed(data[:stamp], 0) if is_token(e)]) == len(before)
        found = [e for e in full.feed(data[: stamp + 1], 0) if is_token(e)]
        assert len(found) == len(before) + len(here)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_once_and_then_says_nothing(name: str) -> None:
    reader = reader_of(name)
    events = reader.feed(STREAMS[name], 1)
    events += reader.close(2)
    check_well_ended(events)
    assert reader.feed(STREAMS[name], 3) == []
    assert reader.close(4) == []


@pytest.mark.parametrize("name", STREAMS)
def test_stamps_never_go_back_but_for_held_counts(name: str) -> None:
    data = STREAMS[name]
    events = read(reader_of(name), [data[index : index + 7] for index in range(0, len(data), 7)])
    tokens = [event.t_ns for event in events if is_token(event)]
    assert tokens == sorted(tokens)
    assert events[-1].t_ns == max(event.t_ns for event in events)
