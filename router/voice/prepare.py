"""What one backend is sent for the request of a talking device."""

from __future__ import annotations

from dataclasses import replace

from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.voice import Voice
from firsttoken.core.words import CallClass, Tier
from firsttoken.wire.dialect import ChatRequest
from router.voice import clock
from router.voice.clock import ClockMemory
from router.voice.compact import compacted
from router.voice.messages import repaired
from router.voice.prefix import in_order
from router.voice.thinking import without_thinking
from router.voice.unwrap import unwrapped

_BESIDE = frozenset({CallClass.INTENT, CallClass.SUMMARY})
"""Calls that are no part of a conversation: their prompts are short, and read word for word."""


def prepare(
    request: ChatRequest,
    backend: Backend,
    voice: Voice,
    call: CallClass,
    clocks: ClockMemory,
    *,
    dialect: str | None = None,
) -> ChatRequest:
    """Return ``request`` as ``backend`` is to be asked, by the switches of ``voice``.

    Nothing of ``request`` is changed in place. To prepare what was prepared changes nothing.

    Args:
        request: the client's.
        backend: who is to be asked. The prompts of local ones are made shorter and steadier.
        voice: the settings.
        call: what the request is for.
        clocks: which time was told where; the only thing that is changed.
        dialect: in which the backend is asked; None: the one that the settings name.
    """
    messages = repaired(request.messages) if voice.repair_messages else request.messages
    talks = call not in _BESIDE
    if talks and voice.prefix.clock == "move":
        messages = clock.moved(messages, clocks)
    elif talks and voice.prefix.clock == "round":
        messages = clock.rounded(messages)
    extra = request.extra
    if voice.disable_thinking:
        extra = without_thinking(extra, backend, dialect or backend.dialect)
    if messages is not request.messages or extra is not request.extra:
        request = replace(request, messages=messages, extra=extra)
    if talks and backend.tier is Tier.LOCAL:
        # The tools of all backends differ otherwise: a conversation that goes to and fro between
        # them is told the time in the same places.
        if voice.unwrap_direct_answer:
            request = unwrapped(request)
        if voice.compact.enable:
            request = compacted(request, voice.compact)
    if voice.prefix.sort_tools and request.tools:
        request = replace(request, tools=in_order(request.tools))
    return request
