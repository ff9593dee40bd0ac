"""The pictures of where the first token's time went: means by tier, and single requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from firsttoken.core.words import Tier
from reports import style, text
from reports.build import Report
from reports.figure_parts import NARROW
from reports.phases import PHASES, WITHIN_TTFT
from reports.waterfall import MeanPhases, RequestPhases

BAR_INCHES = 0.3
HALF_BAR = 0.33
"""Half of what a bar takes of its line."""
SHOWN_FROM = 0.002
"""A phase that takes less than this share of every bar cannot be seen, and is left out of the
legend."""


REMOTE_NAMES = {
    "connect": "remote: asked, until its headers",
    "wait": "remote: all else until its first token",
}


def _fill(phase: str, tier: str) -> tuple[str, str]:
    fills = style.PHASE_FILLS | style.REMOTE_FILLS if tier == Tier.REMOTE else style.PHASE_FILLS
    return fills[phase]


def _bars(axes: Axes, items: Sequence[MeanPhases | RequestPhases], names: Sequence[str]) -> None:
    """Draw a bar an item, the first on top; zero is when the request was sent."""
    places = np.arange(len(items))[::-1]
    pieces: dict[tuple[str, str], list[list[tuple[float, float]]]] = {}
    for place, item in zip(places, items, strict=True):
        start = -item.phases_ms["late"]
        for phase in PHASES:
            length = item.phases_ms[phase]
            if length > 0:
                low, high, end = place - HALF_BAR, place + HALF_BAR, start + length
                corners = [(start, low), (end, low), (end, high), (start, high)]
                pieces.setdefault(_fill(phase, item.tier), []).append(corners)
            start += length
    for (colour, hatch), shapes in pieces.items():
        # One artist a fill: hundreds of single bars would take as long as all other pictures.
        axes.add_collection(
            PolyCollection(
                shapes, facecolor=colour, hatch=hatch, edgecolor="#ffffff", linewidth=0.4
            ),
            autolim=False,
        )
    axes.set_yticks(places, names)
    for label, item in zip(axes.get_yticklabels(), items, strict=True):
        label.set_color(style.TIER_LOOKS.get(item.tier, style.OTHER_TIER).colour)
    axes.set_ylim(-0.6, len(items) - 0.4)
    axes.grid(visible=False, axis="y")


def _end(item: MeanPhases | RequestPhases) -> float:
    return sum(item.phases_ms[phase] for phase in WITHIN_TTFT)


def _scale(axes: Axes, items: Sequence[MeanPhases | RequestPhases], room: float) -> None:
    late = max(item.phases_ms["late"] for item in items)
    longest = max(_end(item) for item in items)
    axes.set_xlim(-late if late >= 1 else 0, longest * room + 1)


def _labels(
    axes: Axes,
    items: Sequence[MeanPhases | RequestPhases],
    words: Sequence[str],
    target_ms: float,
) -> None:
    """Write beside each bar; beside the target's line where that stands in the way."""
    places = np.arange(len(items))[::-1]
    left, right = axes.get_xlim()
    crossed = (right - left) * 0.3
    for place, item, said in zip(places, items, words, strict=True):
        end = _end(item)
        behind = target_ms - crossed < end < target_ms < right
        axes.annotate(
            said,
            (target_ms if behind else end, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )


def _target(axes: Axes, report: Report) -> None:
    """Draw the target, where it lies within the panel, named at its upper end."""
    if report.ttft_target_ms < axes.get_xlim()[1]:
        axes.axvline(report.ttft_target_ms, color=style.INK, linewidth=1.1, linestyle=(0, (4, 2)))
        axes.annotate(
            f"target {report.ttft_target_ms:g} ms",
            (report.ttft_target_ms, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2),
            textcoords="offset points",
            fontsize=7.5,
            color=style.MUTED,
        )


def _legend(figure: Figure, items: Iterable[MeanPhases | RequestPhases], width: float) -> None:
    """Name the phases that can be seen; the rest in the remote tier apart from the local one."""
    seen: dict[tuple[str, bool], None] = {}
    for phase in PHASES:
        for item in items:
            if item.phases_ms[phase] > SHOWN_FROM * max(_end(item), 1):
                seen[phase, phase in REMOTE_NAMES and item.tier == Tier.REMOTE] = None
    handles = []
    for phase, remote in seen:
        colour, hatch = _fill(phase, Tier.REMOTE if remote else Tier.LOCAL)
        label = REMOTE_NAMES[phase] if remote else PHASES[phase]
        handles.append(Patch(facecolor=colour, hatch=hatch, edgecolor="#ffffff", label=label))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=1 if width < NARROW else 3,
        fontsize=8,
    )


def _legend_inches(width: float) -> float:
    return math.ceil((len(PHASES) + 1) / (1 if width < NARROW else 3)) * 0.18


def first_token_time(report: Report, width: float) -> Figure | None:
    """Draw the mean phases of the time to the first token; a panel a tier, on its own scale."""
    items = report.details.waterfall.means
    if not items:
        return None
    tiers = sorted({item.tier for item in items})
    by_tier = [[item for item in items if item.tier == tier] for tier in tiers]
    counts = [len(group) for group in by_tier]
    height = sum(counts) * 0.32 + len(tiers) * 0.75 + _legend_inches(width) + 0.2
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(
        len(tiers), 1, squeeze=False, gridspec_kw={"height_ratios": [n + 0.6 for n in counts]}
    )
    for axes, tier, group in zip(panels[:, 0], tiers, by_tier, strict=True):
        emulated = tier == Tier.REMOTE and any(report.data.emulated(item.arm) for item in group)
        _bars(axes, group, [f"{item.arm}, {text.users(item.step_users)}" for item in group])
        _scale(axes, group, 1.35)
        _labels(
            axes,
            group,
            [f"{item.ttft_mean_ms:.1f} ms, n={item.n}" for item in group],
            report.ttft_target_ms,
        )
        _target(axes, report)
        axes.set_title(f"tier {tier}" + (" (emulated cloud)" if emulated else ""), pad=14)
    panels[-1, 0].set_xlabel("mean time to first token, ms")
    _legend(figure, items, width)
    return figure


def _named(item: RequestPhases, width: float) -> str:
    """Return what stands beside a bar: TTFT, and who served it and why."""
    served = item.tier
    if item.reason and width >= NARROW:
        served += f", {item.reason}"
    return f"{item.ttft_ms:.1f} ms: {served}"


def waterfall(report: Report, width: float) -> Figure | None:
    """Draw single requests: those at the p50, p95 and p99 of each step, and the slowest."""
    falls = report.details.waterfall
    if not falls.exemplars:
        return None
    arm = falls.exemplars[0].arm
    groups = [
        (
            f"arm {arm}: p50, p95, p99 of each step",
            falls.exemplars,
            [f"{item.name}, {text.users(item.step_users)}" for item in falls.exemplars],
        ),
        (
            f"arm {arm}: its slowest first tokens",
            falls.slowest,
            [f"no. {item.name}, {text.users(item.step_users)}" for item in falls.slowest],
        ),
    ]
    counts = [len(items) for _, items, _ in groups]
    figure = Figure(
        figsize=(width, sum(counts) * BAR_INCHES + 1.6 + _legend_inches(width)),
        layout="constrained",
    )
    panels = figure.subplots(
        len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": [n + 0.6 for n in counts]}
    )
    for axes, (title, items, names) in zip(panels[:, 0], groups, strict=True):
        _bars(axes, items, names)
        _scale(axes, items, 1.4 if width >= NARROW else 1.8)
        _labels(axes, items, [_named(item, width) for item in items], report.ttft_target_ms)
        _target(axes, report)
        axes.set_title(title, pad=14)
    late = any(item.phases_ms["late"] >= 1 for item in falls.slowest)
    panels[-1, 0].set_xlabel(
        "ms since the request was sent" + ("; left of 0: begun late" if late else "")
    )
    _legend(figure, (*falls.exemplars, *falls.slowest), width)
    return figure
