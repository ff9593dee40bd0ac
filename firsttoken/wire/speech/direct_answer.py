"""The virtual tool ``direct_answer(response)``, whose one argument is what is to be said."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import ClassVar

from firsttoken.core.words import ANSWER_TOOL
from firsttoken.wire.events import Event, Text, ToolArgument

RESPONSE = "response"
"""Name of its argument."""

HELD_CHARACTERS = 16_384
"""Characters of arguments that are held back at most, while no response has begun."""

ANSWERS = 64
"""Answers in one reply at most that are read."""

_SOUGHT_CHARACTERS = 1024
"""Characters at the beginning in which the response is looked for while they come."""

_BLANK_CHARACTERS = 256
"""Characters of white space that are held back at most after a quote."""

_STRING = r'"(?:[^"\\]|\\.)*+"'
_BEGINNING = re.compile(
    rf'\s*\{{\s*(?:{_STRING}\s*:\s*(?:{_STRING}|[-+.\w]++)\s*,\s*)*?"{RESPONSE}"\s*:\s*"',
    re.DOTALL,
)
"""Arguments up to the text of the response; members before it may be strings, numbers, words."""

_PLAIN = re.compile(r'[^"\\]+')
_QUOTE = re.compile(rf'"(\s{{0,{_BLANK_CHARACTERS}}})(.?)', re.DOTALL)
"""A quote, white space, and what follows: nothing yet, the end of the member, or more text."""

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([^u]))", re.DOTALL)
_HALF_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_DECODER = json.JSONDecoder()


class ResponseReader:
    """Reads the text of the response out of JSON arguments, piece by piece.

    A quote that neither a comma nor a brace follows is part of the text: small models forget to
    escape it. So are raw line breaks.
    """

    def __init__(self) -> None:
        self._raw = ""
        self._begun = False
        self.ended = False
        """Whether the response is whole."""

    def feed(self, raw: str) -> str:
        """Take a piece of the arguments; return the text that it adds."""
        if self.ended:
            return ""
        self._raw += raw
        if not self._begun:
            head = self._raw[:_SOUGHT_CHARACTERS]
            match = _BEGINNING.match(head)
            if match is None:
                # More than can be held is no answer that anyone waits for.
                self.ended = len(self._raw) > HELD_CHARACTERS
                return ""
            self._begun = True
            self._raw = self._raw[match.end() :]
        return self._decoded()

    def close(self) -> str:
        """Say that the arguments are over; return the text that was held back: all of it where
        the response has another name, or is not JSON at all."""
        if self.ended:
            return ""
        self.ended = True
        return "" if self._begun else _other_form(self._raw)

    def _decoded(self) -> str:
        said: list[str] = []
        raw, place = self._raw, 0
        while place < len(raw):
            if plain := _PLAIN.match(raw, place):
                said.append(plain[0])
                place = plain.end()
            elif quote := _QUOTE.match(raw, place):
                blank, following = quote.groups()
                if not following and len(blank) < _BLANK_CHARACTERS:
                    break
                if following in ",}" or len(blank) == _BLANK_CHARACTERS:
                    self.ended = True
                    return "".join(said)
                said.append('"')
                place += 1
            else:
                text, after = _unescaped(raw, place)
                if after == place:
                    break
                said.append(text)
                place = after
        self._raw = raw[place:]
        return "".join(said)


def _unescaped(raw: str, place: int) -> tuple[str, int]:
    """Return the character that the escape at ``place`` means, and where it ends: at ``place``
    while it is not whole."""
    escape = _ESCAPE.match(raw, place)
    if escape is None:
        half = _HALF_ESCAPE.fullmatch(raw, place)
        return ("", place) if half else (raw[place + 1], place + 2)
    if escape[1] is None:
        return _ESCAPED.get(escape[2], escape[2]), escape.end()
    code, after = int(escape[1], 16), escape.end()
    if not 0xD800 <= code <= 0xDFFF:
        return chr(code), after
    if code >= 0xDC00:
        return "\ufffd", after
    if low := _LOW.match(raw, after):
        return chr(0x10000 + ((code - 0xD800) << 10) + (int(low[1], 16) - 0xDC00)), low.end()
    return ("", place) if _could_be_low(raw[after:]) else ("\ufffd", after)


def _could_be_low(text: str) -> bool:
    """Whether ``text`` is the beginning of the escape of a second surrogate."""
    return len(text) < 6 and _LOW.fullmatch(text + "\\udc00"[len(text) :]) is not None


def _other_form(raw: str) -> str:
    """Return the one text in arguments that name no response: a JSON string, an object with one
    text in it, or no JSON at all."""
    try:
        value, _ = _DECODER.raw_decode(raw.lstrip())
    except (ValueError, RecursionError):
        return "" if raw.lstrip().startswith(("{", "[", '"')) else raw.strip()
    if isinstance(value, dict):
        texts = [value[RESPONSE]] if RESPONSE in value else list(value.values())
        value = texts[0] if len(texts) == 1 else None
    return value if isinstance(value, str) else ""


class DirectAnswer:
    """Makes calls of ``direct_answer`` text, as it comes. Other calls go past."""

    takes: ClassVar[frozenset[type]] = frozenset({ToolArgument})

    def __init__(self) -> None:
        self._readers: dict[int, ResponseReader] = {}

    def feed(self, event: Event) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        if type(event) is not ToolArgument:
            return (event,)
        if event.name == ANSWER_TOOL and len(self._readers) < ANSWERS:
            self._readers.setdefault(event.index, ResponseReader())
        reader = self._readers.get(event.index)
        if reader is None:
            return (event,)
        text = reader.feed(event.text)
        return (Text(event.t_ns, text),) if text else ()

    def close(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        texts = [reader.close() for reader in self._readers.values()]
        return [Text(t_ns, text) for text in texts if text]

    def cut(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`: text in another form than the
        tool's own can be said as well."""
        return self.close(t_ns)
