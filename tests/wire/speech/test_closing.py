"""A sentence that broke off is finished in its language; JSON is closed by brackets alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from firsttoken.wire.speech.closing import closing_mark
from firsttoken.wire.speech.json_text import missing_closers, object_text, quoted
from tests.wire.speech.talk import unicode_text


@pytest.mark.parametrize(
    ("spoken", "mark"),
    [
        ("今天天气", "。"),
        ("今天天气，", "。"),
        ("The weather", "."),
        ("The weather is,", "."),
        ("我喜欢 Python", "."),
        ("Python 很好", "。"),
        ("一共 42", "。"),
        ("It is 42", "."),
        ("42", "。"),
        ("こんにちは", "。"),
        ("Привет", "."),
        ("好的。", ""),
        ("Really?", ""),
        ("好的！ 😀\n", ""),
        ("好的。”", ""),
        ("好的😀", "。"),
        ("😀", ""),
        ("，！", ""),
        ("", ""),
    ],
)
def test_the_mark_is_that_of_the_language(spoken: str, mark: str) -> None:
    assert closing_mark(spoken) == mark


@pytest.mark.parametrize(
    ("text", "closers"),
    [
        ('{"a": [1, {', "}]}"),
        ('{"a": "]}\\""', "}"),
        ("{}", ""),
        ('{"a', ""),
        ("]", ""),
        ("[" * 99, ""),
    ],
)
def test_missing_brackets(text: str, closers: str) -> None:
    assert missing_closers(text) == closers


def test_an_object_is_taken_out_of_a_string() -> None:
    assert object_text(json.dumps('{"a": 1}'), mend=False) == '{"a": 1}'
    assert object_text('{"a": 1', mend=False) == ""
    assert object_text('{"a": 1', mend=True) == '{"a": 1}'


@given(unicode_text)
def test_quoted_text_reads_back(text: str) -> None:
    assert json.loads(f'"{quoted(text)}"') == text


def test_what_is_no_unicode_is_a_question_mark() -> None:
    assert quoted("a\ud83d") == "a?"
