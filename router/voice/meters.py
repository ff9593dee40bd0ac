"""The metrics of what talking devices ask and speak."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.instruments import Instruments, LabelSet
from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import CallClass, ErrorType, Tier
from firsttoken.wire.heard import Heard

NAMES = (
    "llm_time_to_first_sentence_seconds",
    "llm_time_to_first_speakable_seconds",
    "llm_voice_requests_total",
    "llm_voice_turn_requests",
    "llm_speech_segments_total",
    "llm_speech_stutters_total",
    "llm_spoken_failures_total",
    "llm_client_retries_total",
)
"""Metrics of the catalogue that are set here."""


class VoiceMeters:
    """The instruments of :data:`NAMES`."""

    def __init__(self, instruments: Instruments) -> None:
        self._first_sentence = instruments.histogram("llm_time_to_first_sentence_seconds")
        self._first_speakable = instruments.histogram("llm_time_to_first_speakable_seconds")
        self._segments = instruments.counter("llm_speech_segments_total")
        self._stutters = instruments.counter("llm_speech_stutters_total")
        self.requests = instruments.counter("llm_voice_requests_total")
        self.turn_requests = instruments.histogram("llm_voice_turn_requests")()
        self.failures = instruments.counter("llm_spoken_failures_total")
        self.retries = instruments.counter("llm_client_retries_total")()

    def spoke(self, heard: Heard, tier: Tier, accepted_ns: int) -> None:
        """Enter what ``tier`` gave to be spoken in answer to a request accepted then."""
        for histogram, came_ns in (
            (self._first_sentence, heard.first_sentence_ns),
            (self._first_speakable, heard.first_speakable_ns),
        ):
            if came_ns is not None:
                histogram(tier).observe((came_ns - accepted_ns) / NS_PER_S)
        self._segments(tier).inc(heard.segments)
        self._stutters(tier).inc(heard.stutters)


def known(tiers: Sequence[Tier]) -> Iterable[LabelSet]:
    """Yield the label sets that are known in advance; ``tiers``: those that can give an answer."""
    for name in NAMES[:2] + NAMES[4:6]:
        yield LabelSet(name, tuple((tier,) for tier in tiers))
    yield LabelSet("llm_voice_requests_total", tuple((call,) for call in CallClass))
    yield LabelSet("llm_spoken_failures_total", tuple((error,) for error in ErrorType))
