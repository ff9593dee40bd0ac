"""Seeded draws: the same seed and labels give the same number in every process and release."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from statistics import NormalDist


def uniform(seed: int, *labels: str) -> float:
    """Return a number in the open interval (0, 1), fixed by ``seed`` and ``labels``.

    Different labels give independent numbers: the first 52 bits of a BLAKE2b hash, so that neither
    the order of requests nor what else was drawn plays a part.
    """
    text = "\x1f".join((str(seed), *labels))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / (1 << 52)


@dataclass(frozen=True, slots=True)
class Span:
    """A range from ``low`` to ``high`` of whatever unit the option says, ``0 <= low <= high``."""

    low: float
    high: float

    def at(self, share: float) -> float:
        """Return the value that lies ``share`` of the way from ``low`` to ``high``."""
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A lognormal distribution: ``log(x)`` is normal with mean ``mu`` and deviation ``sigma``."""

    mu: float
    sigma: float

    @classmethod
    def from_quantiles(cls, span: Span, share: float = 0.90) -> Lognormal:
        """Return the one with ``share`` of its mass in ``span`` and equal tails outside.

        With ``share`` 0.90 the 5 % quantile is ``span.low`` and the 95 % quantile ``span.high``:
        log x is normal, so mu = (log low + log high) / 2 and
        sigma = (log high - log low) / (2 z), z being the normal's (1 + share) / 2 quantile.

        Raises:
            ValueError: ``span.low`` is not positive.
        """
        if span.low <= 0:
            raise ValueError(f"a lognormal has no quantile at {span.low}")
        low, high = math.log(span.low), math.log(span.high)
        z = NormalDist().inv_cdf((1 + share) / 2)
        return cls(mu=(low + high) / 2, sigma=(high - low) / (2 * z))

    def quantile(self, share: float) -> float:
        """Return the value below which lies ``share`` of the mass, ``0 < share < 1``."""
        return math.exp(self.mu + self.sigma * NormalDist().inv_cdf(share))
