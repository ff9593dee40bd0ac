"""What a backend is sent for a client's request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import REQUEST_ID_HEADER
from firsttoken.wire.dialect import ChatRequest, Dialect, HttpCall

LOADING_OPTIONS = frozenset(
    {
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep"),
        *("use_mmap", "use_mlock", "numa", "low_vram", "vocab_only", "f16_kv"),
    }
)
"""Options with which Ollama loads a model. A request that brings others makes it load the model
anew, which takes seconds for everybody: so they are the same in every request."""

RUNNERS_UP = 2
"""Candidates a token that are asked for with the probabilities: the chosen one and its rival."""


@dataclass(frozen=True, slots=True)
class ReplyOptions:
    """Caps and defaults of one backend's replies."""

    max_tokens: int | None = None
    """The most a client may have, and what it gets without asking; None: no cap."""
    temperature: float | None = None
    """Used where the client gave none; None: the backend's own default."""
    top_p: float | None = None
    keep_alive: str | float | None = None
    """How long Ollama keeps the model loaded; None: its own default."""
    loading: Mapping[str, Any] = field(default_factory=dict)
    """The values of :data:`LOADING_OPTIONS` for Ollama."""


def for_backend(
    request: ChatRequest, backend: Backend, options: ReplyOptions, dialect: Dialect
) -> ChatRequest:
    """Return ``request`` with the backend's model, its cap and its defaults."""
    temperature = options.temperature if request.temperature is None else request.temperature
    top_p = options.top_p if request.top_p is None else request.top_p
    return replace(
        request,
        model=backend.model,
        max_tokens=_smaller(request.max_tokens, options.max_tokens),
        temperature=temperature,
        top_p=top_p,
        extra=_for_ollama(request.extra, options) if dialect.name == "ollama" else request.extra,
    )


def with_probabilities(request: ChatRequest) -> ChatRequest:
    """Return ``request`` asking for the probabilities of its tokens too."""
    asked = {"logprobs": True, "top_logprobs": RUNNERS_UP}
    return replace(request, extra={**request.extra, **asked})


def build_call(
    dialect: Dialect, request: ChatRequest, backend: Backend, request_id: str
) -> tuple[str, HttpCall]:
    """Return the URL and the call that ask ``backend`` for ``request``."""
    call = dialect.build_request(request, backend.api_key)
    call.headers[REQUEST_ID_HEADER] = request_id
    return f"{backend.base_url}{call.path}", call


def _for_ollama(extra: Mapping[str, Any], options: ReplyOptions) -> dict[str, Any]:
    given = extra.get("options")
    own = given.items() if isinstance(given, dict) else ()
    sampling = {name: value for name, value in own if name not in LOADING_OPTIONS}
    kept = {} if options.keep_alive is None else {"keep_alive": options.keep_alive}
    return {**extra, **kept, "options": {**sampling, **options.loading}}


def _smaller(wanted: int | None, cap: int | None) -> int | None:
    if wanted is None or cap is None:
        return cap if wanted is None else wanted
    return min(wanted, cap)
