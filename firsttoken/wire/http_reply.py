"""One HTTP/1.1 reply, read incrementally: sans-I/O, around the parser of ``httptools``."""

from __future__ import annotations

import httptools

MAX_HEADER_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
_MAX_HEADERS = 256


class ReplyError(Exception):
    """The bytes are no HTTP reply, or one beyond the limits."""


class HttpReply:
    """Feed it the bytes of a connection; read what has arrived from its attributes.

    Interim replies (1xx) are passed over. ``complete`` says that the body ended as its framing
    prescribes; a body without framing (neither length nor chunks) never is, it ends where the
    connection does: see ``until_close``.
    """

    def __init__(self) -> None:
        self.status: int | None = None
        """The status, once all headers have arrived."""
        self.headers: dict[str, str] = {}
        """Header names in lower case; the last of equal ones counts."""
        self.complete = False
        self.reusable = False
        """Whether the connection may carry another request: valid once ``complete``."""
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._header_bytes = 0
        self._body_bytes = 0

    @property
    def until_close(self) -> bool:
        """Whether only the end of the connection ends the body."""
        return (
            self.status is not None
            and "content-length" not in self.headers
            and "chunked" not in self.headers.get("transfer-encoding", "").lower()
        )

    def feed(self, data: bytes) -> bytes:
        """Take the bytes of one socket read; return the piece of the body they held.

        Raises:
            ReplyError: they are not HTTP, or header or body are over the limits.
        """
        if self.status is None:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ReplyError(f"the reply is not HTTP/1.1: {error}") from error
        if self.status is None and self._header_bytes > MAX_HEADER_BYTES:
            raise ReplyError(f"the reply's headers are longer than {MAX_HEADER_BYTES} bytes")
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._body_bytes += len(piece)
        if self._body_bytes > MAX_BODY_BYTES:
            raise ReplyError(f"the reply is longer than {MAX_BODY_BYTES} bytes")
        return piece

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Note a second reply after the first: nobody asked for it, so the connection is spent."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header; trailers are passed over."""
        if self.status is None and len(self.headers) < _MAX_HEADERS:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note the status, unless this is an interim reply."""
        status = self._parser.get_status_code()
        if self.status is None and status >= 200:
            self.status = status

    def on_body(self, data: bytes) -> None:
        """Keep one piece of the body, unless it belongs to a second reply."""
        if not self.complete:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Note the end of the reply, or forget an interim one."""
        if self.status is None:
            self.headers.clear()
        elif not self.complete:
            self.complete = True
            self.reusable = bool(self._parser.should_keep_alive())
