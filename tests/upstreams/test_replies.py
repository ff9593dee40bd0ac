"""Seeded replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.upstreams.replies import language, pieces, reply


@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("今天天气怎么样", "zh"), ("play 七里香", "zh"), ("hello", "en"), ("", "en")],
)
def test_language_of_the_last_user_message(text: str, expected: str) -> None:
    assert language(text) == expected
    assert language("".join(reply(0, "a", text))) == expected


def test_replies_are_seeded_and_differ() -> None:
    assert reply(0, "a", "你好") == reply(0, "a", "在吗")
    assert reply(0, "a", "hi") != reply(1, "a", "hi")
    assert len({"".join(reply(0, str(index), "hi")) for index in range(50)}) > 40


@pytest.mark.parametrize("prompt", ["你好", "hello"])
def test_a_first_sentence_can_be_spoken_early(prompt: str) -> None:
    for index in range(50):
        tokens = reply(0, str(index), prompt)
        first = next(at for at, token in enumerate(tokens) if token.strip()[-1] in "。！.!?？")
        assert first < 10
        assert len(tokens) > first + 10
        assert all(tokens)
