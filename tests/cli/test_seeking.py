"""Wrong options of a search or a comparison are one clear line and exit code 2."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from firsttoken.cli.main import app
from firsttoken.core.errors import UserError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--rounds 4", "--rounds: expected together with --against URL"),
        ("--against-model m", "--against-model: expected together with --against URL"),
        ("--against http://h --users 5,20", "--users 5,20: expected one number of talkers"),
        ("--capacity-cap 9", "--capacity-cap: expected together with --capacity"),
        ("--capacity-of rate", "--capacity-of: expected together with --capacity"),
        ("--capacity --users 5", "--users: not with --capacity"),
        ("--capacity --rounds 2", "--rounds: not with --capacity"),
        ("--capacity --capacity-of money", "--capacity-of money: expected devices or rate"),
        ("--capacity --capacity-cap 300", "--capacity-cap 300: expected at most 200"),
        ("--capacity --capacity-cap 2", "--capacity-cap 2: expected at least 4"),
        ("--capacity --scenario burst", "--scenario burst: expected sessions or steps"),
        ("--capacity --capacity-of rate --scenario steps", "--scenario steps: expected open_loop"),
        ("--capacity --rate 3", "--scenario sessions: --rate is for open_loop"),
        ("--capacity", "no server answers at http://127.0.0.1:9"),
    ],
)
def test_they_are_refused_in_one_line(options: str, words: str) -> None:
    argv = ["bench", "--target", "http://127.0.0.1:9", *options.split()]
    caught = CliRunner().invoke(app, argv)
    assert isinstance(caught.exception, UserError)
    assert re.match(re.escape(words), str(caught.exception))
    assert "\n" not in str(caught.exception)
