"""What a person hears of a reply: when a device begins to speak, and whether it falls silent."""

from __future__ import annotations

from collections.abc import Iterable

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import ANSWER_TOOL
from firsttoken.wire.events import End, Event, Text, ToolArgument
from firsttoken.wire.sentence import Segment, Segmenter
from firsttoken.wire.speech.direct_answer import ResponseReader

MAX_CALLS = 16
"""Tool calls of one reply that are read; none speaks through more than one."""


class Heard:
    """Listens to the events of one reply.

    Spoken is the content, and of the tool ``direct_answer`` the argument ``response``. The device
    begins to speak with the first segment (:class:`~firsttoken.wire.sentence.Segmenter`), at the
    moment it arrives, and speaks each one after the other. Where the next segment arrives after the
    end of those before it, the device falls silent in between: a stutter. What text-to-speech and
    the way to the device add is not part of it.
    """

    __slots__ = (
        "_answers",
        "_segmenter",
        "_silent_ns",
        "called_tool",
        "first_sentence_ns",
        "first_speakable_ns",
        "longest_gap_ns",
        "segments",
        "stutters",
        "total_gap_ns",
    )

    def __init__(self) -> None:
        self._segmenter = Segmenter()
        self._answers: dict[int, ResponseReader | None] = {}
        """By index of the tool call; None: it is no answer."""
        self._silent_ns = 0
        """When all segments so far have been spoken."""
        self.first_speakable_ns: int | None = None
        """When the first letter, digit or Chinese character came: what a voice server that
        synthesises as it reads waits for."""
        self.first_sentence_ns: int | None = None
        """When the first segment was complete."""
        self.segments = 0
        self.stutters = 0
        self.longest_gap_ns = 0
        """The longest silence between two segments."""
        self.total_gap_ns = 0
        self.called_tool = False
        """Whether a tool other than ``direct_answer`` was called: the turn is not over then."""

    def note(self, events: Iterable[Event], t_ns: int) -> str:
        """Take events that arrived at ``t_ns``; return what they add to the spoken text.

        An :class:`~firsttoken.wire.events.End` completes the last segment. A reply that breaks off
        has no such end: what it left of a sentence is no segment.
        """
        said = ""
        for event in events:
            if isinstance(event, Text):
                text = event.text
            elif isinstance(event, ToolArgument):
                text = self._answer(event)
            else:
                if isinstance(event, End):
                    self._speak(self._segmenter.close(), t_ns)
                continue
            if text:
                said += text
                self._hear(text, t_ns)
        return said

    def _hear(self, text: str, t_ns: int) -> None:
        segments = self._segmenter.feed(text)
        if self.first_speakable_ns is None and self._segmenter.speakable:
            self.first_speakable_ns = t_ns
        if segments:
            self._speak(segments, t_ns)

    def _speak(self, segments: list[Segment], t_ns: int) -> None:
        for segment in segments:
            self.segments += 1
            if self.first_sentence_ns is None:
                self.first_sentence_ns = self._silent_ns = t_ns
            gap_ns = t_ns - self._silent_ns
            if gap_ns > 0:
                self.stutters += 1
                self.total_gap_ns += gap_ns
                self.longest_gap_ns = max(self.longest_gap_ns, gap_ns)
                self._silent_ns = t_ns
            self._silent_ns += int(segment.seconds * NS_PER_S)

    def _answer(self, event: ToolArgument) -> str:
        """Return what a piece of a tool call adds to the spoken text."""
        if event.index not in self._answers:
            if not event.name or len(self._answers) >= MAX_CALLS:
                return ""
            speaks = event.name == ANSWER_TOOL
            self._answers[event.index] = ResponseReader() if speaks else None
            self.called_tool = self.called_tool or not speaks
        answer = self._answers[event.index]
        return answer.feed(event.text) if answer is not None and event.text else ""
