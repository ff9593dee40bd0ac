"""The picture of first tokens by concurrency and prompt length: a map an arm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from firsttoken.core.words import Arm
from reports import style, text
from reports.build import Report
from reports.figure_parts import NARROW, arm_label, small_print
from reports.heat_map import PromptCell, band_name
from reports.statistics import minimum_n

SHADES: tuple[tuple[float, str, str], ...] = (
    (0.5, "#deebf7", "#1b1f25"),
    (1.0, "#9ecae1", "#1b1f25"),
    (2.0, "#fdb366", "#1b1f25"),
    (5.0, "#d95f0e", "#ffffff"),
    (math.inf, "#7f2704", "#ffffff"),
)
"""Up to how many times the target, the colour of the cell, and of what is written into it: the same
in both themes. Darker is later, with colour or without."""

MOST_ARMS = 2
"""The judged one, and the first other: the local engine alone where it was measured."""
BESIDE_COLUMNS = 12
"""Up to so many columns in all, the maps stand side by side."""

Band = tuple[int | None, int | None]


def _shade(value: float, target: float) -> tuple[str, str]:
    return next((fill, ink) for most, fill, ink in SHADES if value <= most * target)


def _words(item: PromptCell, report: Report) -> str:
    value = item.ttft_p95_ms
    if math.isinf(value):
        return f"{text.NEVER}\nn={item.n}"
    late = " ▲" if value > report.ttft_target_ms else ""
    few = "~" if item.n < minimum_n(0.95) else ""
    return f"{few}{value:.0f}{late}\nn={item.n}"


def _map(
    axes: Axes,
    report: Report,
    items: Sequence[PromptCell],
    places: tuple[list[int], list[Band]],
    *,
    upright: bool,
) -> None:
    """Draw the cells of one arm; ``upright``: prompts downwards, as a phone has room."""
    steps, bands = places
    found = {(item.step_users, (item.tokens_from, item.tokens_to)): item for item in items}
    tiles: dict[str, list[list[tuple[float, float]]]] = {}
    for row, step in enumerate(steps):
        for column, band in enumerate(bands):
            x, y = (row, column) if upright else (column, row)
            item = found.get((step, band))
            if item is None:
                fill, ink, words = "none", style.MUTED, "none"
            else:
                fill, ink = _shade(item.ttft_p95_ms, report.ttft_target_ms)
                words = _words(item, report)
            left, right, low, high = x - 0.48, x + 0.48, y - 0.46, y + 0.46
            corners = [(left, low), (right, low), (right, high), (left, high)]
            tiles.setdefault(fill, []).append(corners)
            axes.text(x, y, words, ha="center", va="center", fontsize=8, color=ink)
    for fill, shapes in tiles.items():
        axes.add_collection(
            PolyCollection(shapes, facecolor=fill, edgecolor=style.GRID), autolim=False
        )
    users, lengths = [str(step) for step in steps], [band_name(*band) for band in bands]
    across, down = (users, lengths) if upright else (lengths, users)
    axes.set_xticks(range(len(across)), across, fontsize=8)
    axes.set_yticks(range(len(down)), down, fontsize=8)
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(len(down) - 0.5, -0.5) if upright else axes.set_ylim(-0.5, len(down) - 0.5)
    axes.set_ylabel("prompt tokens" if upright else "users")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def heat_map(report: Report, width: float) -> Figure | None:
    """Draw TTFT p95 by users and prompt length; None where no prompt's length is known."""
    cells = report.details.prompt_lengths
    if not cells:
        return None
    rank = {report.judged_arm: 0, Arm.LOCAL_ONLY: 1}
    arms = sorted({item.arm for item in cells}, key=lambda arm: (rank.get(arm, 2), arm))[:MOST_ARMS]
    narrow = width < NARROW
    chosen = [item for item in cells if item.arm in arms]
    steps = sorted({item.step_users for item in chosen})
    bands: list[Band] = sorted(
        {(item.tokens_from, item.tokens_to) for item in chosen},
        key=lambda band: (band[0] is None, band[0] or 0),
    )
    beside = not narrow and len(bands) * len(arms) <= BESIDE_COLUMNS
    lines, columns = (1, len(arms)) if beside else (len(arms), 1)
    inches = (len(bands) if narrow else len(steps)) * 0.44 + 0.6
    figure = Figure(figsize=(width, inches * lines + 1.1), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, arm in zip(panels, arms, strict=True):
        mine = [item for item in chosen if item.arm == arm]
        _map(axes, report, mine, (steps, bands), upright=narrow)
        axes.set_title(arm_label(report, arm))
        if beside or arm == arms[-1]:
            axes.set_xlabel("users" if narrow else "prompt tokens")
    _legend(figure, report, narrow)
    words = (
        "in the cells: TTFT p95 in ms, requests; "
        f"▲ over the target of {report.ttft_target_ms:g} ms; "
        f"~ fewer requests than a claim takes ({minimum_n(0.95)}); none: no such request; "
        "unknown: not told, as of most failures"
    )
    small_print(figure, words, width)
    return figure


def _legend(figure: Figure, report: Report, narrow: bool) -> None:
    handles = []
    for most, fill, _ in SHADES:
        limit = most * report.ttft_target_ms
        over = SHADES[-2][0] * report.ttft_target_ms
        label = f"up to {limit:g} ms" if math.isfinite(most) else f"over {over:g} ms, or never"
        handles.append(Patch(facecolor=fill, edgecolor=style.GRID, label=label))
    figure.legend(
        handles=handles, loc="outside upper left", ncols=2 if narrow else len(SHADES), fontsize=8
    )
