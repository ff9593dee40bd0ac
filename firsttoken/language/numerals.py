"""Numbers written in words, zh and en, as digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from firsttoken.language import thesaurus

_DIGITS = {mark: value for value, mark in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_POWERS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "亿": 10**8}
_RUN = re.compile(
    r"[零〇一二两三四五六七八九十百千万亿]+(?:点[零〇一二三四五六七八九]+(?![十百千分]))?"
)
_SHARE = re.compile(r"(百|千)分之(\d+(?:\.\d+)?)")
_CLOCK = re.compile(r"(?<!\d)(\d{1,2}):(\d{2})(?!\d)")

_LARGE = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_ORDINAL_DIGITS = re.compile(r"(\d+)(?:st|nd|rd|th)")


def chinese_digits(text: str) -> str:
    """Write Chinese numerals in digits: 两百五 as 250, 三点五 as 3.5, 百分之五 as 5%.

    A run that is no number by itself (百科, 万一) stays as it is. Words that contain a numeral are
    changed too: what the result is compared with has gone the same way.
    """
    text = _RUN.sub(lambda found: _number(found[0]), text)
    text = _SHARE.sub(lambda found: found[2] + ("%" if found[1] == "百" else "‰"), text)
    return _CLOCK.sub(lambda found: f"{int(found[1])}点{int(found[2])}分", text)


def _number(run: str) -> str:
    whole, _, fraction = run.partition("点")
    if not set(whole) - set(_DIGITS):
        value = "".join(str(_DIGITS[mark]) for mark in whole)
    else:
        counted = _count(whole)
        if counted is None:
            return run
        value = str(counted)
    return value + ("." + "".join(str(_DIGITS[mark]) for mark in fraction) if fraction else "")


def _count(run: str) -> int | None:
    """Return the value of numerals with powers of ten, None where they are no number."""
    total = section = 0
    digit: int | None = None
    power = 1
    for mark in run:
        if mark in _DIGITS:
            digit, power = _DIGITS[mark], (1 if _DIGITS[mark] == 0 else power)
        elif mark in _POWERS:
            if digit is None and (mark != "十" or section):
                return None
            section += (1 if digit is None else digit) * _POWERS[mark]
            digit, power = None, _POWERS[mark]
        else:
            section += digit or 0
            if section == 0:
                return None
            total = (total + section) * 10**8 if mark == "亿" else total + section * 10**4
            section = 0
            digit, power = None, _MYRIADS[mark]
    # A last digit without its power counts tenths of the power before it: 两百五 is 250.
    return total + section + (digit or 0) * (power // 10 if power >= 100 else 1)


def english_digits(tokens: Sequence[str]) -> list[str]:
    """Write number words in digits: "twenty one" as 21, "third" and "3rd" as ``ord:3``."""
    small, place = _numerals()
    found: list[str] = []
    at = 0
    while at < len(tokens):
        word = tokens[at]
        ordinal = _ORDINAL_DIGITS.fullmatch(word)
        if ordinal:
            found.append(f"ord:{int(ordinal[1])}")
        elif word in small:
            at, number = _spoken(tokens, at)
            found.append(number)
            continue
        elif word in place:
            found.append(f"ord:{place[word]}")
        else:
            found.append(word)
        at += 1
    return found


def _spoken(tokens: Sequence[str], at: int) -> tuple[int, str]:
    """Read one spoken number; return where it ends, and its digits."""
    small, place = _numerals()
    total, section = 0, small[tokens[at]]
    last = section
    at += 1
    while at < len(tokens):
        word = tokens[at]
        if word in _LARGE:
            scale = _LARGE[word]
            if scale == 100:
                section *= 100
            else:
                total, section = total + section * scale, 0
            last = scale
        elif word in small and (last >= 100 or (last >= 20 and 0 < small[word] < 10)):
            section += small[word]
            last = small[word]
        elif word in place and last >= 20 and 0 < place[word] < 10:
            return at + 1, f"ord:{total + section + place[word]}"
        else:
            break
        at += 1
    return at, str(total + section)


@cache
def _numerals() -> tuple[dict[str, int], dict[str, int]]:
    """Return the values of number words and of the words for places."""
    rows = [line.split() for line in thesaurus.lines("en_numerals")]
    return {row[1]: int(row[0]) for row in rows}, {row[2]: int(row[0]) for row in rows}
