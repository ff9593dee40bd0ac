"""The first speakable segment, by the cut rule of the voice server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.sentence import FIRST_CUTS, SentenceCutter


@pytest.mark.parametrize(
    ("pieces", "completing"),
    [
        (["😊", "你好", "，今天"], 2),
        (["你好，"], 0),
        (["！", "？", "好", "的", "。"], 4),
        (["Hello", " there", ".", " Fine", ", thanks"], 4),
        (["Hello there.\n", "And more."], None),
        (["😊！！~", "……"], None),
        (["1", "：", "2"], 1),
        (["等等；", "好。"], 0),
        ([""], None),
    ],
)
def test_feed(pieces: list[str], completing: int | None) -> None:
    cutter = SentenceCutter()
    found = [index for index, piece in enumerate(pieces) if cutter.feed(piece)]
    assert found == ([] if completing is None else [completing])


@pytest.mark.parametrize(
    ("text", "spoken_at_end"),
    [("Hello there.", True), ("😊…", False), ("", False), ("好，", False)],
)
def test_close(text: str, spoken_at_end: bool) -> None:
    cutter = SentenceCutter()
    cutter.feed(text)
    assert cutter.close() is spoken_at_end
    assert not cutter.close()
    assert not cutter.feed("好，")


@given(st.lists(st.text(alphabet="a好1.，!😊 \n", max_size=6), max_size=8))
def test_once_and_the_same_for_every_cut(pieces: list[str]) -> None:
    def completed_after(parts: list[str]) -> tuple[int, bool]:
        cutter = SentenceCutter()
        results = [cutter.feed(part) for part in parts]
        assert sum(results) <= 1
        return sum(results), cutter.close()

    text = "".join(pieces)
    assert completed_after(pieces) == completed_after([text]) == completed_after(list(text))
    spoken = any(character.isalnum() for character in text)
    assert any(completed_after(pieces)) is spoken
    assert "." not in FIRST_CUTS
