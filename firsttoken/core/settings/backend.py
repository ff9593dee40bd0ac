"""A configured upstream as the router uses it: every default filled in, its key resolved."""

from __future__ import annotations

from dataclasses import dataclass, field

from firsttoken.core.settings.conditions import Condition
from firsttoken.core.words import Tier

LOCAL_BACKEND = "local"
"""The name of the backend made from ``llm_routing.local_model``."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One upstream, in the order of preference in which :meth:`Settings.backends` gives them."""

    name: str
    tier: Tier
    base_url: str
    """``scheme://host[:port][/prefix]`` without a trailing ``/v1``: the path appended for the
    OpenAI dialect is ``/v1/chat/completions``, for Ollama ``/api/chat``."""
    dialect: str | None
    """``openai``, ``ollama``, ``dashscope``, or None where the server is to be asked."""
    model: str
    api_key: str | None = field(default=None, repr=False)
    priority: int = 0
    """The share of requests the guide wants here, in percent; reported, not drawn, unless
    ``llm_routing.share_mode`` is ``weighted``."""
    max_tokens: int | None = None
    first_token_timeout_s: float = 5.0
    """Seconds to the first token, then the limit between two tokens."""
    triggers: tuple[str, ...] = ()
    """Conditions of which any one suffices; a backend that has some gets no default traffic."""
    conditions: tuple[Condition, ...] = ()
    """The same conditions, parsed."""
    slots: int | None = None
    """Requests answered at once; None where the engine is to be asked."""
    model_aliases: tuple[str, ...] = ()
    price_per_1k_tokens: float = 0.0
    """US dollars."""
    enabled: bool = True
    disabled_reason: str = ""
