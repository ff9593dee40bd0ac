"""How sure a model is of its reply, from the probabilities of its first tokens.

Not the mean: one token in doubt is what matters, and a mean hides it (Gupta et al., "Language Model
Cascades: Token-level uncertainty and beyond", 2024, find quantiles better). Not the probability of
the token that was chosen: sampling takes an unlikely one now and then. The evidence is the margin
between the two likeliest candidates of each token, and of these margins the lower quartile, so that
one opening word that is always, or never, in doubt does not decide alone.

docs/confidence.md says how the scale was set and how little these figures are worth with a very
small model.
"""

from __future__ import annotations

from math import exp

from firsttoken.wire.events import Probabilities

TOKENS = 3
"""Tokens that are judged. Each that is held back costs a decode step; with more of them the
evidence did not become better."""

HALF_MARGIN = 0.0125
"""The margin that is a confidence of 0.5. It puts the guide's threshold of 0.8 at a margin of 0.05,
below which 9 % of the replies to ordinary requests lay."""


class Confidence:
    """Takes the probabilities of one reply's first tokens."""

    def __init__(self, tokens: int = TOKENS) -> None:
        self._tokens = tokens
        self._margins: list[float | None] = []
        self._evidence = False

    @property
    def complete(self) -> bool:
        """Whether all tokens that are judged have come."""
        return len(self._margins) >= self._tokens

    def take(self, event: Probabilities) -> None:
        """Take the tokens of one frame; what comes after the last one that is judged is left."""
        for chosen, other in zip(event.logprobs, event.runners_up, strict=True):
            if self.complete:
                return
            self._evidence = self._evidence or chosen != 0.0
            self._margins.append(None if other is None else abs(exp(chosen) - exp(other)))

    def value(self) -> float | None:
        """Return the confidence in [0, 1]; None, unknown, where there is no evidence.

        That is: too few tokens so far, no second candidate named, or a logarithm of exactly 0 for
        every token, which is what llama.cpp gives with speculative decoding, whatever it thinks.
        """
        margins = sorted(margin for margin in self._margins if margin is not None)
        if not self._evidence or len(margins) < self._tokens:
            return None
        margin = lower_quartile(margins)
        return margin / (margin + HALF_MARGIN)


def lower_quartile(ascending: list[float]) -> float:
    """Return the 25 % quantile, by linear interpolation between the two nearest ranks."""
    place = 0.25 * (len(ascending) - 1)
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (place - below) * (ascending[above] - ascending[below])
