"""Asking one short question, timed as a user would feel it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx

from exporter.probe import REPLY_BYTES
from firsttoken.core.clock import NS_PER_MS, NowNs, monotonic_ns
from firsttoken.core.words import ATTEMPTS_HEADER, BACKEND_HEADER, TIER_HEADER
from firsttoken.trials.doctor.facts import Asked
from firsttoken.wire import dialects
from firsttoken.wire.dialect import HttpCall, Reader
from firsttoken.wire.events import End, Failure, is_token

_ERROR_BYTES = 65_536
_SAID_CHARACTERS = 4_000
"""Of an error that a server tells; it is cut to a readable length once no key is in it."""


async def ask(
    http: httpx.AsyncClient,
    dialect: str,
    call: HttpCall,
    timeout_s: float,
    *,
    now_ns: NowNs = monotonic_ns,
) -> Asked:
    """Make one call; whatever the server does, it is over within ``timeout_s``."""
    speaker = dialects.get(dialect)
    try:
        async with asyncio.timeout(timeout_s):
            sent_ns = now_ns()
            async with http.stream(
                "POST", call.path, content=call.body, headers=call.headers, timeout=timeout_s
            ) as reply:
                told = reply.headers
                attempts = told.get(ATTEMPTS_HEADER, "")
                found = Asked(
                    tier=told.get(TIER_HEADER, ""),
                    backend=told.get(BACKEND_HEADER, ""),
                    attempts=int(attempts) if attempts.isdecimal() else 0,
                )
                if reply.status_code != httpx.codes.OK:
                    body = bytearray()
                    async for chunk in reply.aiter_raw():
                        body += chunk[: _ERROR_BYTES - len(body)]
                    said = speaker.read_error(bytes(body)) or "no reason given"
                    return _with(
                        found, problem=f"HTTP {reply.status_code}: {said[:_SAID_CHARACTERS]}"
                    )
                return await _read(reply.aiter_raw(), speaker.reader(), found, sent_ns, now_ns)
    except (TimeoutError, httpx.TimeoutException):
        return Asked(problem=f"no whole answer within {timeout_s:.3g} s")
    except (OSError, httpx.HTTPError, httpx.StreamError) as error:
        return Asked(problem=str(error) or type(error).__name__)


def _with(
    asked: Asked, *, first_ms: float | None = None, total_ms: float | None = None, problem: str = ""
) -> Asked:
    return Asked(first_ms, total_ms, asked.tier, asked.backend, asked.attempts, problem)


async def _read(
    chunks: AsyncIterator[bytes], reader: Reader, found: Asked, sent_ns: int, now_ns: NowNs
) -> Asked:
    first_ms: float | None = None
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        for event in reader.feed(chunk, now_ns()):
            if first_ms is None and is_token(event):
                first_ms = (event.t_ns - sent_ns) / NS_PER_MS
            if isinstance(event, Failure):
                return _with(found, first_ms=first_ms, problem=event.message[:_SAID_CHARACTERS])
            if isinstance(event, End):
                return _ended(found, first_ms, (event.t_ns - sent_ns) / NS_PER_MS)
        if size > REPLY_BYTES:
            return _with(found, first_ms=first_ms, problem="the reply is too long")
    now = now_ns()
    ended = any(isinstance(event, End) for event in reader.close(now))
    if ended:
        return _ended(found, first_ms, (now - sent_ns) / NS_PER_MS)
    return _with(found, first_ms=first_ms, problem="the reply broke off")


def _ended(found: Asked, first_ms: float | None, total_ms: float) -> Asked:
    if first_ms is None:
        return _with(found, total_ms=total_ms, problem="the reply held no token")
    return _with(found, first_ms=first_ms, total_ms=total_ms)
