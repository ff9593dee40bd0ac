"""The canonical form of a request: two texts with one form ask for the same thing.

A text is normalised, freed of courtesy and fillers, and its question put into one shape by rules;
what is left is read word by word, synonyms under one name, and compared whole and in its order.
Only what a list names is ever dropped, so a word the lists do not know counts by its letters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from firsttoken.language import chinese, courtesy, english, thesaurus
from firsttoken.language.reading import CJK, HYPHEN, YES_NO, Reading, verbatim

MAX_CHARS = 400
"""A longer text has too many words that matter: it is cached exactly or not at all."""

MOVABLE = frozenset({YES_NO, "@why", "@how", "@when", "@where", "@dealwith", "@howlong", "@date"})
"""Questions about the whole sentence, which mean the same wherever they stand in it."""

_QUOTED = re.compile(
    "“([^”]{1,80})”|「([^」]{1,80})」|『([^』]{1,80})』|《([^》]{1,80})》"
    r"|\"([^\"]{1,80})\"|(?<!\w)'([^']{1,80})'(?!\w)|‘([^’]{1,80})’"
)
_PAYLOAD = re.compile(r":(?!\d)\s*\S")
_SUPERSCRIPT = re.compile("([\u00b2\u00b3\u00b9\u2070-\u209f])")
_SPACE_BY_CJK = re.compile(rf"(?<=[{CJK}]) +| +(?=[{CJK}])")
_ACRONYMS = (
    (re.compile(r"\bU\.?S\.?(?:A\.?)?(?![\w'])"), "usa"),
    (re.compile(r"\bU\.K\.?(?!\w)"), "uk"),
    (re.compile(r"\bWHO\b"), "world health organization"),
    (re.compile(r"\bIT\b"), "information technology"),
    (re.compile(r"\bAIDS\b"), "acquired immune deficiency"),
    (re.compile(r"\b([Aap])\.[Mm]\."), r"\1m"),
)
_WIFI = re.compile(r"(?<![a-z])wi[- ]fi(?![a-z])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MINUS = re.compile(r"[-–−](?=\s?\d)")
_FACTORIAL = re.compile(r"(?<=\d)!")
_ACCENTED = re.compile("(?<=[A-Za-z])[\u00e0-\u00f6\u00f9-\u017e]|[\u00c0-\u017e](?=[A-Za-z])")
_CAPITAL = re.compile(r"(?<=[a-z,] )[A-Z][a-zA-Z]+")


@dataclass(frozen=True, slots=True)
class Form:
    """What a text asks for, without the way it is said.

    ``key`` decides: two texts ask for the same if and only if their keys are equal. The rest says
    of what kind a difference is.
    """

    key: tuple[str, ...]
    tokens: tuple[str, ...]
    """In their order, without the movable questions."""
    questions: frozenset[str]
    names: frozenset[str]
    """Tokens that stood with a capital within the sentence."""
    past: bool
    asked: str
    """The text without courtesy and, in English, after the rules; for patterns to search."""


@lru_cache(maxsize=256)
def form(text: str) -> Form:
    """Return the canonical form of a text; only its first ``MAX_CHARS`` + 1 characters are read."""
    text = _plain(text[: MAX_CHARS + 1])
    names = frozenset(_names(text))
    if not text.isupper():
        for pattern, plain in _ACRONYMS:
            text = pattern.sub(plain, text)
    text, quoted = _without_quotations(text.casefold())
    text = _WIFI.sub("wifi", _SPACE_BY_CJK.sub("", HYPHEN.sub(" ", " ".join(text.split()))))
    asks = text.endswith("?")
    is_chinese = re.search(f"[{CJK}]", text) is not None
    if is_chinese:
        text = courtesy.without_chinese_fillers(text)
    else:
        text = courtesy.without_english_fillers(english.without_contractions(text))
    text = courtesy.without_courtesy(text)
    greeting = _greetings().get(text)
    if greeting:
        return Form((greeting,), (greeting,), frozenset(), frozenset(), past=False, asked=text)
    about_words = bool(_PAYLOAD.search(text) or thesaurus.patterns("metalanguage").search(text))
    if not about_words:
        read = chinese.read(text, asks=asks) if is_chinese else english.read(text, names, asks=asks)
        about_words = read.collapsed
    if about_words:
        read = Reading(verbatim(text), text)
    return _form(read, quoted, names, about_words=about_words)


def _plain(text: str) -> str:
    """Return a text with one form for each character, and marks that count told from others."""
    text = unicodedata.normalize("NFKC", _SUPERSCRIPT.sub(r"^\1", text))
    text = text.translate(thesaurus.simplified()).replace("’", "'").replace("@", "＠")
    text = _ACCENTED.sub(lambda found: unicodedata.normalize("NFD", found[0])[0], text)
    text = _THOUSANDS.sub("", text)
    return _FACTORIAL.sub("\u203c", _MINUS.sub("\u2212", text)).strip()


def _form(
    read: Reading, quoted: Sequence[str], names: frozenset[str], *, about_words: bool
) -> Form:
    tokens = list(_with_quotations(read.tokens, quoted))
    asked = {token for token in tokens if token.startswith("@")}
    questions = {token for token in asked if token in MOVABLE}
    if len(asked) > 1:
        questions.discard(YES_NO)
    rest = tuple(token for token in tokens if token not in MOVABLE)
    frame = ("past" if read.past else "", "verbatim" if about_words else "")
    key = (*sorted(questions), *frame, *rest)
    return Form(key, rest, frozenset(asked), names, past=read.past, asked=read.asked)


def _names(text: str) -> Iterator[str]:
    """Yield words with a capital that is not their sentence's; a title has too many to tell."""
    found = [] if text.isupper() else _CAPITAL.findall(text)
    if len(found) * 2 <= len(text.split()) + 1:
        yield from (word.casefold() for word in found)


def _without_quotations(text: str) -> tuple[str, list[str]]:
    """Put a mark in place of each quotation: what is quoted counts as it stands."""
    quoted: list[str] = []

    def keep(found: re.Match[str]) -> str:
        if len(quoted) >= 0xFF:
            return found[0]
        quoted.append(next(part for part in found.groups() if part))
        return chr(0xE000 + len(quoted) - 1)

    return _QUOTED.sub(keep, re.sub("[\ue000-\ue0ff]", "", text)), quoted


def _with_quotations(tokens: Sequence[str], quoted: Sequence[str]) -> Iterator[str]:
    for token in tokens:
        place = ord(token) - 0xE000 if len(token) == 1 else -1
        if 0 <= place < len(quoted):
            yield from verbatim(quoted[place])
        else:
            yield token


@cache
def _greetings() -> Mapping[str, str]:
    return {text: group[0] for group in thesaurus.groups("greetings") for text in group[1:]}
