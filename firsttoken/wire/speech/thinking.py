"""Taking the thinking of a model out of what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from firsttoken.wire.events import Event, Reasoning, Text
from firsttoken.wire.speech.markers import LEAD, first_marker, partial_marker

BLOCKS = {"<think>": "</think>", "<thinking>": "</thinking>"}
"""Marker that opens a block: the one that closes it."""

BLANK_CHARACTERS = 256
"""Characters of white space that are held back at most at the beginning of a reply."""

_MARKERS = (*BLOCKS, *BLOCKS.values())


class Thinking:
    """Drops reasoning events, and blocks of thinking inside the text wherever the stream splits.

    White space after a block is dropped with it, and before one that begins the reply. A block
    that is never closed goes to the end. A closing marker alone is dropped: some templates put the
    opening one into the prompt. At most a part of one marker, and blank text at the beginning, is
    held back.
    """

    takes: ClassVar[frozenset[type]] = frozenset({Text, Reasoning})

    def __init__(self) -> None:
        self._begun = False
        """Whether anything but white space was given."""
        self._blank = ""
        self._held = ""
        self._closing = ""
        """The marker that ends the block we are in; empty outside of one."""
        self._trim = False
        self._quiet = False

    def feed(self, event: Event) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        if type(event) is not Text:
            return ()
        if self._quiet and LEAD not in event.text:
            return (event,)
        said: list[str] = []
        self._read(self._held + event.text, said)
        self._quiet = self._begun and not (self._held or self._closing or self._trim)
        text = "".join(said)
        if text == event.text:
            return (event,)
        return (Text(event.t_ns, text),) if text else ()

    def close(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`: the beginning of a marker is
        text after all."""
        text = "" if self._closing else self._blank + self._held
        self._blank = self._held = ""
        return (Text(t_ns, text),) if text else ()

    def cut(self, t_ns: int) -> Sequence[Event]:  # noqa: ARG002
        """See :class:`firsttoken.wire.speech.chain.Transformer`: half a marker cannot be said."""
        self._blank = self._held = ""
        return ()

    def _read(self, text: str, said: list[str]) -> None:
        self._held = ""
        while text:
            if self._closing:
                end = text.find(self._closing)
                if end < 0:
                    self._held = text[partial_marker(text, (self._closing,)) :]
                    return
                text = text[end + len(self._closing) :]
                self._closing, self._trim = "", True
            elif self._trim:
                text = text.lstrip()
                self._trim = not text
            elif found := first_marker(text, _MARKERS):
                place, marker = found
                self._say(text[:place], said)
                self._blank = ""
                text = text[place + len(marker) :]
                self._closing = BLOCKS.get(marker, "")
                self._trim = not self._closing
            else:
                place = partial_marker(text, _MARKERS)
                self._say(text[:place], said)
                self._held = text[place:]
                return

    def _say(self, text: str, said: list[str]) -> None:
        """Give ``text``; white space at the beginning of the reply is kept until more follows."""
        if not self._begun:
            text, self._blank = self._blank + text, ""
            if len(text) <= BLANK_CHARACTERS and not text.strip():
                self._blank = text
                return
            self._begun = True
        said.append(text)
