"""One HTTP exchange with a client, on the bare ASGI interface.

Starlette's request and response classes are not used on the hot path: the body is read once under
a limit, bytes are sent as they come, and the connection is watched from the first moment, since a
client that leaves before the first token must free its backend at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from firsttoken.core.words import REQUEST_ID_HEADER, SESSION_ID_HEADER
from router.told import Told

JSON = "application/json"
_JSON = JSON.encode()

REQUEST_ID_CHARS = 128

SMALL_BODY_BYTES = 4096
"""Of what is no chat: a rating, an announcement."""

_SMALL_BODY_SECONDS = 10.0

_READ_AND_DROPPED = 8
"""How many times the limit of a body is read, and dropped, before the connection is closed."""


class BodyError(Exception):
    """The body could not be had; ``status`` says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(Exception):  # noqa: N818 - a client that leaves makes no error
    """The client closed the connection before its request had arrived."""


class Exchange:
    """One request and its reply."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.request_id = sane_request_id(self.header(REQUEST_ID_HEADER.encode()))
        self.session_id = sane_id(self.header(SESSION_ID_HEADER.encode()))
        """The client's name for the conversation, if it has one."""
        self.begun = False
        self.ended = False

    def header(self, name: bytes) -> bytes | None:
        """Return a request header by its lower-case name."""
        for key, value in self._headers:
            if key == name:
                return value
        return None

    def told(self) -> Told:
        """Return what the client says of itself."""
        return Told(
            self.session_id,
            whole_number(self.header(b"x-stainless-retry-count")),
            seconds(self.header(b"x-stainless-read-timeout")),
        )

    def bearer_token(self) -> str:
        """Return the key in ``Authorization: Bearer``, or an empty string."""
        scheme, _, token = (self.header(b"authorization") or b"").decode("latin-1").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def is_json(self) -> bool:
        """Whether the body calls itself JSON. To ask for that keeps web pages out where there is
        no key: a browser asks first whether it may send JSON to another site."""
        return (self.header(b"content-type") or b"").partition(b";")[0].strip().lower() == _JSON

    async def body(self, limit: int, seconds: float) -> bytes:
        """Return the request's body.

        Raises:
            BodyError: it is over ``limit`` bytes, or takes longer than ``seconds``.
            ClientGone: the client left before it was complete.
        """
        parts: list[bytes] = []
        size = 0
        more = True
        try:
            async with asyncio.timeout(seconds):
                # What is over the limit is read and dropped up to a point: a connection closed
                # with unread bytes is reset, and the client would never see the answer.
                while more and size <= limit * _READ_AND_DROPPED:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part: bytes = message.get("body", b"")
                    size += len(part)
                    if size <= limit:
                        parts.append(part)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise BodyError(408, f"the body did not arrive within {seconds:g} s") from None
        if size > limit:
            raise BodyError(413, f"the body is over the allowed {limit} bytes")
        return b"".join(parts)

    async def small_object(self) -> dict[str, Any]:
        """Return the JSON object in the request's body.

        Raises:
            BodyError: it is over :data:`SMALL_BODY_BYTES`, takes too long, or is no such object.
            ClientGone: the client left before it was complete.
        """
        body = await self.body(SMALL_BODY_BYTES, _SMALL_BODY_SECONDS)
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise BodyError(400, "the body is no JSON; expected an object") from None
        if not isinstance(found, dict):
            raise BodyError(400, "the body is no JSON object")
        return found

    async def while_connected(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work``, and cancel it when the client leaves."""
        working = asyncio.ensure_future(work)
        watching = asyncio.ensure_future(self._disconnected())
        try:
            await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            if not working.done():
                working.cancel()
                # Its own end is awaited, so that the backend's connection is closed by now.
                await asyncio.wait((working,))
        if not working.cancelled():
            working.result()

    async def start(
        self, status: int, content_type: str, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send the status line and headers; the request id is always among them."""
        self.begun = True
        raw = [
            (b"content-type", content_type.encode("latin-1")),
            (REQUEST_ID_HEADER.encode(), self.request_id.encode("latin-1")),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, data: bytes) -> None:
        """Send bytes of the reply's body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the reply."""
        await self._last(b"")

    async def reply(
        self,
        status: int,
        content_type: str,
        body: bytes,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Send a whole reply."""
        await self.start(status, content_type, [("content-length", str(len(body))), *headers])
        await self._last(body)

    async def _last(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self.ended = True

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def sane_request_id(sent: bytes | None) -> str:
    """Return the client's request id if it is a sane one, else a new one."""
    return sane_id(sent) or secrets.token_hex(16)


def sane_id(sent: bytes | None) -> str | None:
    """Return an id that a client sent if it is 1-128 printable ASCII characters, else None."""
    if sent is not None and 0 < len(sent) <= REQUEST_ID_CHARS and all(33 <= c <= 126 for c in sent):
        return sent.decode("ascii")
    return None


def whole_number(sent: bytes | None) -> int:
    """Return a small number that a client sent; 0 where it is none."""
    return int(sent) if sent is not None and len(sent) <= 3 and sent.isdigit() else 0


def seconds(sent: bytes | None) -> float | None:
    """Return a time that a client sent, a tenth of a second to a day; None where it is none."""
    try:
        given = float(sent or b"")
    except ValueError:
        return None
    return given if 0.1 <= given <= 86_400.0 else None


class Keys:
    """The keys that clients may present; without any, everybody may enter."""

    def __init__(self, keys: Iterable[str]) -> None:
        self.replace(keys)

    def replace(self, keys: Iterable[str]) -> None:
        """Let in these keys from now on, and no others."""
        self._digests = [_digest(key) for key in keys]

    def tenant(self, token: str) -> str | None:
        """Return who presents ``token``, in time that does not depend on it: the digest of the
        key, an empty string where no key is asked for, None where it is none of the keys."""
        if not self._digests:
            return ""
        presented = _digest(token)
        matches = [hmac.compare_digest(presented, digest) for digest in self._digests]
        return presented.hex() if any(matches) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
