"""What routing reads from a request: which class of the configured patterns its text is in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import re2

from firsttoken.core.errors import UserError
from firsttoken.language import complexity

WINDOW_CHARS = 2048
"""Characters of the last user message that are searched: a bound on the work of one request."""

_BARE_START = re.compile(r"[A-Za-z0-9_]")
_BARE_END = re.compile(r"(?:\A|[^\\])[A-Za-z0-9_]\Z", re.DOTALL)


class QueryClass(StrEnum):
    """The classes of ``routing_logic``."""

    SIMPLE = "simple"
    COMPLEX = "complex"


@dataclass(frozen=True, slots=True)
class Signals:
    """Signals of one request."""

    query_class: QueryClass | None = None
    """None where no pattern matched."""
    complexity: float = 0.0
    """In [0, 1]: see :mod:`firsttoken.language.complexity`."""
    prompt_chars: int = 0
    """Characters of all messages: the length of the prompt as far as it is known here."""


class _Searcher(Protocol):
    def search(self, text: str) -> object | None: ...


@dataclass(frozen=True, slots=True)
class Patterns:
    """The compiled patterns of both classes; None where a class has none."""

    simple: _Searcher | None = None
    complex: _Searcher | None = None


def compile_patterns(simple: Sequence[str], complex_: Sequence[str]) -> Patterns:
    """Compile the patterns of ``routing_logic``.

    They are matched without regard to case, in time linear in the text (RE2). An alternative that
    begins or ends with a Latin letter or a digit does so at a word boundary: ``hi`` is not found in
    "this". Chinese has no spaces between words, so its text is found anywhere.

    Raises:
        UserError: a pattern that RE2 cannot read.
    """
    return Patterns(
        simple=_compile("simple_queries", simple), complex=_compile("complex_queries", complex_)
    )


def read(messages: Sequence[Mapping[str, Any]], patterns: Patterns) -> Signals:
    """Return the signals of a conversation; complex beats simple."""
    text = last_user_text(messages)[:WINDOW_CHARS]
    return Signals(_class(text, patterns), complexity.score(text), length(messages))


def _class(text: str, patterns: Patterns) -> QueryClass | None:
    if patterns.complex is not None and patterns.complex.search(text) is not None:
        return QueryClass.COMPLEX
    if patterns.simple is not None and patterns.simple.search(text) is not None:
        return QueryClass.SIMPLE
    return None


def length(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the characters of all messages."""
    return sum(len(text_of(message.get("content"))) for message in messages)


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user message, its text parts joined; empty if there is none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def text_of(content: object) -> str:
    """Return the text of a content, its text parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


def _compile(where: str, patterns: Sequence[str]) -> _Searcher | None:
    if not patterns:
        return None
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    bounded = []
    for pattern in patterns:
        alternatives = "|".join(_at_word_boundaries(part) for part in _alternatives(pattern))
        bounded.append(f"(?:{alternatives})")
        try:
            re2.compile(bounded[-1], options)
        except re2.error as error:
            detail = error.args[0] if error.args else error
            told = detail.decode() if isinstance(detail, bytes) else str(detail)
            raise UserError(
                f"routing_logic.{where}.patterns: {pattern!r} is no regular expression of RE2: "
                f"{told}"
            ) from error
    compiled: _Searcher = re2.compile("|".join(bounded), options)
    return compiled


def _alternatives(pattern: str) -> list[str]:
    """Split a pattern at the ``|`` that stand outside groups, classes and escapes."""
    parts = [""]
    depth = 0
    in_class = escaped = False
    for char in pattern:
        if char == "|" and depth == 0 and not (in_class or escaped):
            parts.append("")
            continue
        parts[-1] += char
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char in "()":
            depth += 1 if char == "(" else -1
    return parts


def _at_word_boundaries(alternative: str) -> str:
    start = r"\b" if _BARE_START.match(alternative) else ""
    end = r"\b" if _BARE_END.search(alternative) else ""
    return f"{start}{alternative}{end}"
