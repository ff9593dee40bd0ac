"""One try at one backend: it is asked in its own dialect and read until its first token."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from firsttoken.core.clock import NowNs
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import CallClass, ErrorType
from firsttoken.transport.protocol import Reply, Transport, TransportError
from firsttoken.wire import faults
from firsttoken.wire.dialect import ChatRequest, Dialect, Reader, RequestError
from firsttoken.wire.events import End, Event, Failure, is_token
from firsttoken.wire.heard import Heard
from firsttoken.wire.speech.chain import Chain
from router.account import Account, AttemptRecord
from router.admission import Admission, QueueFullError, Ticket
from router.backends.faults import Fault
from router.backends.requests import ReplyOptions, build_call, for_backend, with_probabilities
from router.voice.foresight import Serve
from router.voice.talk import Talk

HELD_BYTES = 262_144
"""Bytes held back at most before the commit."""

WHOLE_REPLY_BYTES = 16_777_216
"""Size at most of a reply that is not streamed, and of what is read before the commit of one that
is mended: a model may think at length, and nothing of that is kept."""

HURRIED_SHARE = 0.4
"""Of a backend's own timeout: who had less time than that has shown nothing by its silence."""

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
    """The bytes read so far; the whole reply if it is not streamed. A mended stream keeps none:
    nobody is handed them."""
    size: int = 0
    """Bytes of the stream read so far."""
    events: list[Event] = field(default_factory=list)
    """What they say."""
    ended: bool = False
    chain: Chain | None = None
    """What mends the reply to a talking device; :attr:`events` have gone through it."""
    heard: Heard | None = None
    """What such a device hears of them."""
    place: Serve | None = None
    """Where a local engine has its prompt."""

    def close(self) -> None:
        """Give up the reply, at once if it has not ended, and the slot."""
        self.reply.close()
        if self.place is not None:
            self.place.close()
        if self.ticket is not None:
            self.ticket.leave()


def _nowhere(backend: Backend, request: ChatRequest) -> None:  # noqa: ARG001
    return None


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
    place: Callable[[Backend, ChatRequest], tuple[ChatRequest, Serve] | None] = _nowhere
    """Finds a place for a talking device's prompt at a local engine, and returns the request as it
    is sent there; raises AttemptFailed where it does not fit."""

    async def open(
        self,
        backend: Backend,
        request: ChatRequest,
        record: AttemptRecord,
        account: Account | None = None,
        *,
        probabilities: bool = False,
        timeout_s: float | None = None,
        talk: Talk | None = None,
    ) -> Opened:
        """Ask ``backend``; return when its first token was read, or the proper end of a reply
        that has none. Within the deadline are the wait for a slot, the connection and the rest.

        Without an account it is the router itself that asks, past the queue. ``timeout_s`` takes
        the place of the backend's own deadline. For a talking device the request is prepared and
        the reply mended. It is read until something can be spoken or a tool is called: an emoji
        alone commits nobody, and a reply that has no more to say has failed.

        Raises:
            AttemptFailed: it gave none.
        """
        deadline_s = backend.first_token_timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(deadline_s):
                return await self._open(
                    backend, request, record, account, probabilities=probabilities, talk=talk
                )
        except TimeoutError:
            late = ErrorType.FIRST_TOKEN_TIMEOUT if request.stream else ErrorType.TOTAL_TIMEOUT
            message = f"{backend.name}: no first token within {deadline_s:g} s"
            if not request.stream:
                message = (
                    f"{backend.name}: no whole reply within {deadline_s:g} s, the backend's "
                    "timeout; ask for a stream, for fewer tokens, or raise it"
                )
            least_s = HURRIED_SHARE * backend.first_token_timeout_s
            hurried = talk is not None and deadline_s < least_s
            raise AttemptFailed(Fault(late, message, hurried=hurried)) from None
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

    async def ask_whole(
        self, backend: Backend, request: ChatRequest, record: AttemptRecord, talk: Talk
    ) -> Opened:
        """Ask ``backend`` past its queue and without a deadline; return when the whole reply was
        read.

        Raises:
            AttemptFailed: it gave none.
            TransportError: the connection ended.
        """
        opened = await self._ask(backend, request, record, probabilities=False, talk=talk)
        try:
            await self._until_end(opened)
        except BaseException:
            opened.close()
            raise
        return opened

    async def _open(
        self,
        backend: Backend,
        request: ChatRequest,
        record: AttemptRecord,
        account: Account | None,
        *,
        probabilities: bool,
        talk: Talk | None,
    ) -> Opened:
        admission = self.admissions.get(backend.name) if account is not None else None
        try:
            call = CallClass.OTHER if talk is None else talk.call
            ticket = admission.enter(self.now_ns(), call) if admission else None
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
                opened = await self._ask(
                    backend, request, record, probabilities=probabilities, talk=talk
                )
            except AttemptFailed as failure:
                if not (probabilities and failure.fault.is_final):
                    raise
                # Probably it was what the router had added that was refused.
                opened = await self._ask(backend, request, record, probabilities=False, talk=talk)
                self.mute.add(backend.name)
            opened.ticket = ticket
        except BaseException:
            # Cancellation included: no slot outlives its attempt.
            if ticket is not None:
                ticket.leave()
            raise
        return opened

    async def _ask(
        self,
        backend: Backend,
        request: ChatRequest,
        record: AttemptRecord,
        *,
        probabilities: bool,
        talk: Talk | None,
    ) -> Opened:
        dialect = self.dialects[backend.name]
        options = self.options.get(backend.name, ReplyOptions())
        wanted = request if talk is None else talk.prepared(request, backend, dialect.name)
        adapted = for_backend(wanted, backend, options, dialect)
        if probabilities:
            adapted = with_probabilities(adapted)
        placed = None if talk is None else self.place(backend, adapted)
        adapted, place = (adapted, None) if placed is None else placed
        try:
            opened = await self._send(backend, request, adapted, record, talk)
        except BaseException:
            if place is not None:
                place.close()
            raise
        opened.probabilities, opened.place = probabilities, place
        if place is not None:
            place.was_read()
        return opened

    async def _send(
        self,
        backend: Backend,
        request: ChatRequest,
        adapted: ChatRequest,
        record: AttemptRecord,
        talk: Talk | None,
    ) -> Opened:
        """Send ``adapted``, which is what ``backend`` is asked for the client's ``request``."""
        dialect = self.dialects[backend.name]
        try:
            url, call = build_call(dialect, adapted, backend, record.request_id)
        except RequestError as error:
            message = f"{backend.name}: {error}"
            raise AttemptFailed(Fault(ErrorType.HTTP_4XX, message)) from error
        reply = await self.transport.post(url, call.headers, call.body)
        try:
            record.headers_ns = self.now_ns()
            opened = Opened(backend, dialect, record, reply, dialect.reader())
            if talk is not None:
                opened.chain, opened.heard = talk.chain(request, backend), Heard()
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
            if _has_begun(opened, await self._read_more(opened)):
                return
        if opened.heard is not None:
            raise AttemptFailed(_nothing_to_say(opened.backend))

    async def _until_end(self, opened: Opened) -> None:
        """Read a streamed reply to its end."""
        while not opened.ended:
            await self._read_more(opened)

    async def _read_more(self, opened: Opened) -> list[Event]:
        """Read once; return what it said.

        Raises:
            AttemptFailed: it said that the reply has failed, or there is too much of it.
            TransportError: the connection ended.
        """
        chunk = await opened.reply.read()
        t_ns = self.now_ns()
        opened.size += len(chunk)
        if opened.chain is None:
            opened.held += chunk
        events = opened.reader.feed(chunk, t_ns) if chunk else opened.reader.close(t_ns)
        if opened.chain is not None:
            events = opened.chain.feed(events)
        if opened.heard is not None:
            opened.heard.note(events, t_ns)
        opened.events += events
        for event in events:
            if isinstance(event, Failure):
                raise AttemptFailed(_fault(opened.backend, event))
            if opened.record.first_token_ns is None and is_token(event):
                opened.record.first_token_ns = t_ns
            opened.ended = opened.ended or isinstance(event, End)
        _check_size(opened)
        return events

    async def _whole(self, opened: Opened) -> None:
        """Read a reply that is not streamed to its end."""
        body = await read_body(opened.reply, WHOLE_REPLY_BYTES)
        if len(body) > WHOLE_REPLY_BYTES:
            raise AttemptFailed(_too_long(opened.backend))
        opened.events = opened.dialect.read_reply(bytes(body), self.now_ns())
        for event in opened.events:
            if isinstance(event, Failure):
                raise AttemptFailed(_fault(opened.backend, event))
        if opened.chain is not None:
            opened.events = opened.chain.feed(opened.events)
        if opened.heard is not None:
            opened.heard.note(opened.events, self.now_ns())
            if not _has_begun(opened, opened.events):
                raise AttemptFailed(_nothing_to_say(opened.backend))
        opened.held, opened.ended = body, True


async def _expect_answer(opened: Opened) -> None:
    reply, name = opened.reply, opened.backend.name
    if reply.status == 200:
        return
    body = bytes(await read_body(reply, ERROR_BODY_BYTES))
    message = f"{name}: HTTP {reply.status}: {opened.dialect.read_error(body)}"
    error_type = faults.error_type(reply.status, body)
    raise AttemptFailed(Fault(error_type, message, reply.status, reply.header("retry-after")))


def _has_begun(opened: Opened, events: list[Event]) -> bool:
    """Whether what was read so far, lastly ``events``, commits the request to this reply."""
    heard = opened.heard
    if heard is None:
        return any(map(is_token, events))
    return heard.called_tool or heard.first_speakable_ns is not None


def _check_size(opened: Opened) -> None:
    """Raise AttemptFailed where too much was read of a stream that is held back."""
    if opened.chain is not None:
        if opened.size > WHOLE_REPLY_BYTES:
            raise AttemptFailed(_too_long(opened.backend))
    elif opened.size > HELD_BYTES and opened.record.first_token_ns is None:
        message = f"{opened.backend.name}: the stream has no token in {opened.size} bytes"
        raise AttemptFailed(Fault(ErrorType.PROTOCOL, message))


def _too_long(backend: Backend) -> Fault:
    message = f"{backend.name}: the reply is over {WHOLE_REPLY_BYTES} bytes"
    return Fault(ErrorType.PROTOCOL, message)


def _fault(backend: Backend, failure: Failure) -> Fault:
    return Fault(failure.error_type, f"{backend.name}: {failure.message}", failure.status)


def _nothing_to_say(backend: Backend) -> Fault:
    message = f"{backend.name}: the reply has nothing to be spoken"
    return Fault(ErrorType.PROTOCOL, message, unspeakable=True)


async def read_body(reply: Reply, limit: int) -> bytearray:
    """Read to the end, or until more than ``limit`` bytes have come."""
    body = bytearray()
    while len(body) <= limit and (chunk := await reply.read()):
        body += chunk
    return body
