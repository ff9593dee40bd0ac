"""A trace is read whole, or refused with the place and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core import trace as trace_room
from firsttoken.core.errors import UserError
from firsttoken.core.trace import Trace, read_trace

HEAD = "timestamp,session,prompt_tokens,output_tokens\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def read(file: Path, text: str) -> Trace:
    file.write_text(text, encoding="utf-8")
    return read_trace(file)


def test_rows_are_sorted_and_counted_within_their_session(file: Path) -> None:
    found = read(file, HEAD + "105.5,b,30,4\n100,a,10,1\n102,a,20.0,2\n102,,5,3\n\n103,,5,3\n")
    assert list(found.offsets_s) == [0.0, 2.0, 2.0, 3.0, 5.5]
    assert list(found.sessions) == [0, 0, 1, 2, 3]
    assert list(found.turns) == [0, 1, 0, 0, 0]
    assert list(found.prompt_tokens) == [10, 20, 5, 5, 30]
    assert list(found.output_tokens) == [1, 2, 3, 3, 4]
    assert found.seconds == 5.5


def test_columns_stand_in_any_order_beside_others_and_a_mark_of_the_encoding(file: Path) -> None:
    found = read(file, '\ufeffoutput_tokens, model ,prompt_tokens,timestamp\r\n3,"a,b",7,1\r\n')
    assert (list(found.prompt_tokens), list(found.output_tokens)) == ([7], [3])
    assert found.seconds == 0.0


@pytest.mark.parametrize(
    "times",
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T04:04:06.5+01:00"),
        ("2026-01-02 03:04:05", "2026-01-02 03:04:06.5"),
        ("1767323045", "1767323046.5"),
    ],
)
def test_times_are_seconds_or_iso(file: Path, times: tuple[str, str]) -> None:
    found = read(file, HEAD + "".join(f"{time},s,1,1\n" for time in times))
    assert found.seconds == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ":1: has no column timestamp"),
        ("timestamp,prompt_tokens\n1,2\n", ":1: has no column output_tokens"),
        (HEAD, "has no row"),
        (HEAD + "x,s,1,1\n", ":2: timestamp is 'x'"),
        (HEAD + "nan,s,1,1\n", ":2: timestamp is 'nan'"),
        (HEAD + "inf,s,1,1\n", ":2: timestamp is 'inf'"),
        (HEAD + "1,s,1,1\n-1,s,1,1\n", ":3: timestamp is '-1'"),
        (HEAD + "1,s,1,1\n2026-01-01,s,1,1\n", ":3: timestamp is an ISO 8601 time"),
        (HEAD + "1,s,-1,1\n", ":2: prompt_tokens is '-1'"),
        (HEAD + "1,s,1.5,1\n", ":2: prompt_tokens is '1.5'"),
        (HEAD + "1,s,131073,1\n", ":2: prompt_tokens is '131073'"),
        (HEAD + "1,s,nan,1\n", ":2: prompt_tokens is 'nan'"),
        (HEAD + "1,s,1,0\n", ":2: output_tokens is '0'"),
        (HEAD + "1,s,1,\n", ":2: output_tokens is ''"),
        (HEAD + "1,s,1\n", ":2: has 3 columns, expected 4"),
        (HEAD + '1,"s,1,1\n', ":2: is not CSV"),
        (HEAD + "1," + "s" * 1000 + ",1,1\n", ":2: is longer than 1000 characters"),
    ],
)
def test_a_fault_is_one_line_with_its_place(file: Path, text: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        read(file, text)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_not_there_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="cannot read the trace"):
        read_trace(file)
    file.write_bytes(HEAD.encode() + b"1,\xff,1,1\n")
    with pytest.raises(UserError, match="cannot read the trace"):
        read_trace(file)


def test_the_number_of_rows_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_room, "MAX_ROWS", 3)
    with pytest.raises(UserError, match=":5: is row 4; a trace has at most 3"):
        read(file, HEAD + "1,s,1,1\n" * 4)


@given(text=st.text(max_size=60))
def test_any_text_is_a_trace_or_refused(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    with pytest.raises(UserError):
        read(file, HEAD + "1,s,1,1\n" + '"' + text.replace('"', ""))
