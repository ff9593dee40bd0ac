"""What ``bench --models`` may be told, and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from firsttoken.cli.choosing import parse_models, plan_of
from firsttoken.cli.main import app
from firsttoken.core.errors import UserError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "expected --target URL, the server to measure, or --models FILES"),
        ("--models a.gguf,,b.gguf", "--models a.gguf,,b.gguf: an item is empty"),
        ("--models a.gguf,a.gguf", "--models a.gguf,a.gguf: a model stands twice"),
        ("--models a.gguf --users 5", "--users: not with --models"),
        ("--models a.gguf --capacity", "--capacity: not with --models"),
        ("--models a.gguf --model m", "--model: not with --models"),
        ("--models a.gguf --dialect openai", "--dialect: not with --models"),
        ("--models a.gguf --max-tokens 9", "--max-tokens: not with --models"),
        ("--models a.gguf --target http://127.0.0.1:9", "--target http://127.0.0.1:9: --models"),
        ("--models qwen2:1.5b --target http://127.0.0.1:9", "no Ollama answers at"),
    ],
)
def test_wrong_ones_are_refused_in_one_line(options: str, words: str) -> None:
    caught = CliRunner().invoke(app, ["bench", *options.split()])
    assert isinstance(caught.exception, UserError)
    assert re.match(re.escape(words), str(caught.exception))
    assert "\n" not in str(caught.exception)


def test_files_and_names() -> None:
    files = parse_models("x/a.gguf, b.bin", None)
    assert [(each.name, each.file) for each in files] == [
        ("a", Path("x/a.gguf")),
        ("b.bin", Path("b.bin")),
    ]
    alike = parse_models("x/a.gguf,y/a.gguf", None)
    assert [each.name for each in alike] == ["x/a.gguf", "y/a.gguf"]
    mixed = parse_models("packaged,qwen2:1.5b,c.GGUF", "http://127.0.0.1:9")
    assert [each.name for each in mixed] == ["SmolLM2-135M-Instruct.Q4_1", "qwen2:1.5b", "c"]
    assert [each.file is None for each in mixed] == [False, True, False]


def test_the_plan() -> None:
    plan = plan_of("a.gguf", target=None, step_seconds=5.0, seed=3, out=None, unwanted=())
    assert (plan.seconds, plan.seed, plan.samples, plan.ollama) == (5.0, 3, 72, None)


def test_none_that_could_be_measured_is_exit_code_2(tmp_path: Path) -> None:
    argv = ["bench", "--models", f"{tmp_path}/gone.gguf", "--out", f"{tmp_path}/out", "--json"]
    done = CliRunner().invoke(app, argv)
    assert done.exit_code == 2
    told = json.loads(done.stdout)
    assert told["models"] == []
    assert told["not_measured"][0]["why"] == f"no such model file: {tmp_path}/gone.gguf"
    assert (tmp_path / "out/models.md").is_file()
