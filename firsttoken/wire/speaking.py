"""How long a device takes to speak a text."""

from __future__ import annotations

CHINESE_PER_SECOND = 4.5
"""Characters: what voice servers' own speech makes of Chinese, four to five a second."""
ENGLISH_PER_SECOND = 15.0
"""Letters, digits and spaces: about 150 words a minute."""

FIRST_EASTERN = "\u2e80"
"""Where the scripts of which one character is a syllable or more begin in Unicode."""


def spoken_seconds(
    text: str,
    chinese_per_second: float = CHINESE_PER_SECOND,
    english_per_second: float = ENGLISH_PER_SECOND,
) -> float:
    """Return how long ``text`` is when spoken, seconds.

    Each Chinese (Japanese, Korean) character takes ``1 / chinese_per_second``, each letter, digit
    and space of other scripts ``1 / english_per_second``. Punctuation and emoji take no time.
    """
    chinese = english = 0
    for character in text:
        if character >= FIRST_EASTERN:
            chinese += character.isalnum()
        else:
            english += character.isalnum() or character == " "
    return chinese / chinese_per_second + english / english_per_second
