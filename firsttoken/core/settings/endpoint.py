"""What an endpoint in the settings stands for: where to send, in which dialect, with which key."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

_EXPECTED = "expected http://host[:port] or https://host[:port]"

_SUFFIXES = ("/v1/chat/completions", "/chat/completions", "/v1", "/api/chat", "/api/generate")
"""Ends of an address that the dialect appends itself."""

_DASHSCOPE_COMPATIBLE = "/compatible-mode"
_DASHSCOPE_NATIVE = "/api/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address taken apart and put together again in one form."""

    origin: str
    """``scheme://host[:port]``, the host in lower case."""
    path: str
    """What follows, without a slash at its end; empty for the root."""
    host: str

    @property
    def url(self) -> str:
        """The whole address."""
        return self.origin + self.path


@dataclass(frozen=True, slots=True)
class Provider:
    """What is known of a public host by its name."""

    hosts: tuple[str, ...]
    dialect: str
    api_key_env: str
    model: str
    """Used where the settings name none."""


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        hosts=("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
        dialect="openai",
        api_key_env="QWEN_API_KEY",
        model="qwen-flash",
    ),
    Provider(
        hosts=("api.openai.com",),
        dialect="openai",
        api_key_env="OPENAI_API_KEY",
        model="gpt-4o-mini",
    ),
)


def parse(text: str) -> Endpoint:
    """Take an http or https address apart.

    Raises:
        ValueError: not such an address, or one with a user name, password, query or fragment:
            those may carry secrets and are not repeated in the message.
    """
    stripped = text.strip()
    if any(character.isspace() or not character.isprintable() for character in stripped):
        raise ValueError(f"has white space or control characters in it; {_EXPECTED}")
    try:
        parts = urlsplit(stripped)
        host, port = (parts.hostname or ""), parts.port
    except ValueError:
        raise ValueError(f"is no address; {_EXPECTED}") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise ValueError(
            "has a user name or password in the address; "
            "expected a plain address and the key in api_key_env"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"has a query or fragment in the address; {_EXPECTED}")
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError(f"is no http or https address; {_EXPECTED}")
    shown = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    return Endpoint(origin=origin, path=parts.path.rstrip("/"), host=host)


def provider_of(endpoint: Endpoint) -> Provider | None:
    """Return what is known of the host, or None."""
    return next((provider for provider in PROVIDERS if endpoint.host in provider.hosts), None)


def is_private(endpoint: Endpoint) -> bool:
    """Say whether the host is of this machine or network, so that it may be asked what it is.

    True for loopback and private addresses and for names that public DNS does not have.
    """
    host = endpoint.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost", ".lan"))
    return address.is_private or address.is_loopback or address.is_link_local


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``; a name other than localhost is not taken
    to be so."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def resolve(text: str, dialect: str | None) -> tuple[str, str | None]:
    """Return the base URL (without ``/v1``) and the dialect of an endpoint.

    A dialect left out is known for a public host (``openai`` unless its name says otherwise) and
    None for a private one, which is to be asked. A DashScope endpoint is its OpenAI-compatible
    mode, unless the dialect ``dashscope`` is asked for by name or by the native path.

    Raises:
        ValueError: see :func:`parse`.
    """
    endpoint = parse(text)
    provider = provider_of(endpoint)
    if provider is not None and provider.api_key_env == "QWEN_API_KEY":
        native = endpoint.path.startswith(_DASHSCOPE_NATIVE)
        if dialect == "dashscope" or (dialect is None and native):
            return endpoint.origin, "dashscope"
        return endpoint.origin + _DASHSCOPE_COMPATIBLE, dialect or "openai"
    path = endpoint.path
    for suffix in _SUFFIXES:
        if path.endswith(suffix):
            path = path.removesuffix(suffix)
            break
    if dialect is None and not is_private(endpoint):
        dialect = provider.dialect if provider else "openai"
    return endpoint.origin + path.rstrip("/"), dialect
