"""Wrong arguments of ``firsttoken bench`` are one clear line and exit code 2."""

from __future__ import annotations

import pytest

from firsttoken.cli.bench import parse_users
from firsttoken.core.errors import UserError
from firsttoken.trials.target import normalise_url


def test_users_are_read_in_order() -> None:
    assert parse_users("5,20") == (5, 20)
    assert parse_users(" 3 ") == (3,)


@pytest.mark.parametrize("text", ["0", "a,b", "", "5,,6", "-1", "2.5", "5,5", "2001", "5;6", "٥٠,"])
def test_other_users_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="--users"):
        parse_users(text)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://h/compatible-mode/v1", "https://h/compatible-mode"),
    ],
)
def test_a_target_is_an_address_without_v1(given: str, expected: str) -> None:
    assert normalise_url(given, "openai") == expected


@pytest.mark.parametrize(
    "given",
    ["ftp://h", "http://", "http://h:99999", "http://h:x", "http://u:secret@h", "http://h?k=1"],
)
def test_other_targets_are_refused_without_repeating_a_password(given: str) -> None:
    with pytest.raises(UserError) as caught:
        normalise_url(given, "openai")
    assert "secret" not in str(caught.value)
