"""The memory estimate follows from the header's numbers."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.engines import gguf
from firsttoken.engines.memory import (
    estimate,
    kv_bytes_per_token,
    memory_needed,
    slots_that_fit,
)
from firsttoken.engines.options import default_model
from tests.engines import ggufs


def header(**changes: ggufs.Item) -> gguf.Header:
    data = ggufs.small(**changes)
    return gguf.read(io.BytesIO(data), len(data))


SMALL = header()


def test_cache_of_one_token() -> None:
    # 4 layers, 2 key-value heads, key and value of 64 / 8 = 8 items, 2 bytes an item
    assert kv_bytes_per_token(SMALL) == 4 * 2 * (8 + 8) * 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"llama__attention__key_length": 16}, 4 * 2 * (16 + 8) * 2),
        ({"llama__attention__value_length": 4}, 4 * 2 * (8 + 4) * 2),
        ({"llama__attention__head_count_kv": [2, 0, 4, 2]}, 8 * (8 + 8) * 2),
        ({"llama__attention__head_count": 0, "llama__attention__head_count_kv": 0}, 0),
        ({"general__architecture": "other"}, 0),
    ],
)
def test_cache_of_other_shapes(changes: dict[str, ggufs.Item], expected: int) -> None:
    assert kv_bytes_per_token(header(**changes)) == expected


def test_head_count_where_the_file_has_no_kv_heads() -> None:
    metadata = {key: item for key, item in ggufs.SMALL.items() if not key.endswith("_kv")}
    data = ggufs.gguf(metadata, {"a": ((16,), 0)}, 64)
    assert kv_bytes_per_token(gguf.read(io.BytesIO(data), len(data))) == 4 * 8 * (8 + 8) * 2


def test_the_real_model() -> None:
    meta = gguf.read_model(default_model())
    assert kv_bytes_per_token(meta) == 30 * 3 * 128 * 2
    need = estimate(meta, 24, 2048)
    assert need.kv_cache == 24 * 2048 * 23_040
    assert need.total == memory_needed(meta, 24, 2048)
    assert 95_000_000 < need.weights < 98_000_000


@given(st.integers(1, 64), st.integers(1, 8192))
def test_more_slots_or_context_never_need_less(slots: int, ctx: int) -> None:
    now = memory_needed(SMALL, slots, ctx)
    assert now < memory_needed(SMALL, slots + 1, ctx)
    assert now < memory_needed(SMALL, slots, ctx + 1)


@given(st.integers(1, 4096), st.integers(0, 1 << 30))
def test_slots_that_fit_do_and_one_more_does_not(ctx: int, available: int) -> None:
    slots = slots_that_fit(SMALL, ctx, available)
    assert slots == 0 or memory_needed(SMALL, slots, ctx) <= available
    assert slots == 1024 or memory_needed(SMALL, slots + 1, ctx) > available
