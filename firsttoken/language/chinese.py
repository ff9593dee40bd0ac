"""Reads the words of a Chinese text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

from firsttoken.language import thesaurus
from firsttoken.language.numerals import chinese_digits
from firsttoken.language.reading import TOKEN, YES_NO, Reading, collapsed, is_dropped, rewritten

_LONGEST_WORD = 10
_FINAL_QUESTION = re.compile(r"(?:吗|嘛|(?<![什怎那这多要])么)(?=\W*$)")
_SIGNS = (
    (re.compile(r"(?<=\d) ?[×*x] ?(?=\d)|乘以"), "乘"),
    (re.compile(r"(?<=\d) ?\+ ?(?=\d)"), "加"),
    (re.compile(r"(?<=\d) ?÷ ?(?=\d)"), "除以"),
)


def read(text: str, *, asks: bool) -> Reading:
    """Read a text; ``asks`` is whether it ended in a question mark."""
    asked = text
    for other, name in thesaurus.variants("zh").items():
        text = text.replace(other, name)
    text, particles = _FINAL_QUESTION.subn(YES_NO, _without_ending(text))
    for sign, word in _SIGNS:
        text = sign.sub(word, text)
    text = chinese_digits(rewritten(_without_ending(text), "zh"))
    if not re.search(r"\d.*\d", text):
        text = re.sub(
            r"(?<![第\d.])1(?:个(?![人半])|种|位|名|只|头|条|件|部(?!分)|道|首|篇)", "", text
        )
    text = re.sub(r"(\d+点)半", r"\g<1>30分", text)
    text = re.sub(r"(\d+)000米", r"\1公里", text)
    found = list(_chinese_words(text))
    tokens = [name for _, name in found if name]
    if (asks or particles) and not any(token.startswith("@") for token in tokens):
        tokens.append(YES_NO)
    return Reading(tokens, asked, collapsed=collapsed(found))


def _without_ending(text: str) -> str:
    """Take the particles from the end of a text, unless they end a word that is known."""
    endings, whole = thesaurus.words("zh")["ending"], thesaurus.words("zh")["whole"]
    text = text.rstrip(" ,.!?;~。、")
    while len(text) > 2 and text[-1] in endings and text[-2:] not in whole:
        text = text[:-1].rstrip(" ,.!?;~。、")
    return text


def _chinese_words(text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a text and the name of each, empty where it says nothing."""
    known = _chinese_names()
    at = 0
    while at < len(text):
        for size in range(min(_LONGEST_WORD, len(text) - at), 0, -1):
            word = text[at : at + size]
            if word in known and not _inside_word(text, at, size):
                yield word, known[word]
                break
        else:
            found = TOKEN.match(text, at)
            word = found[0] if found else text[at]
            if word.strip() and not is_dropped(word):
                yield word, str(float(word)) if re.fullmatch(r"\d+\.\d+", word) else word
        at += len(word)


def _inside_word(text: str, at: int, size: int) -> bool:
    """Whether an entry that ends in a Latin letter or a digit goes on where it should end."""
    last, following = text[at + size - 1], text[at + size : at + size + 1]
    return bool(following.isascii() and last.isascii() and following) and (
        (last.isalpha() and following.isalpha()) or (last.isdigit() and following.isdigit())
    )


@cache
def _chinese_names() -> Mapping[str, str]:
    lists = thesaurus.words("zh")
    known = {chinese_digits(word): "" for word in lists["dropped"]}
    single = [word for name, found in lists.items() if name != "dropped" for word in found]
    single += [word for pair in thesaurus.opposites("zh") for word in pair]
    known |= {chinese_digits(word): chinese_digits(word) for word in single if len(word) > 1}
    for first, *others in thesaurus.groups("zh_synonyms"):
        known |= {chinese_digits(word): chinese_digits(first) for word in (first, *others)}
    return known
