"""Takes from a text what goes round a request and changes nothing in it."""

from __future__ import annotations

import re
from functools import cache

from firsttoken.language import thesaurus

_ROUNDS = 6
_LEAST_LEFT = 2
"""Characters of content that a request in Chinese has at least."""
_NOT_CONTENT = re.compile(r"[怎么办什呢吗啊呀该我你您他她如何是好为可以能应要做的了啥咋哪谁\W]")
_ASKED = re.compile("能|可以|可否|方便|愿意|帮|给我|跟我|麻烦|请(?!问)")
_FAVOUR = re.compile(
    "(?:给我[听看]|听听)?(?:(?:好|行|可以|成)?(?:吗|(?<![什怎])么)|好不好|行不行|可不可以|呗|吧|给我[听看])$"
)
_CLAUSE = re.compile(r"([a-z' ]{1,60})[,:;.!?-]+ +")


def without_courtesy(text: str) -> str:
    """Take greetings, fillers and courtesy from both ends, as long as something is left."""
    text = _stripped(text)
    asked = False
    for name, match in (("start", "match"), ("end", "search")):
        pattern = thesaurus.patterns(f"courtesy/{name}")
        for _ in range(_ROUNDS):
            found = getattr(pattern, match)(text)
            left = _stripped(text[: found.start()] + text[found.end() :]) if found else ""
            if not found or not left:
                break
            asked = asked or _ASKED.search(found[0]) is not None
            text = left
    return _stripped(_FAVOUR.sub("", text) if asked else text)


def _stripped(text: str) -> str:
    return text.lstrip(" ,;!?~。、…").rstrip(" ,.;!?~。、…")


def without_english_fillers(text: str) -> str:
    """Take clauses from the front that consist of nothing but words that ask for an ear."""
    filler = thesaurus.words("en")["filler"]
    while found := _CLAUSE.match(text):
        rest = text[found.end() :]
        if not set(found[1].split()) <= filler or not _says_something(rest):
            break
        text = rest.removeprefix("but ").removeprefix("and ")
    return text


def _says_something(text: str) -> bool:
    lists = thesaurus.words("en")
    empty = lists["filler"] | lists["auxiliary"] | lists["asking"]
    return not empty.issuperset(re.findall("[a-z0-9]+", text))


def without_chinese_fillers(text: str) -> str:
    """Do the same for Chinese, and at the end too."""
    start, end = _filler_clauses()
    for pattern in (start, end):
        found = pattern.search(text)
        left = text[: found.start()] + text[found.end() :] if found else ""
        if len(_NOT_CONTENT.sub("", left)) >= _LEAST_LEFT:
            text = left
    return text


@cache
def _filler_clauses() -> tuple[re.Pattern[str], re.Pattern[str]]:
    filler = sorted(thesaurus.words("zh")["filler"], key=len, reverse=True)
    clause = "(?:" + "|".join(filler) + "){1,8}"
    return re.compile(rf"^(?:{clause}[,:;.。!?~、]+ ?)+"), re.compile(
        rf"[,。!?~、]+{clause}[。!?~]*$"
    )
