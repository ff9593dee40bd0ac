"""First tokens by concurrency and prompt length: where the time goes when prompts grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.load import Cell, RunData, delays_ms
from reports.statistics import FloatArray, quantile_rank

MOST_BANDS = 8
"""More do not fit a phone."""


@dataclass(frozen=True, slots=True)
class PromptCell:
    """The first tokens of one arm at one step whose prompts were of about one length.

    Requests without a first token count as infinitely late.
    """

    arm: str
    step_users: int
    tokens_from: int | None
    """Fewest tokens of the band; None: the prompt's length is not known, as of most failures."""
    tokens_to: int | None
    """Most tokens of the band."""
    n: int
    ttft_p50_ms: float
    ttft_p95_ms: float
    """Of the sample: what a cell of few requests shows is no claim."""

    @property
    def band(self) -> str:
        """The band in words: ``64–95``."""
        return band_name(self.tokens_from, self.tokens_to)


def band_name(tokens_from: int | None, tokens_to: int | None) -> str:
    """Return a band of prompt lengths in words."""
    return "unknown" if tokens_from is None else f"{tokens_from}–{tokens_to}"


def band_edges(shortest: int, longest: int) -> list[int]:
    """Return where bands of prompt length begin, and the end of the last one.

    At most :data:`MOST_BANDS`, as fine as that allows: each half as long again as the one before,
    else twice, four times and so on. Edges are powers of two and the middles between them whatever
    the run, so that two runs can be laid side by side.
    """
    fine = sorted([0, *(2**k for k in range(4, 32)), *(3 * 2**k for k in range(3, 30))])
    ladders = [fine, *([0, *(2**k for k in range(4, 40, step))] for step in (1, 2, 3, 4, 8))]
    for ladder in ladders:
        first = max(index for index, edge in enumerate(ladder) if edge <= max(shortest, 0))
        last = next((i for i, edge in enumerate(ladder) if edge > longest), len(ladder) - 1)
        if last - first <= MOST_BANDS:
            break
    return ladder[first : last + 1]


def _quantile(delays: FloatArray, p: float) -> float:
    """Return the sample quantile of at least one delay, rounded."""
    rank = quantile_rank(delays.size, p) - 1
    return round(float(np.partition(delays, rank)[rank]), 1)


def _of_cell(cell: Cell, edges: Sequence[int], target_ms: float) -> list[PromptCell]:
    delays = delays_ms(cell.rows, target_ms)
    tokens = cell.rows["prompt_tokens"].to_numpy(dtype=np.float64, na_value=np.nan)
    # Band 0 is that of the unknown; lengths beyond the last edge belong to the last band.
    band = np.digitize(tokens, edges[:-1]) if len(edges) else np.zeros(tokens.size, dtype=np.intp)
    band = np.where(np.isnan(tokens), 0, band)
    found = []
    for number in range(max(len(edges), 1)):
        mine = delays[band == number]
        mine = mine[~np.isnan(mine)]
        if mine.size:
            low, high = (None, None) if number == 0 else (edges[number - 1], edges[number] - 1)
            found.append(
                PromptCell(
                    cell.arm,
                    cell.step_users,
                    low,
                    high,
                    int(mine.size),
                    _quantile(mine, 0.5),
                    _quantile(mine, 0.95),
                )
            )
    # The unknown come last.
    return sorted(found, key=lambda item: (item.tokens_from is None, item.tokens_from or 0))


def prompt_cells(data: RunData, target_ms: float) -> tuple[PromptCell, ...]:
    """Return first tokens by arm, step and band of prompt length; only what has requests.

    ``target_ms`` tells which cancelled requests were late. Empty where no request of the run tells
    the length of its prompt.
    """
    extremes = []
    for cell in data.cells:
        known = cell.rows["prompt_tokens"].dropna()
        if len(known):
            extremes += [int(known.min()), int(known.max())]
    if not extremes:
        return ()
    edges = band_edges(min(extremes), max(extremes))
    return tuple(item for cell in data.cells for item in _of_cell(cell, edges, target_ms))
