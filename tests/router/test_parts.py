"""The small parts: ledger, relay, records, settings, server."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.records import ATTEMPTS
from firsttoken.core.settings import from_mapping
from firsttoken.core.settings.endpoint import is_loopback
from firsttoken.core.words import ErrorType
from firsttoken.transport.protocol import Reply, TransportError
from firsttoken.wire import dialects
from router.account import AttemptRecord
from router.app import Router
from router.config import from_settings
from router.fronts.http import Keys, sane_request_id
from router.ledger import Ledger
from router.relay import Relay, Untouched
from router.server import run
from tests.router.upstream import answer_frames


def test_an_attempt_has_the_columns_of_the_records() -> None:
    assert [field.name for field in fields(AttemptRecord)] == ATTEMPTS.names


def test_ledger() -> None:
    ledger: Ledger[int] = Ledger(3)
    assert ledger.after(0) == (0, [])
    for number in range(1, 6):
        ledger.add(number)
    assert ledger.after(0) == (5, [3, 4, 5])
    assert ledger.after(2) == (5, [3, 4, 5])
    assert ledger.after(4) == (5, [5])
    assert ledger.after(5) == (5, [])
    assert ledger.after(99) == (5, [3, 4, 5])


class _Pieces(Reply):
    """A reply that gives these pieces, then ends or is cut."""

    status = 200

    def __init__(self, pieces: list[bytes], *, cut: bool) -> None:
        self._pieces = list(pieces)
        self._cut = cut

    def header(self, name: str) -> str | None:  # noqa: ARG002
        return None

    async def read(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._cut:
            raise TransportError(ErrorType.PROTOCOL, "cut")
        return b""

    def close(self) -> None:
        pass


STREAM = b"".join(answer_frames("a", "你", "c", "d", "e", "f"))


@given(
    st.lists(st.integers(1, len(STREAM) - 1), max_size=12),
    st.booleans(),
    st.integers(0, len(STREAM)),
)
async def test_relay_hands_on_whole_frames_and_knows_the_end(
    marks: list[int], windows: bool, end: int
) -> None:
    stream = STREAM.replace(b"\n", b"\r\n") if windows else STREAM
    whole = end == len(STREAM)
    sent = stream if whole else stream[:end]
    edges = [0, *sorted(mark for mark in marks if mark < len(sent)), len(sent)]
    pieces = [sent[low:high] for low, high in pairwise(edges) if low < high]
    written: list[bytes] = []

    async def write(data: bytes) -> None:
        written.append(data)

    relay = Relay(Untouched(dialects.get("openai"), keep=True), write, 5.0, monotonic_ns)
    await relay.begin(pieces.pop(0) if pieces else b"", [])
    await relay.run(_Pieces(pieces, cut=not whole))
    got = b"".join(written)
    assert sent.startswith(got)
    blank = b"\r\n\r\n" if windows else b"\n\n"
    assert got == sent[: sent.rfind(blank) + len(blank)] if blank in sent else got == b""
    ending = relay.ending()
    # A stream is complete from its finish reason on.
    finished = b'"finish_reason":"stop"' in got
    assert ending.complete is finished
    assert (ending.fault is None) is finished
    if whole:
        assert got == stream
        assert ending.usage is not None
        assert ending.usage.output_tokens == 3
        assert ending.timings is not None


@given(st.binary(max_size=140))
def test_request_ids_are_printable_and_bounded(sent: bytes) -> None:
    found = sane_request_id(sent)
    assert 0 < len(found) <= 128
    assert found.isascii()
    assert found.isprintable()
    assert " " not in found


def test_keys() -> None:
    assert Keys(()).tenant("") == ""
    keys = Keys(("a", "b"))
    tenants = {keys.tenant("a"), keys.tenant("b")}
    assert len(tenants) == 2
    assert not tenants & {"", "a", "b", None}
    for wrong in ("", "ab", "\udc80"):
        assert keys.tenant(wrong) is None
    keys.replace(["c"])
    assert keys.tenant("a") is None
    assert keys.tenant("c")


def _settings(**llm_routing: Any) -> Any:
    routing = {"local_model": {"endpoint": "http://127.0.0.1:1", "dialect": "openai"}}
    return from_mapping({"llm_routing": routing | llm_routing})


def test_the_router_reads_its_part_of_the_settings() -> None:
    config = from_settings(_settings())
    local = config.options["local"]
    assert (local.max_tokens, local.temperature, local.top_p) == (512, 0.7, 0.9)
    assert config.breaker.failures == 3
    assert config.breaker.longest_cool_down_s == 20.0
    assert config.rules.hybrid
    assert [backend.name for backend in config.rules.backends] == ["local"]


def test_settings_that_cannot_be_served() -> None:
    cloud = {"name": "cloud", "endpoint": "https://api.openai.com"}
    without_key = from_mapping({"llm_routing": {"remote_models": [cloud]}}, {})
    with pytest.raises(UserError, match="no backend is enabled"):
        from_settings(without_key)


def test_addresses() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("127.8.8.8")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")  # noqa: S104 - that is the point
    assert not is_loopback("::")
    assert not is_loopback("example.org")


def test_an_open_address_needs_a_key() -> None:
    router = Router(from_settings(_settings()))
    with pytest.raises(UserError, match="no API key is set"):
        run(router, "0.0.0.0", 0)  # noqa: S104 - refused before it is listened on
