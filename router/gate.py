"""The commit gate: the only place where a request may move from one backend to another.

An attempt is tried, its bytes are read and held back until its first token, and only then is the
request committed to it. Whatever goes wrong before that is invisible to the client: the next
attempt of the plan begins at once. The deadline runs from the start of an attempt to its first
token; headers, role-only frames, pings and comments do not extend it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from firsttoken.core.clock import NowNs
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType, Reason
from firsttoken.wire import faults
from firsttoken.wire.dialect import ChatRequest, Dialect, RequestError
from firsttoken.wire.events import End, Event, Failure, is_token
from router.account import Account, AttemptRecord
from router.backends.faults import Fault
from router.backends.requests import ReplyOptions, build_call, for_backend
from router.backends.transport import Reply, Transport, TransportError
from router.health.monitor import Monitor
from router.policy.plan import Plan, reason_after

HELD_BYTES = 262_144
"""Bytes held back at most before the first token."""

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
    """An attempt to which the request is committed: its reply, and what was read of it so far."""

    backend: Backend
    reason: Reason
    record: AttemptRecord
    reply: Reply
    held: bytes
    """Bytes of the reply read so far, the first token among them; all of them if not streamed."""
    events: Sequence[Event] = field(default=())
    """Of a reply that is not streamed: everything it says."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Makes the attempts of a plan."""

    transport: Transport
    dialect: Dialect
    """In which the backends are asked."""
    options: Mapping[str, ReplyOptions]
    monitor: Monitor
    now_ns: NowNs

    async def commit(self, plan: Plan, request: ChatRequest, account: Account) -> Opened | Fault:
        """Try the attempts of ``plan`` in order; return the first that reaches a token.

        Returns the fault of the last attempt where none does, or of the first that makes another
        one pointless. The caller closes the reply.
        """
        before: tuple[Backend, Fault] | None = None
        for planned in plan.attempts:
            backend, reason = planned.backend, planned.reason
            if before is not None:
                failed, fault = before
                reason = reason_after(planned, failed, fault.error_type)
                account.fell_back(failed, backend, fault.error_type)
            record = account.start(backend)
            try:
                opened = await self._attempt(backend, reason, request, record)
            except AttemptFailed as failure:
                before = (backend, failure.fault)
                account.failed(record, failure.fault)
                self.monitor.failed(backend.name, failure.fault.error_type)
                if failure.fault.is_final:
                    break
                continue
            account.committed(record, backend, reason)
            return opened
        return before[1] if before else Fault(ErrorType.OVERLOADED, "no backend is available")

    async def probe(self, backend: Backend, timeout_s: float) -> bool:
        """Ask a backend for one token, apart from all accounts; say whether it came in time."""
        request = ChatRequest(
            model=backend.model,
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            max_tokens=1,
        )
        record = AttemptRecord("probe", backend.name, backend.model, self.now_ns())
        try:
            async with asyncio.timeout(timeout_s):
                opened = await self._open(backend, Reason.FAILOVER, request, record)
        except (AttemptFailed, TransportError, TimeoutError):
            return False
        opened.reply.close()
        return True

    async def _attempt(
        self, backend: Backend, reason: Reason, request: ChatRequest, record: AttemptRecord
    ) -> Opened:
        """Make one attempt within its deadline; raises :class:`AttemptFailed`."""
        try:
            async with asyncio.timeout(backend.first_token_timeout_s):
                return await self._open(backend, reason, request, record)
        except TimeoutError:
            late = ErrorType.FIRST_TOKEN_TIMEOUT if request.stream else ErrorType.TOTAL_TIMEOUT
            what = "no first token" if request.stream else "no whole reply"
            message = f"{backend.name}: {what} within {backend.first_token_timeout_s:g} s"
            raise AttemptFailed(Fault(late, message)) from None
        except TransportError as error:
            message = f"{backend.name}: {error}"
            raise AttemptFailed(Fault(error.error_type, message)) from error

    async def _open(
        self, backend: Backend, reason: Reason, request: ChatRequest, record: AttemptRecord
    ) -> Opened:
        adapted = for_backend(request, backend, self.options.get(backend.name, ReplyOptions()))
        try:
            url, call = build_call(self.dialect, adapted, backend, record.request_id)
        except RequestError as error:
            message = f"{backend.name}: {error}"
            raise AttemptFailed(Fault(ErrorType.HTTP_4XX, message)) from error
        reply = await self.transport.post(url, call.headers, call.body)
        try:
            record.headers_ns = self.now_ns()
            await self._expect_answer(backend, reply)
            opened = Opened(backend, reason, record, reply, b"")
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
        reader = self.dialect.reader()
        held = bytearray()
        while True:
            chunk = await opened.reply.read()
            t_ns = self.now_ns()
            held += chunk
            for event in reader.feed(chunk, t_ns) if chunk else reader.close(t_ns):
                if isinstance(event, Failure):
                    raise AttemptFailed(_fault(opened.backend, event))
                token = is_token(event)
                if token or isinstance(event, End):
                    opened.record.first_token_ns = t_ns if token else None
                    opened.held = bytes(held)
                    return
            if not chunk or len(held) > HELD_BYTES:
                message = f"{opened.backend.name}: the stream has no token in {len(held)} bytes"
                raise AttemptFailed(Fault(ErrorType.PROTOCOL, message))

    async def _whole(self, opened: Opened) -> None:
        """Read a reply that is not streamed to its end."""
        body = await _read(opened.reply, WHOLE_REPLY_BYTES)
        if len(body) > WHOLE_REPLY_BYTES:
            message = f"{opened.backend.name}: the reply is over {WHOLE_REPLY_BYTES} bytes"
            raise AttemptFailed(Fault(ErrorType.PROTOCOL, message))
        events = self.dialect.read_reply(body, self.now_ns())
        for event in events:
            if isinstance(event, Failure):
                raise AttemptFailed(_fault(opened.backend, event))
        opened.held, opened.events = body, events

    async def _expect_answer(self, backend: Backend, reply: Reply) -> None:
        if reply.status == 200:
            return
        body = await _read(reply, ERROR_BODY_BYTES)
        told = self.dialect.read_error(body)
        message = f"{backend.name}: HTTP {reply.status}: {told}"
        error_type = faults.error_type(reply.status, body)
        fault = Fault(error_type, message, reply.status, reply.header("retry-after"))
        raise AttemptFailed(fault)


def _fault(backend: Backend, failure: Failure) -> Fault:
    message = f"{backend.name}: {failure.message}"
    return Fault(failure.error_type, message, failure.status)


async def _read(reply: Reply, limit: int) -> bytes:
    """Read to the end, or until more than ``limit`` bytes have come."""
    body = bytearray()
    while len(body) <= limit and (chunk := await reply.read()):
        body += chunk
    return bytes(body)
