"""Facts of the remote backends: name, connection, TLS, key. Nothing is asked that costs money."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from exporter.fetch import client, fetch_with
from firsttoken.core.settings import Backend, Settings
from firsttoken.core.words import Tier
from firsttoken.trials.doctor.facts import RemoteFacts

_PATHS = {"openai": "/v1/models", "ollama": "/api/tags"}
"""By dialect: what a server lists its models at. DashScope's own has none: its root is asked."""


def known(settings: Settings) -> tuple[RemoteFacts, ...]:
    """Return the remote backends as the settings have them, nobody asked."""
    keys = {key: value for key, value, source in settings.rows() if source == "secret"}
    order = {each.name: n for n, each in enumerate(settings.llm_routing.remote_models)}
    return tuple(
        RemoteFacts(
            backend.name,
            urlsplit(backend.base_url).hostname or "",
            backend.enabled,
            backend.disabled_reason,
            str(keys.get(f"llm_routing.remote_models[{order[backend.name]}].api_key", "")),
        )
        for backend in settings.backends()
        if backend.tier is Tier.REMOTE
    )


async def look(settings: Settings, timeout_s: float) -> tuple[RemoteFacts, ...]:
    """Ask every remote backend, at once; each is over within ``timeout_s``."""
    backends = {each.name: each for each in settings.backends()}
    asked = (_look(found, backends[found.name], timeout_s) for found in known(settings))
    return tuple(await asyncio.gather(*asked))


async def _look(found: RemoteFacts, backend: Backend, timeout_s: float) -> RemoteFacts:
    try:
        async with asyncio.timeout(timeout_s):
            found = await _reach(found, backend)
            if found.reached != "tls":
                return found
            path = _PATHS.get(backend.dialect or "openai", "/")
            # The name's last look-up is used again, so what is left to go wrong is the request.
            async with client(backend.base_url, backend.api_key) as http:
                status, _ = await fetch_with(http, timeout_s)(path)
            return replace(found, reached="http", status=status)
    except TimeoutError:
        return replace(found, problem=f"no answer within {timeout_s:g} s")
    except OSError as error:
        return replace(found, problem=_said(error))


async def _reach(found: RemoteFacts, backend: Backend) -> RemoteFacts:
    parts = urlsplit(backend.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = await _resolved(found.host, port)
    except socket.gaierror as error:
        return replace(found, problem=_said(error))
    found = replace(found, reached="dns")
    context = ssl.create_default_context() if parts.scheme == "https" else None
    # localhost is often two addresses, of which a server listens on one.
    for address in addresses:
        try:
            _, writer = await asyncio.open_connection(
                address, port, ssl=context, server_hostname=found.host if context else None
            )
        except ssl.SSLError as error:
            found = replace(found, reached="tcp", problem=_said(error))
        except OSError as error:
            found = replace(found, problem=_said(error))
        else:
            writer.close()
            return replace(found, reached="tls", problem="")
    return found


async def _resolved(host: str, port: int) -> list[str]:
    """Return the addresses of a name.

    In a thread of its own that nobody waits for at the end: a resolver may take half a minute.

    Raises:
        socket.gaierror: there is no such name.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str] | socket.gaierror) -> None:
        if told.done():
            return
        if isinstance(found, list):
            told.set_result(found)
        else:
            told.set_exception(found)

    def look_up() -> None:
        found: list[str] | socket.gaierror
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [str(row[4][0]) for row in rows]
        except socket.gaierror as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=look_up, name=f"resolve-{host}", daemon=True).start()
    return await told


def _said(error: OSError) -> str:
    text = error.strerror or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
