"""How long an engine takes to read a prompt, learned from its replies.

The first token of a prompt comes after a fixed time and a time for each token that was not in the
cache: a straight line through what was seen lately, by least squares with exponential forgetting.
"""

from __future__ import annotations

TOKENS_PER_BYTE = 0.26
"""Of UTF-8, before anything was learned: with a large vocabulary, English and Chinese are near."""

_KEPT = 0.97
"""Weight of what was known, at each new sample."""

_LEAST_SAMPLES = 3.0
_LEAST_SPREAD = 32.0
"""Standard deviation of the tokens read, below which they tell nothing of the time for each."""

_MOSTLY_READING = 512.0
"""Tokens read: for so many, the fixed time is small beside the time for each."""


class Prefill:
    """What is known of one engine and its model."""

    def __init__(self) -> None:
        self._tokens = self._bytes = 0.0
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    @property
    def known(self) -> bool:
        """Whether the engine has told how many tokens a prompt had."""
        return self._bytes > 0

    def tokens(self, size: float) -> float:
        """Return how many tokens ``size`` bytes of a prompt are."""
        return size * (self._tokens / self._bytes if self._bytes else TOKENS_PER_BYTE)

    def counted(self, size: int, tokens: int) -> None:
        """Note that a prompt of ``size`` bytes had so many ``tokens``."""
        if size > 0 and tokens > 0:
            self._bytes = _KEPT * self._bytes + size
            self._tokens = _KEPT * self._tokens + tokens

    def took(self, uncached_tokens: float, seconds: float) -> None:
        """Note how long a first token took after so many tokens that were not in the cache."""
        self._weight = _KEPT * self._weight + 1
        self._x = _KEPT * self._x + uncached_tokens
        self._y = _KEPT * self._y + seconds
        self._xx = _KEPT * self._xx + uncached_tokens**2
        self._xy = _KEPT * self._xy + uncached_tokens * seconds

    def line(self) -> tuple[float, float] | None:
        """Return the fixed time, and the time for each token, in seconds; None where they cannot be
        told yet."""
        if self._weight < _LEAST_SAMPLES * _KEPT**_LEAST_SAMPLES:
            return None
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - mean_x**2
        if variance < _LEAST_SPREAD**2:
            # Of short ones the fixed time is most: charged to the tokens, it would make a longer
            # prompt look far too slow, and no longer one would ever be tried.
            return (0.0, mean_y / mean_x) if mean_x >= _MOSTLY_READING else None
        each = max(0.0, (self._xy / self._weight - mean_x * mean_y) / variance)
        fixed = mean_y - each * mean_x
        # No token comes before it was asked for.
        return (fixed, each) if fixed >= 0 else (0.0, mean_y / mean_x)
