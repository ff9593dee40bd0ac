"""The header of a model file is read with bounds; anything else is one clear line."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.errors import UserError
from firsttoken.engines import gguf
from firsttoken.engines.options import default_model
from tests.engines import ggufs

GOOD = ggufs.small()


def read(data: bytes) -> gguf.Header:
    return gguf.read(io.BytesIO(data), len(data))


def test_small_header() -> None:
    header = read(GOOD)
    assert header.architecture == "llama"
    assert header.whole("block_count") == 4
    assert header.wholes("attention.head_count_kv") == (2,)
    assert header.whole("no_such_key") is None
    assert header.wholes("no_such_key") is None
    assert header.metadata["tokenizer.ggml.tokens.length"] == 3
    assert "tokenizer.ggml.tokens" not in header.metadata
    assert header.metadata["general.quantised"] is True
    assert header.data_end == len(GOOD)
    assert header.data_end - header.data_start == 4096


def test_a_value_a_layer() -> None:
    header = read(ggufs.small(llama__attention__head_count_kv=[2, 0, 4, 2]))
    assert header.wholes("attention.head_count_kv") == (2, 0, 4, 2)


def test_the_real_model() -> None:
    path = default_model()
    header = gguf.read_model(path)
    assert header.architecture == "llama"
    assert header.whole("block_count") == 30
    assert header.whole("context_length") == 8192
    assert header.data_end == path.stat().st_size


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not start with GGUF"),
        (b"GG", "does not start with GGUF"),
        (b"\x00" * 64, "does not start with GGUF"),
        (GOOD[:4] + b"\x09" + GOOD[5:], "of GGUF version 9"),
        (GOOD[:30], "ends inside its header"),
        (GOOD[:8] + b"\xff" * 8 + GOOD[16:], "tensors"),
        (GOOD[:16] + b"\xff" * 8 + GOOD[24:], "metadata entries"),
        (GOOD[:24] + b"\xff" * 8 + GOOD[32:], "bytes of text"),
        (GOOD[:-1], "it is cut: "),
        (ggufs.small(general__alignment=0), "alignment"),
    ],
)
def test_bad_bytes(data: bytes, message: str) -> None:
    with pytest.raises(gguf.GgufError, match=message):
        read(data)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutations_give_a_header_or_the_one_error(data: st.DataObject) -> None:
    raw = bytearray(GOOD[: data.draw(st.integers(0, len(GOOD)))])
    # Half of the places are in the first hundred bytes, where the counts are.
    place = st.one_of(st.integers(0, 100), st.integers(0, len(GOOD)))
    for at in data.draw(st.lists(place, max_size=8)):
        if at < len(raw):
            raw[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(gguf.GgufError):
        assert read(bytes(raw)).data_end <= len(raw)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_after_the_magic(rest: bytes) -> None:
    data = b"GGUF\x03\x00\x00\x00" + rest
    with contextlib.suppress(gguf.GgufError):
        assert read(data).data_end <= len(data)


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        gguf.read_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_files_that_are_no_model(tmp_path: Path) -> None:
    assert "no such model file" in refusal(tmp_path / "absent.gguf")
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in refusal(tmp_path / "pipe")
    (tmp_path / "text.gguf").write_text("hello")
    assert "does not start with GGUF" in refusal(tmp_path / "text.gguf")
    (tmp_path / "empty.gguf").touch()
    assert "does not start with GGUF" in refusal(tmp_path / "empty.gguf")
    (tmp_path / "cut.gguf").write_bytes(GOOD[:-100])
    assert "it is cut" in refusal(tmp_path / "cut.gguf")
    (tmp_path / "vocabulary.gguf").write_bytes(ggufs.gguf(ggufs.SMALL, {}, 0))
    assert "holds no model" in refusal(tmp_path / "vocabulary.gguf")


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD)

    def refused(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    assert "Permission denied" in refusal(path)
