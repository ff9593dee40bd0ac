"""Facts of the router that runs: whether it is one, its metrics, and questions through it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import httpx

from exporter.engine_cpu import listener, loopback_port
from exporter.fetch import client, fetch_with
from firsttoken.core.errors import UserError
from firsttoken.core.settings import LOCAL_BACKEND, Backend, Settings
from firsttoken.core.words import SESSION_ID_HEADER, Tier
from firsttoken.trials.doctor import engine as engine_room
from firsttoken.trials.doctor.asking import ask
from firsttoken.trials.doctor.facts import Asked, EngineFacts, RouterFacts
from firsttoken.trials.status import StatusReader
from firsttoken.trials.status_snapshot import Samples, Snapshot
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest

QUESTIONS = 5
"""Through the router, and as many to the engine itself."""

_LEAST_S = 2.0
"""A question with less time than that is not asked: that it was cut would say nothing."""

_GIVE_UP = 2
"""Questions that the local model did not answer, after which no more are asked."""


def address(settings: Settings | None) -> str:
    """Return where the router of these settings answers on this machine."""
    host = settings.server.host if settings is not None else "127.0.0.1"
    port = settings.server.port if settings is not None else 8080
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - not listened on
    return f"http://{host}:{port}"


def pid_of(url: str) -> int | None:
    """Return the process that listens there, where it is of this machine and may be known."""
    port = loopback_port(url)
    return None if port is None else listener(port)


async def look(url: str, timeout_s: float) -> RouterFacts:
    """Ask whether a router of ours answers there, and read its metrics."""
    found = RouterFacts(url)
    try:
        async with client(url) as http:
            status, body = await fetch_with(http, timeout_s)("/metrics")
        samples = Samples(body.decode("utf-8", "replace"))
    except TimeoutError:
        return replace(found, foreign=True, problem=f"{url} gives no answer in {timeout_s:g} s")
    except OSError as error:
        return replace(found, problem=str(error))
    except (ValueError, KeyError):
        status, samples = 0, Samples("")
    if status != httpx.codes.OK or "llm_mode" not in samples:
        return replace(
            found, foreign=True, problem=f"{url} answers, but it is no firsttoken router"
        )
    return replace(found, running=True, before=samples)


def _text() -> str:
    # Another number each time: no cache answers for the model.
    return f"{secrets.randbelow(10**6)}: name a colour"


async def test_question(
    settings: Settings, backend: Backend, engine: EngineFacts, tokens: int, timeout_s: float
) -> Asked:
    """Ask the engine itself once; a model that is not in memory is loaded by it."""
    dialect, call = engine_room.question(settings, backend, engine, _text(), tokens)
    async with client(engine.url, backend.api_key) as http:
        return await ask(http, dialect, call, timeout_s)


async def questions(
    settings: Settings,
    backend: Backend | None,
    engine: EngineFacts | None,
    router: RouterFacts,
    *,
    key: str | None,
    tokens: int,
    seconds: float,
    now_s: Callable[[], float] = time.monotonic,
) -> tuple[tuple[Asked, ...], tuple[Asked, ...]]:
    """Ask the router for its local backend and the engine itself, in turns, one at a time; return
    what became of both. Over within ``seconds``."""
    until_s = now_s() + seconds
    through: list[Asked] = []
    direct: list[Asked] = []
    session = f"doctor-{secrets.token_hex(4)}"
    openai = dialects.get("openai")
    both = engine is not None and engine.answers and backend is not None
    async with client(router.url) as near, client(engine.url if engine else router.url) as far:
        for _ in range(QUESTIONS):
            request = ChatRequest(
                LOCAL_BACKEND,
                [{"role": "user", "content": _text()}],
                stream=True,
                max_tokens=tokens,
            )
            call = openai.build_request(request, key)
            call.headers[SESSION_ID_HEADER] = session
            if (left := until_s - now_s()) < _LEAST_S:
                break
            through.append(await ask(near, "openai", call, left))
            if both and engine is not None and backend is not None and _local(through[-1]):
                if (left := until_s - now_s()) < _LEAST_S:
                    break
                dialect, bare = engine_room.question(settings, backend, engine, _text(), tokens)
                direct.append(await ask(far, dialect, bare, left))
            if sum(not _local(each) for each in through) >= _GIVE_UP:
                break
    return tuple(through), tuple(direct)


def _local(asked: Asked) -> bool:
    return asked.answered and asked.tier == Tier.LOCAL


async def look_again(router: RouterFacts, key: str | None, timeout_s: float) -> RouterFacts:
    """Read its metrics and its last requests once more, after the questions."""
    if not router.running:
        return router
    again = await look(router.url, timeout_s)
    router = replace(router, after=again.before, problem=again.problem)
    try:
        async with asyncio.timeout(timeout_s):
            snapshot = await asyncio.to_thread(_snapshot, router.url, key)
    except UserError as error:
        return replace(router, problem=str(error))
    except TimeoutError:
        return replace(router, problem=f"no answer within {timeout_s:g} s")
    return replace(router, snapshot=snapshot)


def _snapshot(url: str, key: str | None) -> Snapshot:
    with StatusReader(url, key) as reader:
        return reader.read()
