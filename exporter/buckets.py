"""How far a quantile read from a histogram's buckets may be from the true one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from firsttoken.core.catalogue import TTFT_BUCKETS

DRAWS = 20_000
QUANTILES = (0.5, 0.9, 0.95)
_SEED = 20_240_607


@dataclass(frozen=True, slots=True)
class Shape:
    """A lognormal distribution of first-token times."""

    name: str
    median_s: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Layout:
    """The bucket edges of somebody's histogram of first tokens, in seconds."""

    name: str
    edges: tuple[float, ...]


SHAPES = (
    Shape("fast local", 0.220, 0.25),
    Shape("at the target", 0.299, 0.25),
    Shape("narrow", 0.280, 0.12),
    Shape("regressed", 0.380, 0.12),
)
"""Their 95th percentiles are 0.332, 0.451, 0.341 and 0.463 s."""

LAYOUTS = (
    Layout("ours", TTFT_BUCKETS),
    Layout(
        "vLLM",
        (
            *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
            *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
        ),
    ),
    Layout(
        "OpenTelemetry server",
        (
            *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
            *(1.0, 2.5, 5.0, 7.5, 10.0),
        ),
    ),
    Layout("OpenTelemetry client", tuple(0.01 * 2**power for power in range(14))),
)


def histogram_quantile(share: float, edges: Sequence[float], counts: Sequence[float]) -> float:
    """Return a quantile as Prometheus' ``histogram_quantile`` gives it for classic buckets.

    Args:
        share: above 0, at most 1.
        edges: upper edges, ascending, the last one infinite.
        counts: cumulative, one an edge.

    Returns:
        The point of linear interpolation within the first bucket that holds ``share`` of all; the
        first bucket begins at 0; the last finite edge where the quantile is above it; NaN of
        nothing.
    """
    total = counts[-1]
    if not total:
        return math.nan
    rank = share * total
    index = next(number for number, count in enumerate(counts) if count >= rank)
    if index == len(edges) - 1:
        return float(edges[-2])
    low = edges[index - 1] if index else 0.0
    below = counts[index - 1] if index else 0.0
    inside = counts[index] - below
    return float(low + (edges[index] - low) * ((rank - below) / inside))


@cache
def draws(shape: Shape) -> NDArray[np.float64]:
    """Return the draws of a shape in seconds, ascending; the same in every run."""
    random = np.random.default_rng(_SEED)
    return np.sort(random.lognormal(math.log(shape.median_s), shape.sigma, DRAWS))


def exact(shape: Shape) -> tuple[float, ...]:
    """Return the true quantiles of the draws, seconds."""
    return tuple(float(each) for each in np.quantile(draws(shape), QUANTILES))


def counted(values: NDArray[np.float64], edges: Sequence[float]) -> list[float]:
    """Return the cumulative counts of ``edges`` and of infinity; a value on an edge is below it."""
    ordered = np.sort(values)
    return [*map(float, np.searchsorted(ordered, edges, side="right")), float(len(ordered))]


def errors(shape: Shape, edges: Sequence[float]) -> tuple[float, ...]:
    """Return (quantile from the buckets - true quantile) / true quantile, by quantile."""
    counts = counted(draws(shape), edges)
    return tuple(
        histogram_quantile(share, (*edges, math.inf), counts) / true - 1
        for share, true in zip(QUANTILES, exact(shape), strict=True)
    )
