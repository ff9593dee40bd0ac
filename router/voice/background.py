"""Requests of talking devices that nobody waits for, at an engine that people talk to.

The summary of a conversation that has ended is long to read and long to write, and on a small
machine whoever talks meanwhile would feel it. So it is asked for while nobody else is at the
engine, given up there as soon as somebody comes, and begun anew when it is quiet again. Nothing of
it is handed on before it is whole, so that it can be begun anew unseen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from firsttoken.core.clock import milliseconds
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType
from firsttoken.transport.protocol import TransportError
from firsttoken.wire.dialect import ChatRequest
from router.account import AttemptRecord
from router.admission import QueueFullError, Ticket
from router.attempt import Asker, AttemptFailed, Opened
from router.backends.faults import Fault
from router.voice.talk import Talk

PATIENCE_S = 240.0
"""Seconds until it must be whole: xiaozhi-esp32-server waits for 300."""

SETTLE_S = 1.0
"""For how long nobody must have talked before it is begun: in a short pause it would get nowhere,
and the engine would forget prompts that are needed again at once."""

MOST_BEGUN = 20
"""How often it is begun, at most: each time but the last, what was read and written is lost."""

RETRY_AFTER = "30"
"""Seconds, as a client is told that may ask again; its library heeds up to 60."""


async def open_behind(
    asker: Asker,
    backend: Backend,
    request: ChatRequest,
    record: AttemptRecord,
    talk: Talk,
    *,
    patience_s: float = PATIENCE_S,
) -> Opened:
    """Ask ``backend`` behind everybody else; return its whole reply.

    The reply has no first token of its own in the books: nobody waited for it.

    Raises:
        AttemptFailed: the backend failed; or, as ``overloaded`` and no fault of it, people talked
            for ``patience_s`` seconds, people came in whenever it was begun, or too many others
            wait already.
    """
    ticket = None
    try:
        ticket = asker.admissions[backend.name].enter_behind(asker.now_ns())
        async with asyncio.timeout(patience_s):
            opened = await _while_quiet(ticket, _asking(asker, backend, request, record, talk))
    except QueueFullError as error:
        raise AttemptFailed(_overloaded(backend, str(error))) from error
    except TimeoutError:
        message = f"people talked too much to finish within {patience_s:g} s"
        raise AttemptFailed(_overloaded(backend, message)) from None
    except _DisturbedError as error:
        raise AttemptFailed(_overloaded(backend, str(error))) from error
    except TransportError as error:
        message = f"{backend.name}: {error}"
        raise AttemptFailed(Fault(error.error_type, message)) from error
    finally:
        if ticket is not None:
            ticket.leave()
    record.queue_ms = milliseconds(record.started_ns, ticket.granted_ns)
    record.first_token_ns = None
    return opened


class _DisturbedError(Exception):
    """Somebody came in too often."""


async def _while_quiet(ticket: Ticket, ask: Callable[[], Awaitable[Opened]]) -> Opened:
    """Ask whenever it is quiet, until an answer is whole."""
    begun = 0
    while begun < MOST_BEGUN:
        await ticket.granted()
        try:
            async with asyncio.timeout(None) as quiet:
                # A deadline in the past: at once, and without a task of its own.
                ticket.on_disturbed = partial(quiet.reschedule, 0.0)
                try:
                    await asyncio.sleep(SETTLE_S)
                    begun += 1
                    return await ask()
                finally:
                    ticket.on_disturbed = None
        except TimeoutError:
            if not quiet.expired():
                raise
    raise _DisturbedError(f"people came in each of the {begun} times that it was begun")


def _asking(
    asker: Asker, backend: Backend, request: ChatRequest, record: AttemptRecord, talk: Talk
) -> Callable[[], Awaitable[Opened]]:
    async def ask() -> Opened:
        record.headers_ns = record.first_token_ns = None
        return await asker.ask_whole(backend, request, record, talk)

    return ask


def _overloaded(backend: Backend, why: str) -> Fault:
    message = f"{backend.name}: {why}"
    return Fault(ErrorType.OVERLOADED, message, retry_after=RETRY_AFTER, of_our_queue=True)
