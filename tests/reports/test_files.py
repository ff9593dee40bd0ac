"""What is written to disk."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from reports.files import json_text, plain, put, put_all
from reports.templating import environment, markdown_cell


class Colour(Enum):
    RED = "red"


def test_json_has_no_infinity_and_no_nan() -> None:
    value = {1: (math.inf, -math.inf, math.nan, 0.5), "colour": Colour.RED, "inner": {"a": [None]}}
    assert plain(value) == {
        "1": [None, None, None, 0.5],
        "colour": "red",
        "inner": {"a": [None]},
    }
    assert json_text({"größe": 1}) == '{\n  "größe": 1\n}\n'


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "größe")
    put(tmp_path / "a.txt", b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"whole"
    with pytest.raises(OSError, match="No such file"):
        put(tmp_path / "no" / "a.txt", "text")


def test_files_are_written_into_a_folder_that_is_made(tmp_path: Path) -> None:
    put_all(tmp_path / "new" / "folder", {"a": "größe", "b": b"bytes"}, "cannot write it")
    assert (tmp_path / "new" / "folder" / "a").read_text("utf-8") == "größe"
    assert (tmp_path / "new" / "folder" / "b").read_bytes() == b"bytes"
    with pytest.raises(UserError, match=r"^cannot write it: File exists$"):
        put_all(tmp_path / "new" / "folder" / "a", {"c": ""}, "cannot write it")


def test_text_cannot_end_a_cell_or_a_line() -> None:
    assert markdown_cell("a|b\n<script>") == "a\\|b &lt;script>"
    page = environment().from_string("{{ name | cell }} {{ none | missing }}")
    assert page.render(name="x | y", none=None) == "x \\| y –"
