"""Telling cumulative from incremental text, and turning the one into the other."""

from __future__ import annotations


class Growth:
    """Turns the texts of a stream into pieces, whether each frame repeats the text so far
    (cumulative) or brings new text only (incremental).

    Where the mode is not given, it is found: the first text is a piece in both modes. If the next
    one begins with the whole of it and goes on, the stream is cumulative; if it begins otherwise,
    incremental. An equal text tells nothing by itself, so the caller says whether the frame can
    bring anything new. One :class:`Growth` serves all the fields
    of a stream, since all have the same mode.

    In a cumulative stream, text that shrinks or changes is ignored until it grows past what was
    already given: what a listener has heard cannot be taken back. A cumulative text that begins
    anew, not with the first piece, shows that the mode was found wrongly, and the stream is read
    as incremental from there on.
    """

    def __init__(self, cumulative: bool | None = None) -> None:
        self._cumulative = cumulative
        self._found = cumulative is None
        self._given: dict[str, str] = {}
        self._first: dict[str, str] = {}

    def piece(self, field: str, text: str, *, news: bool) -> str:
        """Return what ``text`` adds to ``field``; empty where it adds nothing.

        Args:
            field: name of the field that the text belongs to.
            text: the field's text in this frame.
            news: whether a text equal to the one before can be a new piece.
        """
        if not text:
            return ""
        given = self._given.get(field, "")
        if self._cumulative is None and given:
            self._cumulative = self._looks_cumulative(given, text, news=news)
            if self._cumulative is None:
                return ""
        if self._cumulative is False:
            return text
        if not given:
            self._first[field] = text
        elif self._found and not text.startswith(self._first[field][:1]):
            self._cumulative = False
            return text
        if not text.startswith(given):
            return self._changed(field, given, text)
        self._given[field] = text
        return text[len(given) :]

    @staticmethod
    def _looks_cumulative(given: str, text: str, *, news: bool) -> bool | None:
        if text == given:
            return False if news else None
        return text.startswith(given)

    def _changed(self, field: str, given: str, text: str) -> str:
        """Return the part of a rewritten text that lies past what was given."""
        if len(text) <= len(given):
            return ""
        self._given[field] = text
        return text[len(given) :]
