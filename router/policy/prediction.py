"""How long a backend takes to its first token, learned from its replies, by prompt length.

An attempt that was given up before its first token says only that it would have lasted longer. To
leave such samples out would make a backend look the faster the more often it is given up
(survivor bias). They are kept as censored ones, and quantiles are those of the product-limit
estimate of Kaplan and Meier (1958), which without censored samples is the plain empirical one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from firsttoken.core.clock import NS_PER_S

BANDS = (256, 512, 1024, 2048, 4096, 8192, 16384)
"""Longest prompt of each band, in characters; one more band holds longer ones."""

WINDOW = 200
"""Samples kept of a band."""

OLDEST_S = 600.0
LEAST_SAMPLES = 20
REUSED_S = 10.0
"""A curve is made anew after this time, since its samples age."""

_ROUNDING = 1e-9


class Sample(NamedTuple):
    """One attempt."""

    seconds: float
    censored: bool
    """Whether it was given up then, without a first token."""


class Curve(NamedTuple):
    """Which share of attempts had their first token after which time."""

    size: int
    """Samples it was made from."""
    times: tuple[float, ...]
    """Seconds, ascending."""
    shares: tuple[float, ...]
    """Share with a first token within each of ``times``, ascending."""
    longest: float
    """The longest sample, censored or not; seconds."""

    def quantile(self, share: float) -> float:
        """Return the shortest time within which ``share`` of the attempts had their token.

        Where too many samples are censored to say, the longest one: it is at least that.
        """
        place = bisect_left(self.shares, share - _ROUNDING)
        return self.times[place] if place < len(self.times) else self.longest


def curve_of(samples: Iterable[Sample]) -> Curve:
    """Return the product-limit estimate of ``samples``."""
    # Of two that took equally long, the one with a token counts first: False sorts before True.
    ordered = sorted(samples)
    times: list[float] = []
    shares: list[float] = []
    without = 1.0
    for rank, (seconds, censored) in enumerate(ordered):
        if not censored:
            without *= 1 - 1 / (len(ordered) - rank)
            times.append(seconds)
            shares.append(1 - without)
    return Curve(len(ordered), tuple(times), tuple(shares), ordered[-1].seconds if ordered else 0.0)


class _Kept(NamedTuple):
    made_ns: int
    seen: int
    curve: Curve


class FirstTokenTimes:
    """What one backend's attempts took to their first token.

    A quantile costs a few microseconds on average: a curve is used again until a twentieth of its
    samples are new, or for :data:`REUSED_S`.
    """

    def __init__(self) -> None:
        number = len(BANDS) + 1
        self._bands: list[deque[tuple[int, Sample]]] = [deque(maxlen=WINDOW) for _ in range(number)]
        self._seen = [0] * number
        """Samples that each band has ever got."""
        self._kept: dict[tuple[int, int], _Kept] = {}

    def observe(self, prompt_chars: int, seconds: float, now_ns: int) -> None:
        """Note an attempt that had its first token after ``seconds``."""
        self._add(prompt_chars, Sample(seconds, censored=False), now_ns)

    def observe_at_least(self, prompt_chars: int, seconds: float, now_ns: int) -> None:
        """Note an attempt that was given up after ``seconds`` without a first token."""
        self._add(prompt_chars, Sample(seconds, censored=True), now_ns)

    def quantile(self, share: float, prompt_chars: int, now_ns: int) -> float | None:
        """Return the time in seconds within which ``share`` of the attempts have their first token.

        From attempts with prompts of about this length; where there are less than
        :data:`LEAST_SAMPLES` of them, with the next shorter and longer ones; then from all. None
        where all are too few.

        Args:
            share: in (0, 1), such as 0.95.
            prompt_chars: length of the prompt.
            now_ns: the present, of the same clock as the samples'.
        """
        band, last = bisect_left(BANDS, prompt_chars), len(BANDS)
        for low, high in ((band, band), (max(0, band - 1), min(last, band + 1)), (0, last)):
            curve = self._curve(low, high, now_ns)
            if curve.size >= LEAST_SAMPLES:
                return curve.quantile(share)
        return None

    def _add(self, prompt_chars: int, sample: Sample, now_ns: int) -> None:
        band = bisect_left(BANDS, prompt_chars)
        self._bands[band].append((now_ns, sample))
        self._seen[band] += 1

    def _curve(self, low: int, high: int, now_ns: int) -> Curve:
        """Return the curve of the bands ``low`` to ``high``, both included."""
        seen = sum(self._seen[low : high + 1])
        kept = self._kept.get((low, high))
        if kept is not None:
            fresh = now_ns - kept.made_ns <= REUSED_S * NS_PER_S
            if fresh and seen - kept.seen <= kept.curve.size // 20:
                return kept.curve
        oldest_ns = now_ns - int(OLDEST_S * NS_PER_S)
        samples = chain.from_iterable(self._bands[low : high + 1])
        curve = curve_of(sample for at_ns, sample in samples if at_ns >= oldest_ns)
        self._kept[low, high] = _Kept(now_ns, seen, curve)
        return curve
