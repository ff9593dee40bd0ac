"""What a backend is sent for a client's request."""

from __future__ import annotations

from dataclasses import dataclass, replace

from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import REQUEST_ID_HEADER
from firsttoken.wire.dialect import ChatRequest, Dialect, HttpCall


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """Caps and defaults of one backend's replies."""

    max_tokens: int | None = None
    """The most a client may have, and what it gets without asking; None: no cap."""
    temperature: float | None = None
    """Used where the client gave none; None: the backend's own default."""
    top_p: float | None = None


def for_backend(request: ChatRequest, backend: Backend, options: ReplyOptions) -> ChatRequest:
    """Return ``request`` with the backend's model, its cap and its defaults."""
    temperature = options.temperature if request.temperature is None else request.temperature
    top_p = options.top_p if request.top_p is None else request.top_p
    return replace(
        request,
        model=backend.model,
        max_tokens=_smaller(request.max_tokens, options.max_tokens),
        temperature=temperature,
        top_p=top_p,
    )


def build_call(
    dialect: Dialect, request: ChatRequest, backend: Backend, request_id: str
) -> tuple[str, HttpCall]:
    """Return the URL and the call that ask ``backend`` for ``request``."""
    call = dialect.build_request(request, backend.api_key)
    call.headers[REQUEST_ID_HEADER] = request_id
    return f"{backend.base_url}{call.path}", call


def _smaller(wanted: int | None, cap: int | None) -> int | None:
    if wanted is None or cap is None:
        return cap if wanted is None else wanted
    return min(wanted, cap)
