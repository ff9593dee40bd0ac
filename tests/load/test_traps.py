"""The streaming client walks into every trap, in every dialect and language, and is not misled.

Times are compared with the server's own stamps, of the clock that both share: a stamp before the
server's write is wrong on any machine, and one of the three texts must be stamped before the next
write, which a machine has to be very slow to miss.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_S, milliseconds, monotonic_ns
from firsttoken.core.words import Outcome
from firsttoken.load.client import Line, StreamClient
from firsttoken.load.exchange import Exchange
from firsttoken.upstreams.traps import SPEECHES, TOKEN_S, TRAPS, possible
from firsttoken.wire.dialect import ChatRequest

DIALECTS = ("openai", "ollama", "ollama_generate", "dashscope")
CASES = [(dialect, trap) for dialect in DIALECTS for trap in TRAPS if possible(trap, dialect)]
SLOWEST_NS = int(TOKEN_S * NS_PER_S)
AT_ONCE = 40


class Met(NamedTuple):
    """One request: what the client saw, and what was so."""

    seen: Exchange
    true: dict[str, Any]


def _ask(line: Line, trap: str, speech: str) -> Exchange:
    client = StreamClient(line)
    exchange = Exchange(f"{line.dialect.name}-{trap}-{speech}", monotonic_ns())
    messages = [{"role": "user", "content": "讲一讲 weather"}]
    model = f"trap:{trap}:{speech}"
    client.ask(ChatRequest(model, messages, stream=True, include_usage=True), exchange)
    client.close()
    return exchange


@pytest.fixture(scope="module")
def met() -> dict[tuple[str, str], list[Met]]:
    """Many traps at once, for they wait most of their time; the three texts of one are apart."""
    asked = [(*case, speech) for speech in SPEECHES for case in CASES]
    argv = [sys.executable, "-m", "firsttoken.upstreams.trap", "--port", "0"]
    with Child.start(argv) as server, ThreadPoolExecutor(AT_ONCE) as pool:
        lines = {dialect: Line.to(server.url, dialect, None, 30.0) for dialect in DIALECTS}
        seen = list(pool.map(lambda case: _ask(lines[case[0]], *case[1:]), asked))
        with urllib.request.urlopen(f"{server.url}/truth", timeout=10) as reply:  # noqa: S310
            truth = {row["request_id"]: row for row in json.load(reply)["rows"]}
    found: dict[tuple[str, str], list[Met]] = {}
    for (dialect, trap, _), exchange in zip(asked, seen, strict=True):
        found.setdefault((dialect, trap), []).append(Met(exchange, truth[exchange.request_id]))
    return found


@pytest.mark.parametrize(("dialect", "trap"), CASES)
def test_outcome_and_counts(met: dict[tuple[str, str], list[Met]], dialect: str, trap: str) -> None:
    for seen, true in met[dialect, trap]:
        assert (seen.outcome == Outcome.SUCCESS) == (true["outcome"] == "success"), seen.message
        assert (seen.output_tokens or 0) == true["tokens"]
        assert not true["client_left"] or trap == "error_first"
        assert seen.http_status == 200


@pytest.mark.parametrize(("dialect", "trap"), CASES)
@pytest.mark.parametrize(
    ("mine", "truth"),
    [
        ("t_first_token_ns", "first_token_ns"),
        ("t_first_text_ns", "first_text_ns"),
        ("t_first_sentence_ns", "first_segment_ns"),
        ("t_last_token_ns", "last_token_ns"),
        ("t_end_ns", "ended_ns"),
    ],
)
def test_stamps(
    met: dict[tuple[str, str], list[Met]], dialect: str, trap: str, mine: str, truth: str
) -> None:
    lags = []
    for seen, true in met[dialect, trap]:
        stamp = getattr(seen, mine)
        assert (stamp is None) == (true[truth] is None)
        if stamp is not None:
            lags.append(stamp - true[truth])
    assert all(lag >= 0 for lag in lags)
    assert not lags or min(lags) < SLOWEST_NS


@pytest.mark.parametrize(("dialect", "trap"), CASES)
def test_ttft_and_tpot(met: dict[tuple[str, str], list[Met]], dialect: str, trap: str) -> None:
    off = []
    for seen, true in met[dialect, trap]:
        true_ms = milliseconds(true["received_ns"], true["first_token_ns"])
        assert (seen.ttft_ms is None) == (true_ms is None)
        if true_ms is None or seen.ttft_ms is None:
            continue
        # Never too short; too long by less than what one trap or another hides.
        assert seen.ttft_ms >= true_ms
        span_ms = milliseconds(true["first_token_ns"], true["last_token_ns"])
        if seen.tpot_ms is not None and span_ms is not None:
            true_tpot_ms = span_ms / (true["tokens"] - 1)
            off.append(max(seen.ttft_ms - true_ms, abs(seen.tpot_ms - true_tpot_ms)))
    assert not off or min(off) < SLOWEST_NS / 1e6
