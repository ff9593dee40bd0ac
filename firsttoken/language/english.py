"""Reads the words of an English text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

from firsttoken.language import thesaurus
from firsttoken.language.numerals import english_digits
from firsttoken.language.reading import (
    HYPHEN,
    TOKEN,
    YES_NO,
    Reading,
    collapsed,
    is_dropped,
    rewritten,
)

_LONGEST_PHRASE = 7
_CONTRACTIONS = (
    (re.compile(r"\b(?:can't|cant|cannot)\b"), "can not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"\bshan't\b"), "shall not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(do|does|did|is|are|was|were|has|have|should|would|could)nt\b"), r"\1 not"),
    (re.compile(r"\b(what|who|where|how|when|why|it|that|there|he|she|here)'s\b"), r"\1 is"),
    (re.compile(r"\b(what|who|where|how|when|why)s\b(?= )"), r"\1 is"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'ll\b"), " will"),
    (re.compile(r"'ve\b"), " have"),
    (re.compile(r"\bi'm\b"), "i am"),
    (re.compile(r"\bi'd\b"), "i would"),
    (re.compile(r"(?<=[a-z])'s\b"), " 's"),
)


def without_contractions(text: str) -> str:
    """Write "can't" and "what's" in full, with an apostrophe or without."""
    for pattern, plain in _CONTRACTIONS:
        text = pattern.sub(plain, text)
    return text


def read(text: str, names: frozenset[str], *, asks: bool) -> Reading:
    """Read a text; ``names`` are the words that had a capital, ``asks`` whether it ended in "?"."""
    lists = thesaurus.words("en")
    asked = rewritten(re.sub(r"(?<!\d)[.!?;](?!\d)", "", text), "en")
    raw = [word for word in TOKEN.findall(asked) if word == "," or not is_dropped(word)]
    past = _is_past(raw, text)
    first = next((word for word in raw if word not in lists["preposition"]), "")
    found = list(_named(_words(_fronted_last(raw), names)))
    tokens = [name for _, name in found]
    if (asks or first in lists["auxiliary"]) and not any(word.startswith("@") for word in raw):
        tokens.append(YES_NO)
    return Reading(tokens, asked, past=past, collapsed=collapsed(found))


def _is_past(tokens: Sequence[str], text: str) -> bool:
    lists, irregular = thesaurus.words("en"), thesaurus.irregular()
    if lists["past"].intersection(tokens) or irregular.past.intersection(tokens):
        return True
    regular = [word for word in tokens if word.endswith("ed") and word not in lists["unchanged"]]
    return bool(regular) and not lists["present"].intersection(text.split())


def _fronted_last(tokens: list[str]) -> list[str]:
    """Move a preposition's phrase from the front to the end: "in Japan, who drives"."""
    if tokens and tokens[0] in thesaurus.words("en")["preposition"]:
        ends = (at for at, word in enumerate(tokens) if word == "," or word.startswith("@"))
        end = next(ends, 0)
        tokens = tokens[end:] + tokens[:end]
    return [word for word in tokens if word != ","]


def base_forms(text: str) -> str:
    """Return the base forms of the words of a phrase, without those that say nothing."""
    return " ".join(base for _, base in _words(TOKEN.findall(HYPHEN.sub(" ", text))))


def _words(tokens: Sequence[str], names: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Return words that say something, and the base form of each; a name is its own word."""
    lists = thesaurus.words("en")
    words = english_digits([_base(token, names) for token in tokens])
    bases = english_digits([_base_of(token) for token in tokens])
    return [pair for pair in zip(words, bases, strict=False) if pair[1] not in lists["dropped"]]


def _base(word: str, names: frozenset[str]) -> str:
    """Return the base form of a noun or verb; a name keeps its letters."""
    if word in names:
        return f"^{word}" if word in thesaurus.words("en")["cased"] else word
    return _base_of(word)


@lru_cache(maxsize=4096)
def _base_of(word: str) -> str:
    variants, irregular = thesaurus.variants("en"), thesaurus.irregular().base
    word = variants.get(word, word)
    if word in irregular:
        return irregular[word]
    if word in thesaurus.words("en")["unchanged"] or not word.isalpha():
        return word
    stem = _stem(word)
    return variants.get(stem, stem)


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and re.search("[aeiouy]", stem):
            if stem[-1] == stem[-2] and stem[-1] not in "lsz":
                return stem[:-1]
            return (
                stem + "e"
                if stem.endswith(("at", "iz", "uc", "ac", "v"))
                and not stem.endswith(("eat", "oat"))
                else stem
            )
    return word


def _named(words: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the longest known phrases and the name of each."""
    known = _phrases()
    at = 0
    while at < len(words):
        for size in range(min(_LONGEST_PHRASE, len(words) - at), 0, -1):
            phrase = tuple(base for _, base in words[at : at + size])
            if phrase in known:
                yield " ".join(phrase), known[phrase]
                break
        else:
            size = 1
            yield words[at][0], words[at][0]
        at += size


@cache
def _phrases() -> Mapping[tuple[str, ...], str]:
    known: dict[tuple[str, ...], str] = {}
    for group in thesaurus.groups("en_synonyms"):
        phrases = [base_forms(text) for text in group]
        known |= {tuple(phrase.split()): phrases[0] for phrase in phrases}
    return known
