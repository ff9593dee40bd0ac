"""What can be set of each schedule; part of the run plan."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from firsttoken.wire.speaking import CHINESE_PER_SECOND, ENGLISH_PER_SECOND

LONGEST_WAIT_SECONDS = 120.0
"""Bounds how long a block may take to make the starts that it owes after its end."""
_DropAfter = Annotated[float, Field(gt=0, le=3600)]


class Strict(BaseModel):
    """Refuses unknown keys and wrong types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Arrivals(StrEnum):
    """How the gaps between two starts of an open loop are drawn."""

    CONSTANT = "constant"
    POISSON = "poisson"
    GAMMA = "gamma"


class OpenLoopOptions(Strict):
    """Starts by the clock, whatever became of those before."""

    rate: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    """Starts a second."""
    arrivals: Arrivals = Arrivals.POISSON
    burstiness: Annotated[float, Field(ge=0.05, le=10)] = 2.0
    """Standard deviation of the gaps over their mean, where arrivals are gamma; 1 is Poisson."""
    drop_after_seconds: _DropAfter = LONGEST_WAIT_SECONDS
    """A start that waited this long for a free talker is dropped."""


def _in_order(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError("the lower bound comes first")
    return span


_Seconds = Annotated[float, Field(ge=0, le=3600)]
_Span = Annotated[tuple[_Seconds, _Seconds], AfterValidator(_in_order)]
"""Lower and upper bound of what is drawn, seconds; both included."""
_TurnCount = Annotated[int, Field(ge=1, le=1000)]
_Speed = Annotated[float, Field(gt=0, le=1000)]


class SessionsOptions(Strict):
    """Devices in conversation. Where nothing else is said, bounds of what is drawn uniformly."""

    turns: Annotated[tuple[_TurnCount, _TurnCount], AfterValidator(_in_order)] = (3, 8)
    """Turns of a conversation."""
    think_seconds: _Span = (1.0, 4.0)
    """From the end of the spoken reply to the next request: thinking, and saying it."""
    barge_in_share: Annotated[float, Field(ge=0, le=1)] = 0.07
    """Of the turns that another one follows: how many the person interrupts."""
    barge_in_seconds: _Span = (0.5, 3.0)
    """From the first spoken word to the interruption; later than the last word is none."""
    gap_seconds: _Span = (1.0, 5.0)
    """From the end of a conversation to the first request of the device that takes its place."""
    chinese_characters_per_second: _Speed = CHINESE_PER_SECOND
    english_characters_per_second: _Speed = ENGLISH_PER_SECOND
    """Letters, digits and spaces: about 150 words a minute."""
    history: bool = True
    """Whether the conversation so far is sent with each turn."""
    history_messages: Annotated[int, Field(ge=2, le=1000)] = 32
    history_characters: Annotated[int, Field(ge=1, le=1_000_000)] = 16_000
    """Bounds of the conversation so far; beyond them its oldest turns are left out."""


class Switch(StrEnum):
    """On or off, as a command line says it."""

    ON = "on"
    OFF = "off"


class VoiceTools(StrEnum):
    """How a voice server finds out what is wanted."""

    FULL = "full"
    """The model is offered all tools, one to answer through among them, with an example."""
    INTENT = "intent"
    """Another call before each chat classifies what was said; no tools."""
    NONE = "none"
    """Not at all: a chat without tools."""


class VoicePrompt(StrEnum):
    """The system prompt that a voice server sends."""

    FULL = "full"
    """All of its instructions, the persona and the context."""
    SHORT = "short"
    """The persona alone."""


class VoiceLanguage(StrEnum):
    """Whose personas and utterances are used."""

    ALL = "all"
    ZH = "zh"
    EN = "en"


MOST_MEMORY_TOKENS = 2000
"""What a voice server allows a memory summary."""


class VoiceOptions(Strict):
    """Talking devices behind a full voice server; when they speak is :class:`SessionsOptions`."""

    tools: VoiceTools = VoiceTools.FULL
    memory_jobs: Switch = Switch.ON
    """Whether each conversation is summed up once it is over."""
    language: VoiceLanguage = VoiceLanguage.ALL
    prompt: VoicePrompt = VoicePrompt.FULL
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    memory_tokens: Annotated[int, Field(ge=1, le=MOST_MEMORY_TOKENS)] = 300
    """Longest summary asked for. A voice server allows 2,000, and a good model ends by itself
    after some 300; a small one does not."""
    tool_seconds: _Span = (0.05, 0.3)
    """How long a tool takes."""
    kept_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of the replies that were interrupted: how many stay in the conversation as far as they came;
    of the others nothing does, and two user messages follow each other."""


class BurstOptions(Strict):
    """Devices that wake at the same moment."""

    period_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    """From one wake-up to the next."""
    spread_ms: Annotated[float, Field(ge=0)] = 0.0
    """Each device wakes up to this much later, drawn anew each time."""

    @model_validator(mode="after")
    def _spread_within_the_period(self) -> BurstOptions:
        if self.spread_ms > self.period_seconds * 500:
            raise ValueError("spread_ms is over half of period_seconds")
        return self


class ReplayOptions(Strict):
    """A trace that the user brought."""

    file: Path
    speed: Annotated[float, Field(ge=0.001, le=1000)] = 1.0
    """How many seconds of the trace pass in one."""
    drop_after_seconds: _DropAfter = LONGEST_WAIT_SECONDS
    """A row that waited this long for a free talker, or for the turn before it, is dropped."""
