"""Where requests go: a base URL, resolved once, with its TLS context built once."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from firsttoken.core.errors import UserError

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, ready to be connected to; made by :meth:`resolve` before the ramp.

    A TLS context costs about 50 ms of processor time to build, and a name look-up may take as
    long as it likes: neither may happen while first tokens are being timed.
    """

    host_header: str
    prefix: str
    """Path before the dialect's own, without a trailing slash: empty, or such as ``/api``."""
    addresses: tuple[tuple[int, Any], ...]
    """Address family and socket address, in the order in which they are tried."""
    server_name: str
    tls: ssl.SSLContext | None = field(repr=False)

    @classmethod
    def resolve(cls, url: str, tls: ssl.SSLContext | None = None) -> Endpoint:
        """Look up the host of ``url`` and prepare TLS where it needs it.

        ``url`` is the base of the server, with or without a trailing ``/v1``. ``tls`` replaces the
        default context, which trusts the system's authorities.

        Raises:
            UserError: ``url`` is no http or https URL, holds a user name, a query or a fragment,
                or its host cannot be found.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise UserError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise UserError(f"{url!r} is not a URL such as http://127.0.0.1:8080")
        if parts.username is not None or parts.password is not None:
            raise UserError(
                f"the URL of {parts.hostname} holds a user name: give a key by variable"
            )
        if (
            parts.query
            or parts.fragment
            or not url.isascii()
            or not url.isprintable()
            or " " in url
        ):
            raise UserError(f"{url!r} must be a base URL without query, fragment or odd characters")
        try:
            found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise UserError(f"cannot find the host {parts.hostname!r}: {error}") from error
        return cls(
            host_header=parts.netloc,
            prefix=parts.path.rstrip("/").removesuffix("/v1").rstrip("/"),
            addresses=tuple((family, address) for family, _, _, _, address in found),
            server_name=parts.hostname,
            tls=_context(tls) if parts.scheme == "https" else None,
        )

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connected socket, TLS done.

        Raises:
            OSError: no address answered within ``timeout_s`` in all, or TLS failed.
        """
        deadline = time.monotonic() + timeout_s
        trouble: OSError | None = None
        for family, address in self.addresses:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                connection.settimeout(remaining)
                connection.connect(address)
                # A request is one small write: it must not wait for an acknowledgement.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls is not None:
                    connection.settimeout(max(deadline - time.monotonic(), 0.001))
                    return self.tls.wrap_socket(connection, server_hostname=self.server_name)
            except OSError as error:
                connection.close()
                trouble = error
            except BaseException:
                connection.close()
                raise
            else:
                return connection
        raise trouble or TimeoutError("no time was left to connect")


def _context(given: ssl.SSLContext | None) -> ssl.SSLContext:
    return given if given is not None else ssl.create_default_context()
