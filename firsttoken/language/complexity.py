"""How likely a small local model is to answer a request badly: ``query_complexity``, in [0, 1].

A logistic of a weighted sum of features that can be read off the words: no model, no network, no
state, one pass a list over a bounded text. ``docs/query-complexity.md`` says how the weights were
found and how well they do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from operator import add

import re2

from firsttoken.language.complexity_words import LISTS

WINDOW_CHARS = 2048
"""Characters of a text that are looked at: a bound on the work of one request."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A row of the table: what one point of a feature adds to the weighted sum."""

    name: str
    weight: float
    cap: float = 1.0
    """The greatest value of the feature."""
    free: int = 0
    """How many different words of the list do not count yet."""


BASE = Feature("base", -3.2)
"""The weighted sum of a text in which no feature is found."""

FEATURES = (
    Feature("length", 1.2, cap=8),
    Feature("code", 1.9, cap=2),
    Feature("write", 1.2, cap=2),
    Feature("genre", 1.1, cap=2),
    Feature("reasoning", 2.1, cap=3),
    Feature("explain", 0.9),
    Feature("plan", 2.1, cap=2),
    Feature("constraints", 1.9, cap=3),
    Feature("sub-tasks", 0.8, cap=2),
    Feature("questions", 0.8, cap=2, free=1),
    Feature("mathematics", 1.5, cap=2),
    Feature("law, medicine, finance", 1.9, cap=3),
    Feature("scholarship", 1.4, cap=2),
    Feature("puzzle", 1.7, cap=2),
    Feature("commands", -1.5, cap=3),
    Feature("short facts", -1.5, cap=2),
    Feature("small talk", -1.2, cap=3),
    Feature("task first", 1.8),
    Feature("advice", 1.7),
    Feature("rework", 1.2),
    Feature("quantities", 1.4, cap=3),
)
"""Most count the different words of the list with their name; the others are in ``_derived``."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a feature adds to the weighted sum of a text."""

    name: str
    value: float
    points: float
    """Weight times value; negative where the feature speaks for the local model."""


@dataclass(frozen=True, slots=True)
class Complexity:
    """The score of a text, and every feature found in it in the order of the table.

    The score is 1 / (1 + exp(-sum of points)).
    """

    score: float
    contributions: tuple[Contribution, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Word:
    """A word of a list, to be found where a Latin word begins or anywhere in Chinese."""

    stem: str
    of: str
    whole: bool
    """Whether no Latin letter may follow."""


def score(text: str) -> float:
    """Return the complexity of a text, in [0, 1]: 0 is easy for a small model, 1 beyond it."""
    return explain(text).score


def explain(text: str) -> Complexity:
    """Return the complexity of a text with what led to it; of a text without words it is 0.

    Only the first ``WINDOW_CHARS`` characters are read. Case, punctuation, full-width forms and
    fillers at the start ("那个，请问", "um, could you") make no difference.
    """
    folded = _fold(text)
    if not folded:
        return Complexity(0.0, ())
    values = {"base": 1.0, **_values(folded)}
    found = tuple(
        Contribution(row.name, values[row.name], row.weight * values[row.name])
        for row in (BASE, *FEATURES)
        if values[row.name]
    )
    total = math.fsum(contribution.points for contribution in found)
    return Complexity(1.0 / (1.0 + math.exp(-total)), found)


def _values(folded: str) -> dict[str, float]:
    hits = _hits(folded)
    counted = {**hits, **_derived(folded, hits)}
    return {row.name: min(max(counted[row.name] - row.free, 0.0), row.cap) for row in FEATURES}


def _derived(folded: str, hits: Mapping[str, int]) -> dict[str, float]:
    """Return the features that are more than a count of words."""
    # About 1.6 Chinese characters make a word.
    words = len(_LATIN_WORD.findall(folded)) + sum(map(len, _HAN.findall(folded))) / 1.6
    numbers = sum(1 for _ in islice(_NUMBER.finditer(folded), 4))
    return {
        "length": math.log2(max(words, 1) / 10),
        # It begins by asking for work: "write ...", "帮我分析 ...".
        "task first": float(_TASK_FIRST.match(folded) is not None),
        # What to do in a matter where a wrong answer is costly.
        "advice": float(hits["advice"] > 0 and hits["law, medicine, finance"] > 0),
        # One word to be translated is easy, twenty are not.
        "rework": words / 20 if hits["rework"] else 0.0,
        # A number alone is nothing to reckon with.
        "quantities": numbers - 1.0 if hits["reckon"] else 0.0,
    }


def _fold(text: str) -> str:
    """Return the text in lower case without punctuation, spaces between Chinese, and fillers."""
    plain = _WIDE.sub(lambda wide: wide.group().translate(_NARROW), text[:WINDOW_CHARS]).lower()
    plain = _PUNCTUATION.sub(" ", _INSIDE.sub("", plain))
    plain = _BETWEEN_HAN.sub("", plain).strip()
    fillers = _FILLERS.match(plain)
    # Where nothing else is said, the filler is what is said: "你好".
    return plain[fillers.end() :] or plain if fillers else plain


def _hits(folded: str) -> dict[str, int]:
    """Return how many different words of each list stand in the text."""
    found = {word for char in set(folded) for word in _BY_START.get(char, ())}
    before = ""
    for at, pair in enumerate(map(add, folded, folded[1:])):
        words = _BY_START.get(pair)
        if words and (before not in _LATIN or pair[0] not in _LATIN):
            for word in words:
                if folded.startswith(word.stem, at):
                    end = at + len(word.stem)
                    if not word.whole or folded[end : end + 1] not in _LATIN:
                        found.add(word)
        before = pair[0]
    hits = dict.fromkeys(LISTS, 0)
    for word in found:
        hits[word.of] += 1
    return hits


def _words(name: str) -> list[str]:
    return re.split(r"[|\n]", LISTS[name].strip())


def _pattern(word: str) -> str:
    stem = word.removesuffix("*")
    start = r"\b" if re.match(r"[a-z0-9]", stem) else ""
    end = r"\b" if stem == word and re.search(r"[a-z0-9]\Z", stem) else ""
    return f"{start}{re.escape(stem)}{end}"


def _any(name: str) -> str:
    """Return a pattern that finds the longest word of a list."""
    longest_first = sorted(_words(name), key=len, reverse=True)
    return f"(?:{'|'.join(map(_pattern, longest_first))})"


def _by_start() -> dict[str, list[_Word]]:
    """Return the words of the lists by their first two characters, or by their only one."""
    index: dict[str, list[_Word]] = {}
    for name in LISTS.keys() - _AT_START:
        for text in _words(name):
            stem = text.removesuffix("*")
            word = _Word(stem, name, whole=stem == text and stem[-1] in _LATIN)
            index.setdefault(stem[:2], []).append(word)
    return index


_AT_START = {"filler", "asking", "task"}
_LATIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_BY_START = _by_start()
_FILLERS = re2.compile(f"(?:{_any('filler')} ?)+")
_TASK_FIRST = re2.compile(f"(?:{_any('asking')} ?)*(?:[把将].{{1,24}})?{_any('task')}")
_WIDE = re.compile(r"[\uff01-\uff5e]+")
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_INSIDE = re.compile(r"(?<=\d)[.,:](?=\d)|['’]")
_PUNCTUATION = re.compile(r"[^\w+*/=^%<>]+")
_HAN = re.compile(r"[\u3400-\u9fff]+")
_BETWEEN_HAN = re.compile(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")
_LATIN_WORD = re.compile(r"[^\W\u3400-\u9fff]+")
_NUMBER = re.compile(
    r"\d+|[一二两三四五六七八九十百千万零]{2,}|[二两三四五六七八九十百半]|"
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|"
    r"fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|half|quarter|dozen)\b"
)
