"""The end of a sentence that broke off."""

from __future__ import annotations

FINAL_MARKS = frozenset("。！？!?.…")
"""Marks that end a sentence, in Chinese and in English."""

_OTHER_MARKS = frozenset("，、；：,;:~～—-")

_IDEOGRAPHIC = (("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\uf900", "\ufaff"))
"""Ranges of kana and Chinese characters, after which a sentence ends in ``。``."""


def closing_mark(spoken: str) -> str:
    """Return what finishes the sentence at the end of ``spoken``: a full stop in the language of
    its last letter, Chinese where there is none; empty if it is finished, or if nothing in it can
    be spoken."""
    if not any(map(str.isalnum, spoken)):
        return ""
    for character in reversed(spoken):
        if character in FINAL_MARKS:
            return ""
        if character.isalnum() or character in _OTHER_MARKS:
            break
    letters = (character for character in reversed(spoken) if character.isalpha())
    letter = next(letters, "。")
    if letter == "。" or any(first <= letter <= last for first, last in _IDEOGRAPHIC):
        return "。"
    return "."
