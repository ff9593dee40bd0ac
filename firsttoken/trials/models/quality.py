"""A small quality check in Chinese and English: twenty questions, each with a judge that a reader
can follow by hand.

It tells a model that answers from one that does not; it is no benchmark of knowledge. With
20 questions the interval of a share is some 40 points wide, and of the questions that want a yes
or a no, half are right by chance.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

MAX_TOKENS = 48
"""Of an answer: each question asks for a few words."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question."""

    name: str
    language: str
    """``zh`` or ``en``."""
    kind: str
    """What it asks of the model: fact, arithmetic, instruction, copy, or yes/no."""
    prompt: str
    accepted: tuple[str, ...]
    """Any one of these suffices."""
    judge: str
    """Name of one of :data:`JUDGES`."""


def normalise(answer: str) -> str:
    """Return what is compared: full-width forms made half-width (Unicode NFKC), lower case, marks
    and spaces at both ends gone, inner punctuation made spaces, runs of spaces made one.

    A point or comma between two digits stays, and a minus before a digit: 3.5 is not 3 5.
    """
    text = unicodedata.normalize("NFKC", answer).casefold()
    kept = []
    for place, sign in enumerate(text):
        before = text[place - 1] if place else " "
        after = text[place + 1] if place + 1 < len(text) else " "
        numeral = (sign in ".," and before.isdigit() and after.isdigit()) or (
            sign == "-" and after.isdigit() and not before.isalnum()
        )
        spoken = unicodedata.category(sign)[0] in "LNM"
        kept.append(sign if spoken or numeral else " ")
    return " ".join("".join(kept).split())


_NUMERALS = "〇零一二两三四五六七八九十百千万"
_NO_ANSWERS = ("对不起", "不好意思", "不知道", "不清楚", "不确定", "是不是")
"""Apologies, ignorance and a question back: they begin as an answer does, and are none."""


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= sign <= "\u9fff" for sign in text)


def _equals(answer: str, wanted: str) -> bool:
    # Chinese is written without spaces: those that punctuation left mean nothing there.
    if _is_chinese(wanted):
        return answer.replace(" ", "") == wanted.replace(" ", "")
    return answer == wanted


def _contains(answer: str, wanted: str) -> bool:
    if _is_chinese(wanted):
        said = answer.replace(" ", "")
        if not set(wanted) <= set(_NUMERALS):
            return wanted.replace(" ", "") in said
        # Whole numbers here too: 十四 is not in 二十四.
        return re.search(f"(?<![{_NUMERALS}]){wanted}(?![{_NUMERALS}])", said) is not None
    # Whole words and whole numbers: 12 is in "12 apples" and in 是12个, not in 120, 12.5 or -12.
    pattern = rf"(?<![a-z0-9.,\-]){re.escape(wanted)}(?![a-z0-9]|[.,][0-9])"
    return re.search(pattern, answer) is not None


def _starts(answer: str, wanted: str) -> bool:
    if _is_chinese(wanted):
        said = answer.replace(" ", "")
        return said.startswith(wanted) and not said.startswith(_NO_ANSWERS)
    return answer == wanted or answer.startswith(f"{wanted} ")


JUDGES: dict[str, Callable[[str, str], bool]] = {
    "equals": _equals,
    "contains": _contains,
    "starts": _starts,
}
"""By name: whether a normalised answer meets a normalised accepted one. Chinese is compared as
characters, anything else as whole words."""


def judge(item: Item, answer: str) -> bool:
    """Return whether ``answer`` is right; an empty one never is."""
    said = normalise(answer)
    meets = JUDGES[item.judge]
    return bool(said) and any(meets(said, normalise(wanted)) for wanted in item.accepted)


ITEMS: tuple[Item, ...] = (
    Item("en-capital", "en", "fact", "What is the capital of France? Answer with the city only.",
         ("paris",), "contains"),
    Item("en-week", "en", "fact", "How many days are there in a week? Answer with the number only.",
         ("7", "seven"), "contains"),
    Item("en-boil", "en", "fact",
         "At how many degrees Celsius does water boil at sea level? Answer with the number only.",
         ("100",), "contains"),
    Item("en-add", "en", "arithmetic", "What is 7 + 5? Answer with the number only.",
         ("12",), "contains"),
    Item("en-times", "en", "arithmetic", "What is 6 times 8? Answer with the number only.",
         ("48",), "contains"),
    Item("en-word", "en", "instruction", "Reply with the single word: ready", ("ready",), "equals"),
    Item("en-opposite", "en", "instruction", "Give the opposite of 'hot' in one word.",
         ("cold", "cool"), "equals"),
    Item("en-copy", "en", "copy", "Repeat exactly and add nothing: The lamp in room 4 is off.",
         ("the lamp in room 4 is off",), "equals"),
    Item("en-yes", "en", "yes/no", "Is ice colder than steam? Answer yes or no.",
         ("yes",), "starts"),
    Item("en-no", "en", "yes/no", "Can a fish ride a bicycle to school? Answer yes or no.",
         ("no",), "starts"),
    Item("zh-capital", "zh", "fact", "中国的首都是哪座城市？只回答城市名。", ("北京",), "contains"),
    Item("zh-year", "zh", "fact", "一年有几个月？只回答数字。", ("12", "十二"), "contains"),
    Item("zh-sun", "zh", "fact", "太阳从哪个方向升起？只回答一个方向。", ("东",), "contains"),
    Item("zh-add", "zh", "arithmetic", "八加九等于多少？只回答数字。", ("17", "十七"), "contains"),
    Item("zh-minus", "zh", "arithmetic", "二十减六等于多少？只回答数字。",
         ("14", "十四"), "contains"),
    Item("zh-word", "zh", "instruction", "请只回复两个字：收到", ("收到",), "equals"),
    Item("zh-opposite", "zh", "instruction", "“大”的反义词是什么？只回答一个字。",
         ("小",), "equals"),
    Item("zh-copy", "zh", "copy", "请原样重复这句话，不要加别的：客厅的灯已经关了。",
         ("客厅的灯已经关了",), "equals"),
    Item("zh-yes", "zh", "yes/no", "冬天通常比夏天冷吗？只回答是或不是。", ("是", "对"), "starts"),
    Item("zh-no", "zh", "yes/no", "石头会自己走路吗？只回答会或不会。",
         ("不会", "不", "否"), "starts"),
)  # fmt: skip
"""Our own; asked in this order, each in a conversation of its own, temperature 0."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model made of one question."""

    item: str
    text: str
    right: bool
    failed: str | None = None
    """Why there was no answer; None where there was one."""
