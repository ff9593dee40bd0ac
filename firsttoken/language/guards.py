"""Whether an answer to one text may be given to another, and whether a text may be cached at all.

No score of an encoder says either: "from Beijing to Shanghai" and the way back are 0.997 alike.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from firsttoken.language import thesaurus
from firsttoken.language.form import MAX_CHARS, Form, form
from firsttoken.language.numerals import chinese_digits

_NUMBER = re.compile(r"(?:ord:)?[\d.:]+")


class Guard(StrEnum):
    """What two texts differ in."""

    NUMBER = "number"
    NEGATION = "negation"
    DATE = "date"
    LANGUAGE = "language"
    QUESTION = "question"
    OPPOSITE = "opposite"
    COMPARISON = "comparison"
    SCOPE = "scope"
    QUANTITY = "quantity"
    NAME = "name"
    CONTENT = "content"
    ORDER = "order"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``guard`` is the one that refused, None where none did."""

    guard: Guard | None = None

    @property
    def ok(self) -> bool:
        """Whether the one text may have the other's answer."""
        return self.guard is None


def compatible(one: str, other: str) -> Verdict:
    """Say whether two texts ask for the same thing. Symmetric and transitive; never raises.

    Texts of more than ``MAX_CHARS`` characters are compatible with nothing.
    """
    if max(len(one), len(other)) > MAX_CHARS:
        return Verdict(Guard.LENGTH)
    return compare(form(one), form(other))


def compare(one: Form, other: Form) -> Verdict:
    """Say whether two forms are one, and if not, of which kind the gravest difference is."""
    if one.key == other.key:
        return Verdict()
    left = Counter([*one.tokens, *one.questions])
    right = Counter([*other.tokens, *other.questions])
    lost, gained = set(left - right), set(right - left)
    differing = lost | gained
    for guard, names in _kinds():
        if any(names(token) for token in differing):
            return Verdict(guard)
        if guard is Guard.QUESTION and _has_opposites(lost, gained):
            return Verdict(Guard.OPPOSITE)
    if one.past != other.past:
        return Verdict(Guard.DATE)
    if differing & {token.lstrip("^") for token in one.names | other.names}:
        return Verdict(Guard.NAME)
    return Verdict(Guard.CONTENT if differing else Guard.ORDER)


def cacheable(text: str) -> bool:
    """Say whether the answer to a text may serve again for texts that mean the same.

    False for subjects that change (weather, time, news, prices, scores, traffic), for texts that
    point outside themselves ("go on", "what about that one", "my ..."), and for long ones.
    """
    if len(text) > MAX_CHARS:
        return False
    found = form(text)
    if not found.tokens or not any(_is_content(token) for token in found.tokens):
        return found.tokens != () and found.tokens[0] in _greeting_names()
    return not any(
        thesaurus.patterns(name).search(said)
        for name in ("volatile", "context")
        for said in {found.asked, found.asked + "?"}
    )


def _is_content(token: str) -> bool:
    return not token.startswith("@") and any(mark.isalnum() for mark in token)


@cache
def _greeting_names() -> frozenset[str]:
    return frozenset(group[0] for group in thesaurus.groups("greetings"))


@cache
def _kinds() -> tuple[tuple[Guard, Callable[[str], bool]], ...]:
    """Return the kinds of words, those first that change a meaning most."""
    lists = [thesaurus.words(language) for language in thesaurus.LANGUAGES]

    def of(section: str) -> Callable[[str], bool]:
        return {chinese_digits(word) for found in lists for word in found[section]}.__contains__

    surnames = thesaurus.words("zh")["surname"]
    return (
        (Guard.NUMBER, lambda token: _NUMBER.fullmatch(token) is not None),
        (Guard.NEGATION, of("negation")),
        (Guard.DATE, of("time")),
        (Guard.LANGUAGE, of("language")),
        (Guard.QUESTION, lambda token: token.startswith("@")),
        (Guard.COMPARISON, of("compare")),
        (Guard.SCOPE, of("scope")),
        (Guard.QUANTITY, of("unit")),
        (Guard.NAME, surnames.__contains__),
    )


def _has_opposites(lost: Collection[str], gained: Collection[str]) -> bool:
    pairs = thesaurus.opposites("zh") | thesaurus.opposites("en")
    return any((one, other) in pairs for one in lost for other in gained)
