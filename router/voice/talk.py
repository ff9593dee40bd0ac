"""One request of a talking device, from the router's side.

A chat window shows an error in red; a loudspeaker reads it aloud. So the requests of talking
devices are prepared for each backend, and what the backends say is mended, before a person hears
it. Other clients have no :class:`Talk`, and nothing here touches them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.voice import Voice
from firsttoken.core.words import CallClass, Tier
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.speech.calls import capped, classify, is_voice
from firsttoken.wire.speech.chain import Chain, chain_for
from router.voice.clock import ClockMemory
from router.voice.prepare import prepare

_READ_BY_PROGRAMS = frozenset({CallClass.INTENT, CallClass.SUMMARY})
"""Calls whose answer nobody hears: an apology in its place would be taken for what was asked."""


@dataclass(frozen=True, slots=True)
class Talk:
    """How one request of a talking device is served."""

    voice: Voice
    call: CallClass
    clocks: ClockMemory
    _kept: dict[tuple[str, str], tuple[ChatRequest, ChatRequest]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """A request and how it was prepared, by backend and dialect."""

    @property
    def is_heard(self) -> bool:
        """Whether a person hears the answer."""
        return self.call not in _READ_BY_PROGRAMS

    @property
    def spoken_failure(self) -> str:
        """What is said where nobody answers; empty: nothing, but an error status."""
        return self.voice.spoken_failure if self.is_heard else ""

    @property
    def in_background(self) -> bool:
        """Whether it is to delay nobody who talks."""
        return self.voice.background and self.call is CallClass.SUMMARY

    def prepared(self, request: ChatRequest, backend: Backend, dialect: str) -> ChatRequest:
        """Return the request as ``backend``, which speaks ``dialect``, is to be sent it. It is
        prepared once: what was foreseen of a prompt is what is sent."""
        known = self._kept.get((backend.name, dialect))
        if known is not None and known[0] is request:
            return known[1]
        wanted = capped(request, self.call)
        found = prepare(wanted, backend, self.voice, self.call, self.clocks, dialect=dialect)
        self._kept[backend.name, dialect] = request, found
        return found

    def chain(self, request: ChatRequest, backend: Backend) -> Chain:
        """Return what mends one reply of ``backend`` to the client's ``request``."""
        unwrap = self.voice.unwrap_direct_answer and backend.tier is Tier.LOCAL
        return chain_for(self.voice, tools=request.tools, unwrap=unwrap)


class Talks:
    """Tells talking devices from other clients.

    Args:
        voice: the settings.
        clocks: which time was told where; it outlives the settings.
    """

    def __init__(self, voice: Voice, clocks: ClockMemory) -> None:
        self._voice = voice
        self._clocks = clocks

    def of(self, request: ChatRequest) -> Talk | None:
        """Return how ``request`` is served; None where it is no talking device's."""
        clients = self._voice.clients
        if clients == "none" or (clients == "auto" and not is_voice(request)):
            return None
        return Talk(self._voice, classify(request), self._clocks)
