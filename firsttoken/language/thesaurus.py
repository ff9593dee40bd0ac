"""The word lists of the semantic cache, read once from the package data beside this file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

LANGUAGES = ("zh", "en")
_Rules = tuple[tuple[re.Pattern[str], str], ...]


@dataclass(frozen=True, slots=True)
class Irregular:
    """Forms that the endings of English do not explain."""

    base: Mapping[str, str]
    past: frozenset[str]


def lines(name: str) -> Iterator[str]:
    """Yield the lines of a list without comments; ends of lines belong to no entry."""
    text = (files(__package__) / "lexicon" / f"{name}.txt").read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("# "))


@cache
def groups(name: str) -> tuple[tuple[str, ...], ...]:
    """Return groups of words of one meaning, the name of the group first."""
    return tuple(
        tuple(dict.fromkeys(word.strip().casefold() for word in line.split(" = ")))
        for line in lines(name)
    )


@cache
def opposites(language: str) -> frozenset[tuple[str, str]]:
    """Return pairs of opposites, each pair in both orders."""
    pairs = [tuple(line.split(" / ")) for line in lines(f"{language}_opposites")]
    return frozenset(pair for one, other in pairs for pair in ((one, other), (other, one)))


@cache
def words(language: str) -> Mapping[str, frozenset[str]]:
    """Return the named sections of ``{language}_words.txt``."""
    sections: dict[str, set[str]] = {}
    section: set[str] = set()
    for line in lines(f"{language}_words"):
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), set())
        else:
            section.update(line.split())
    return {name: frozenset(found) for name, found in sections.items()}


@cache
def rewrites(language: str) -> _Rules:
    """Return pattern and replacement of each rule, in their order."""
    macros = {name: _alternatives(words("zh")[name]) for name in ("verb", "switch")}
    rules = []
    for line in lines(f"{language}_rewrites"):
        pattern, _, replacement = line.partition(" => ")
        for name, alternatives in macros.items():
            pattern = pattern.replace(f"{{{name}}}", alternatives)
        rules.append((re.compile(pattern), replacement))
    return tuple(rules)


@cache
def patterns(name: str) -> re.Pattern[str]:
    """Return a list of patterns as one; ``courtesy/start`` names a section of a file."""
    name, _, section = name.partition("/")
    chosen = [] if section else list(lines(name))
    current = ""
    for line in lines(name) if section else ():
        if line.startswith("[") and line.endswith("]") and line[1:-1].isalpha():
            current = line[1:-1]
        elif current == section:
            chosen.append(line)
    return re.compile("|".join(f"(?:{line})" for line in chosen))


@cache
def variants(language: str) -> Mapping[str, str]:
    """Return other spellings, and the spelling that stands for them."""
    rows = [line.casefold().split() for line in lines(f"{language}_variants")]
    return {other: row[0] for row in rows for other in row[1:]}


@cache
def irregular() -> Irregular:
    """Return the irregular forms of English nouns and verbs."""
    base: dict[str, str] = {}
    past: set[str] = set()
    for line in lines("en_irregular"):
        plain, _, past_only = line.partition(" | ")
        name, *forms = plain.split()
        base.update(dict.fromkeys([name, *forms, *past_only.split()], name))
        past.update(past_only.split())
    for name in words("en")["silent_e"]:
        stem = name[:-1]
        for ending in ("ing", "ed", "es"):
            base.setdefault(stem + ending, name)
    return Irregular(base, frozenset(past))


@cache
def simplified() -> Mapping[int, str]:
    """Return a table for ``str.translate`` from traditional to simplified characters."""
    return {ord(pair[0]): pair[1] for line in lines("traditional") for pair in line.split()}


def _alternatives(found: frozenset[str]) -> str:
    return "(?:" + "|".join(sorted(found, key=lambda word: (-len(word), word))) + ")"
