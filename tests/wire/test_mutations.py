"""Whatever bytes come, a reader gives events and one end: no exception, no hang."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.wire.dialects import DIALECTS, get
from firsttoken.wire.events import End, Failure
from tests.wire.samples import STREAMS, check_well_ended, dialect_of, read, reader_of

MUTATIONS = 10_000
NESTED = b"[" * 600 + b"]" * 600
ODD_VALUES: tuple[bytes, ...] = (
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e300",
    b"1e999",
    b"9" * 400,
    b"18446744073709551616",
    b'""',
    b'"text"',
    rb'"\ud83d"',
    rb'"\u0000"',
    b'"\xff"',
    b"[]",
    b"{}",
    b"[null]",
    b"[[]]",
    b'{"a":1}',
    NESTED,
    b'{"a":' * 400 + b"1" + b"}" * 400,
    b"NaN",
)


ODD_BYTES = (b"\r", b"\n", b"\n\n", b":", b"{", b'"', b"data:", b"error: x\n", b"\xf0\x9f")


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Flip, delete, insert, duplicate or cut some bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if not changed:
            break
        start = rng.randrange(len(changed))
        end = min(len(changed), start + rng.choice((1, 1, 1, 2, 8, 200)))
        match rng.randrange(5):
            case 0:
                changed[start] ^= 1 << rng.randrange(8)
            case 1:
                del changed[start:end]
            case 2:
                changed[start:start] = rng.choice((*ODD_BYTES, *ODD_VALUES))
            case 3:
                changed[end:end] = changed[start:end]
            case _:
                del changed[start:]
    return bytes(changed)


def test_ten_thousand_mutations_give_events_or_one_failure() -> None:
    rng = random.Random(20261123)  # noqa: S311 - reproducible, not secret
    names = list(STREAMS)
    failures = 0
    for number in range(MUTATIONS):
        name = names[number % len(names)]
        data = mutate(rng, STREAMS[name])
        cut = rng.randint(0, len(data))
        events = read(reader_of(name), [data[:cut], data[cut:]])
        check_well_ended(events)
        failures += isinstance(events[-1], Failure)
    assert 0.1 * MUTATIONS < failures < MUTATIONS


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value inside ``value``."""
    inner: list[tuple[str | int, ...]] = [path] if path else []
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, item in value.items():
            inner += places(item, (*path, key))
    return inner


def put(value: Any, path: tuple[str | int, ...], new: object) -> None:
    """Replace the value at ``path``."""
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def replaced_everywhere(document: dict[str, Any]) -> list[bytes]:
    """Return ``document`` with each value in it replaced by each odd value."""
    marker = "@@@"
    variants = []
    for path in places(document):
        copy = orjson.loads(orjson.dumps(document))
        put(copy, path, marker)
        text = orjson.dumps(copy)
        variants += [text.replace(b'"@@@"', odd) for odd in ODD_VALUES]
    return variants


@pytest.mark.parametrize("name", STREAMS)
def test_every_value_of_a_frame_may_be_anything(name: str) -> None:
    data = STREAMS[name].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = [line.removeprefix(b"data:").strip() for line in data.split(b"\n")]
    documents = [line for line in lines if line.startswith(b"{")]
    form = b"%b\n" if name.endswith(".ndjson") else b"data:%b\n\n"
    dialect = get(dialect_of(name))
    for document in {documents[0], documents[len(documents) // 2], documents[-1]}:
        for variant in replaced_everywhere(orjson.loads(document)):
            check_well_ended(read(dialect.reader(), [form % variant, form % document]))
            check_well_ended(dialect.read_reply(variant, 0))
            assert len(dialect.read_error(variant)) <= 500


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_survived(name: str, data: bytes) -> None:
    dialect = get(name)
    check_well_ended(read(dialect.reader(), [data]))
    check_well_ended(read(dialect.reader(), [b"data:" + data + b"\n\n"]))
    check_well_ended(dialect.read_reply(data, 0))
    assert len(dialect.read_error(data)) <= 500


@pytest.mark.parametrize("name", DIALECTS)
def test_a_frame_without_end_is_one_failure(name: str) -> None:
    reader = get(name).reader()
    events = reader.feed(b"data: {", 0)
    for t_ns in range(40):
        events += reader.feed(b"x" * 65_536, t_ns)
    check_well_ended(events)
    assert "limit" in events[-1].message if isinstance(events[-1], Failure) else False


@pytest.mark.parametrize("name", DIALECTS)
def test_a_stream_that_only_closes_is_cut(name: str) -> None:
    events = get(name).reader().close(5)
    check_well_ended(events)
    assert not isinstance(events[-1], End)
