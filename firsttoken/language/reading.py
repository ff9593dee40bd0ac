"""What reading Chinese and English has in common: words, marks and the rules of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from firsttoken.language import thesaurus

CJK = "\u3400-\u4dbf\u4e00-\u9fff"
LATIN = "a-z\u00df-\u024f\u0370-\u03ff\u0400-\u04ff"
YES_NO = "@yesno"

_MARKERS = (
    "yesno|why|whatfor|whatkind|what|when|where|who|howmany|howmuch|howlong|howoften|howis"
    "|how|dealwith|called|date|age|diff|tell|give|mean"
)
TOKEN = re.compile(
    rf"@(?:{_MARKERS})|\d+(?:st|nd|rd|th)\b|\.\d+|\d+(?:[.:]\d+)*"
    rf"|'s\b|[{LATIN}]+|\S",
    re.IGNORECASE,
)
HYPHEN = re.compile(rf"(?<=[{LATIN}\d])-(?=[{LATIN}])", re.IGNORECASE)
_DROPPED = frozenset([*",.!?;:'\"…—–·、。，！？；：‘’“”「」『』《》〈〉【】`-", "'s"])


@dataclass(frozen=True, slots=True)
class Reading:
    """The words of a text under their names."""

    tokens: Sequence[str]
    asked: str
    """The text as far as it was made plain; for patterns to search."""
    past: bool = False
    collapsed: bool = False
    """Two words of the text fell together, so it may be about what sets them apart."""


def is_dropped(token: str) -> bool:
    """Say whether a token is punctuation. Other marks are words: 3+2, C#, 5%."""
    return token in _DROPPED


def rewritten(text: str, rules: str) -> str:
    """Apply the rules of ``{rules}_rewrites.txt`` in their order."""
    for pattern, replacement in thesaurus.rewrites(rules):
        text = pattern.sub(replacement, text)
    return " ".join(text.split())


def verbatim(text: str) -> list[str]:
    """Return all words and marks but punctuation, as a text about words is read."""
    return [token for token in TOKEN.findall(rewritten(text, "meta")) if not is_dropped(token)]


def collapsed(found: Sequence[tuple[str, str]]) -> bool:
    """Say whether two different words of one text have one name."""
    words: dict[str, str] = {}
    return any(name and words.setdefault(name, word) != word for word, name in found)
