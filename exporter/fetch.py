"""Fetching pages from an engine: bounded in time and size, never following where it points."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

PAGE_BYTES = 4_194_304
"""Of one page at most: vLLM's own takes some hundred thousand."""

PAGE_S = 5.0
"""For one page, whole."""

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Fetches a path; returns the status and the body. Raises OSError where there is no answer in time,
or one that is too large."""


def client(base_url: str, api_key: str | None = None) -> httpx.AsyncClient:
    """Return a client of one engine; no proxy or key of the environment is used."""
    headers = {"accept-encoding": "identity"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=PAGE_S,
        # Reading the world's certificates takes longer than a first token.
        verify=base_url.startswith("https:"),
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
    )


def fetch_with(http: httpx.AsyncClient, seconds: float = PAGE_S) -> Fetch:
    """Return what fetches with ``http``."""

    async def fetch(path: str) -> tuple[int, bytes]:
        body = bytearray()
        try:
            # The limits of httpx are for one read each: a body that drips would take for ever.
            async with asyncio.timeout(seconds), http.stream("GET", path) as reply:
                async for chunk in reply.aiter_raw():
                    body += chunk
                    if len(body) > PAGE_BYTES:
                        raise OSError(f"{path}: more than {PAGE_BYTES} bytes")
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{path}: no answer within {seconds:g} s") from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise OSError(f"{path}: {error}") from error
        return reply.status_code, bytes(body)

    return fetch
