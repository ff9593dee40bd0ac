"""What a voice server has to say, and from when on: an answer cut into segments.

The rules are those of xiaozhi's speech queue (``core/providers/tts/base.py``).
"""

from __future__ import annotations

from typing import NamedTuple

from firsttoken.wire.speaking import CHINESE_PER_SECOND, ENGLISH_PER_SECOND, FIRST_EASTERN

FIRST_CUTS = frozenset("，~、,。？?！!；;：")
"""Punctuation at which the first segment of an answer is cut. A full stop of English and a line
break are not among it."""

LATER_CUTS = frozenset("。？?！!；;：")
"""Punctuation at which all further segments are cut."""


class Segment(NamedTuple):
    """A piece of an answer that is spoken in one go, without the emoji and punctuation before its
    first letter, digit or Chinese character."""

    eastern: int
    """Chinese, Japanese and Korean characters."""
    western: int
    """Letters, digits and spaces of other scripts."""

    @property
    def seconds(self) -> float:
        """How long it takes to speak, as :func:`firsttoken.wire.speaking.spoken_seconds` says."""
        return self.eastern / CHINESE_PER_SECOND + self.western / ENGLISH_PER_SECOND


class Segmenter:
    """Cuts an answer that comes in pieces into the segments that a voice server speaks.

    The first segment ends at the first of :data:`FIRST_CUTS`, each later one at the next of
    :data:`LATER_CUTS`, the last one with the answer. What has no letter, digit or Chinese character
    is not spoken, and is no segment: the first one is still to come then. English that is
    punctuated by full stops alone is thus spoken when the answer ends. No text is kept.
    """

    __slots__ = ("_cuts", "_eastern", "_ended", "_western", "speakable")

    def __init__(self) -> None:
        self._cuts = FIRST_CUTS
        self._eastern = 0
        self._western = 0
        self._ended = False
        self.speakable = False
        """Whether a letter, a digit or a Chinese character has come, in any segment."""

    def feed(self, text: str) -> list[Segment]:
        """Take the next piece of the answer; return the segments that it completes."""
        if self._ended:
            return []
        found = []
        for character in text:
            if character in self._cuts:
                if self._eastern or self._western:
                    found.append(self._cut())
            elif character.isalnum():
                self.speakable = True
                if character >= FIRST_EASTERN:
                    self._eastern += 1
                else:
                    self._western += 1
            elif character == " " and (self._eastern or self._western):
                self._western += 1
        return found

    def close(self) -> list[Segment]:
        """Say that the answer ended; return its last segment, where one is left."""
        self._ended = True
        return [self._cut()] if self._eastern or self._western else []

    def _cut(self) -> Segment:
        segment = Segment(self._eastern, self._western)
        self._eastern = self._western = 0
        self._cuts = LATER_CUTS
        return segment
