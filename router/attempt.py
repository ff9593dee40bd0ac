"""One try at one backend: it is asked in its own dialect and read until its first token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from firsttoken.core.clock import NowNs
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType
from firsttoken.transport.protocol import Reply, Transport, TransportError
from firsttoken.wire import faults
from firsttoken.wire.dialect import ChatRequest, Dialect, Reader, RequestError
from firsttoken.wire.events import End, Event, Failure, is_token
from router.account import Account, AttemptRecord
from router.admission import Admission, QueueFullError, Ticket
from router.backends.faults import Fault
from router.backends.requests import ReplyOptions, build_call, for_backend, with_probabilities

HELD_BYTES = 262_144
"""Bytes held back at most before the commit."""

WHOLE_REPLY_BYTES = 16_777_216
"""Size at most of a reply that is not streamed."""

ERROR_BODY_BYTES = 65_536
"""Bytes read at most of an error reply."""


class AttemptFailed(Exception):  # noqa: N818 - an attempt that failed is expected, not an error
    """An attempt ended before its first token."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@dataclass(slots=True)
class Opened:
    """An attempt that has reached its first token: its reply, and what was read of it so far."""

    backend: Backend
    dialect: Dialect
    record: AttemptRecord
    reply: Reply
    reader: Reader
    ticket: Ticket | None = None
    probabilities: bool = False
    """Whether the router, for itself, had asked for the probabilities of the tokens."""
    held: bytearray = field(default_factory=bytearray)
    """The bytes read so far; the whole reply if it is not streamed."""
    events: list[Event] = field(default_factory=list)
    """What they say."""
    ended: bool = False

    def close(self) -> None:
        """Give up the reply, at once if it has not ended, and the slot."""
        self.reply.close()
        if self.ticket is not None:
            self.ticket.leave()


@dataclass(frozen=True, slots=True)
class Asker:
    """Makes attempts."""

    transport: Transport
    dialects: Mapping[str, Dialect]
    """In which each backend is asked, by its name."""
    options: Mapping[str, ReplyOptions]
    admissions: Mapping[str, Admission]
    """The queues of the backends that have one."""
    now_ns: NowNs
    mute: set[str] = field(default_factory=set)
    """Backends that cannot give probabilities."""

    async def open(
        self,
        backend: Backend,
        request: ChatRequest,
        record: AttemptRecord,
        account: Account | None = None,
        *,
        probabilities: bool = False,
        timeout_s: float | None = None,
    ) -> Opened:
        """Ask ``backend``; return when its first token was read, or the proper end of a reply
        that has none. Within the deadline are the wait for a slot, the connection and the rest.

        Without an account it is the router itself that asks, past the queue. ``timeout_s`` takes
        the place of the backend's own deadline.

        Raises:
            AttemptFailed: it gave none.
        """
        deadline_s = backend.first_token_timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(deadline_s):
                return await self._open(backend, request, record, account, probabilities)
        except TimeoutError:
            late = ErrorType.FIRST_TOKEN_TIMEOUT if request.stream else ErrorType.TOTAL_TIMEOUT
            message = f"{backend.name}: no first token within {deadline_s:g} s"
            if not request.stream:
                message = (
                    f"{backend.name}: no whole reply within {deadline_s:g} s, the backend's "
                    "timeout; ask for a stream, for fewer tokens, or raise it"
                )
            raise AttemptFailed(Fault(late, message)) from None
        except TransportError as error:
            message = f"{backend.name}: {error}"
            raise AttemptFailed(Fault(error.error_type, message)) from error

    async def read_on(self, opened: Opened, tokens: int, seconds: float) -> None:
        """Hold back more of a reply: up to ``tokens`` tokens, as long as ``seconds`` allow.

        Raises:
            AttemptFailed: the reply broke off meanwhile.
        """
        seen = sum(map(is_token, opened.events))
        try:
            async with asyncio.timeout(seconds):
                while seen < tokens and not opened.ended:
                    seen += sum(map(is_token, await self._read_more(opened)))
        except TimeoutError:
            return
        except TransportError as error:
            message = f"{opened.backend.name}: {error}"
            raise AttemptFailed(Fault(error.error_type, message)) from error

    async def _open(
        self,
        backend: Backend,
        request: ChatRequest,
        record: AttemptRecord,
        account: Account | None,
        probabilities: bool,
    ) -> Opened:
        admission = self.admissions.get(backend.name) if account is not None else None
        try:
            ticket = admission.enter(self.now_ns()) if admission else None
        except QueueFullError as error:
            message = f"{backend.name}: {error}"
            fault = Fault(ErrorType.OVERLOADED, message, retry_after="1", of_our_queue=True)
            raise AttemptFailed(fault) from error
        try:
            if ticket is not None:
                await ticket.granted()
                if account is not None:
                    account.queued(record, self.now_ns())
            try:
                opened = await self._ask(backend, request, record, probabilities)
            except AttemptFailed as failure:
                if not (probabilities and failure.fault.is_final):
                    raise
                # Probably it was what the router had added that was refused.
                opened = await self._ask(backend, request, record, probabilities=False)
                self.mute.add(backend.name)
            opened.ticket = ticket
        except BaseException:
            # Cancellation included: no slot outlives its attempt.
            if ticket is not None:
                ticket.leave()
            raise
        return opened

    async def _ask(
        self, backend: Backend, request: ChatRequest, record: AttemptRecord, probabilities: bool
    ) -> Opened:
        dialect = self.dialects[backend.name]
        options = self.options.get(backend.name, ReplyOptions())
        adapted = for_backend(request, backend, options, dialect)
        if probabilities:
            adapted = with_probabilities(adapted)
        try:
            url, call = build_call(dialect, adapted, backend, record.request_id)
        except RequestError as error:
            message = f"{backend.name}: {error}"
            raise AttemptFailed(Fault(ErrorType.HTTP_4XX, message)) from error
        reply = await self.transport.post(url, call.headers, call.body)
        try:
            record.headers_ns = self.now_ns()
            opened = Opened(backend, dialect, record, reply, dialect.reader())
            opened.probabilities = probabilities
            await _expect_answer(opened)
            if request.stream:
                await self._until_token(opened)
            else:
                await self._whole(opened)
        except BaseException:
            # Cancellation included: no connection outlives its attempt.
            reply.close()
            raise
        return opened

    async def _until_token(self, opened: Opened) -> None:
        """Read until the first token, or the proper end of a reply that has none."""
        while not opened.ended:
            if any(map(is_token, await self._read_more(opened))):
                return

    async def _read_more(self, opened: Opened) -> list[Event]:
        """Read once; return what it said.

        Raises:
            AttemptFailed: it said that the reply has failed, or there is too much without a token.
            TransportError: the connection ended.
        """
        chunk = await opened.reply.read()
        t_ns = self.now_ns()
        opened.held += chunk
        events = opened.reader.feed(chunk, t_ns) if chunk else opened.reader.close(t_ns)
        opened.events += events
        for event in events:
            if isinstance(event, Failure):
                raise AttemptFailed(_fault(opened.backend, event))
            if opened.record.first_token_ns is None and is_token(event):
                opened.record.first_token_ns = t_ns
            opened.ended = opened.ended or isinstance(event, End)
        if len(opened.held) > HELD_BYTES and opened.record.first_token_ns is None:
            message = f"{opened.backend.name}: the stream has no token in {len(opened.held)} bytes"
            raise AttemptFailed(Fault(ErrorType.PROTOCOL, message))
        return events

    async def _whole(self, opened: Opened) -> None:
        """Read a reply that is not streamed to its end."""
        body = await read_body(opened.reply, WHOLE_REPLY_BYTES)
        if len(body) > WHOLE_REPLY_BYTES:
            message = f"{opened.backend.name}: the reply is over {WHOLE_REPLY_BYTES} bytes"
            raise AttemptFailed(Fault(ErrorType.PROTOCOL, message))
        opened.events = opened.dialect.read_reply(bytes(body), self.now_ns())
        for event in opened.events:
            if isinstance(event, Failure):
                raise AttemptFailed(_fault(opened.backend, event))
        opened.held, opened.ended = body, True


async def _expect_answer(opened: Opened) -> None:
    reply, name = opened.reply, opened.backend.name
    if reply.status == 200:
        return
    body = bytes(await read_body(reply, ERROR_BODY_BYTES))
    message = f"{name}: HTTP {reply.status}: {opened.dialect.read_error(body)}"
    error_type = faults.error_type(reply.status, body)
    raise AttemptFailed(Fault(error_type, message, reply.status, reply.header("retry-after")))


def _fault(backend: Backend, failure: Failure) -> Fault:
    return Fault(failure.error_type, f"{backend.name}: {failure.message}", failure.status)


async def read_body(reply: Reply, limit: int) -> bytearray:
    """Read to the end, or until more than ``limit`` bytes have come."""
    body = bytearray()
    while len(body) <= limit and (chunk := await reply.read()):
        body += chunk
    return body
