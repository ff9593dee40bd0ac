"""When a voice server has something to say: the first speakable segment of an answer."""

from __future__ import annotations

FIRST_CUTS = frozenset("，~、,。？?！!；;：")
"""Punctuation at which xiaozhi's speech queue cuts the first segment of an answer
(``core/providers/tts/base.py``). A full stop of English and a line break are not among them."""


class SentenceCutter:
    """Finds the end of the first segment that a voice server can speak.

    The segment ends at the first of :data:`FIRST_CUTS`. Emoji and punctuation before the first
    letter or digit are not spoken, so a segment of them alone does not count. What has no such
    punctuation is spoken when the answer ends.
    """

    __slots__ = ("_done", "speakable")

    def __init__(self) -> None:
        self._done = False
        self.speakable = False
        """Whether a letter, a digit or a Chinese character has come."""

    def feed(self, text: str) -> bool:
        """Take the next piece of the answer; return True, once, when it completes the segment."""
        if self._done:
            return False
        for character in text:
            if character in FIRST_CUTS:
                if self.speakable:
                    self._done = True
                    return True
            elif not self.speakable and character.isalnum():
                self.speakable = True
        return False

    def close(self) -> bool:
        """Say that the answer ended; return True if that completes the segment."""
        completed = self.speakable and not self._done
        self._done = True
        return completed
