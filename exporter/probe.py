"""The blackbox probe: one small streamed request, timed to its first token.

It takes the way a user's request takes and waits where that would wait: a probe that stands in the
engine's queue gives the honest figure. It asks for few tokens, and its prompt begins with a number
that changes, so that no cache of prompts answers for the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from firsttoken.core.clock import NS_PER_S, NowNs, monotonic_ns
from firsttoken.core.words import ErrorType, Outcome
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, HttpCall, Reader
from firsttoken.wire.events import Event, Failure, Timings, is_token

TIMEOUT_S = 10.0
"""For the whole probe."""

REPLY_BYTES = 262_144
"""Of a reply at most; four tokens take some thousand."""

_TOKENS = 4
"""One alone may be half a character, which an engine keeps back."""

_TURNED_AWAY = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Probed:
    """What became of one probe."""

    outcome: Outcome
    ttft_s: float | None = None
    """First token - request handed to the socket; only of one that succeeded."""
    timings: Timings | None = None
    """Of one that succeeded, where the engine tells."""


def question(
    dialect: str, model: str, number: int, api_key: str | None, extra: Mapping[str, Any]
) -> HttpCall:
    """Return the call of one probe.

    Args:
        dialect: ``openai`` or ``ollama``.
        model: as the engine names it.
        number: another one each time.
        api_key: presented where the engine asks for one.
        extra: fields of the dialect to send too.
    """
    request = ChatRequest(
        model=model,
        messages=[{"role": "user", "content": f"{number}: are you ready?"}],
        stream=True,
        max_tokens=_TOKENS,
        temperature=0.0,
        extra=extra,
    )
    return dialects.get(dialect).build_request(request, api_key)


async def probe(
    http: httpx.AsyncClient,
    dialect: str,
    call: HttpCall,
    *,
    timeout_s: float = TIMEOUT_S,
    now_ns: NowNs = monotonic_ns,
) -> Probed:
    """Make one probe; whatever the engine does, there is an outcome within ``timeout_s``."""
    reader = dialects.get(dialect).reader()
    try:
        async with asyncio.timeout(timeout_s):
            sent_ns = now_ns()
            async with http.stream(
                "POST", call.path, content=call.body, headers=call.headers, timeout=timeout_s
            ) as reply:
                if reply.status_code != httpx.codes.OK:
                    turned_away = reply.status_code in _TURNED_AWAY
                    return Probed(Outcome.REJECTED if turned_away else Outcome.ERROR)
                return await _read(reply.aiter_raw(), reader, sent_ns, now_ns)
    except (TimeoutError, httpx.TimeoutException):
        return Probed(Outcome.TIMEOUT)
    except (OSError, httpx.HTTPError, httpx.StreamError):
        return Probed(Outcome.ERROR)


async def _read(
    chunks: AsyncIterator[bytes], reader: Reader, sent_ns: int, now_ns: NowNs
) -> Probed:
    first_ns: int | None = None
    timings: Timings | None = None
    async for event in _events(chunks, reader, now_ns):
        if isinstance(event, Failure):
            return Probed(Outcome.ERROR)
        if isinstance(event, Timings):
            timings = event
        elif first_ns is None and is_token(event):
            first_ns = event.t_ns
    if first_ns is None:
        return Probed(Outcome.ERROR)
    return Probed(Outcome.SUCCESS, (first_ns - sent_ns) / NS_PER_S, timings)


async def _events(
    chunks: AsyncIterator[bytes], reader: Reader, now_ns: NowNs
) -> AsyncIterator[Event]:
    size = 0
    async for chunk in chunks:
        for event in reader.feed(chunk, now_ns()):
            yield event
        size += len(chunk)
        if size > REPLY_BYTES:
            yield Failure(now_ns(), ErrorType.PROTOCOL, "the reply is too long", None)
            return
    for event in reader.close(now_ns()):
        yield event
