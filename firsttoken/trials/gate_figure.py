"""The power of the gate as a picture: how often it is red, by how much slower the candidate is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from reports.style import BAND, INK, LOCAL, MUTED, OTHER, REMOTE, SETTINGS, applied

_Line = tuple[str, Any, str]
"""Colour, dashes, marker."""

_LINES: tuple[_Line, ...] = (
    (LOCAL, (0, (1, 1.5)), "s"),
    (OTHER, (0, (5, 2)), "^"),
    (INK, "-", "o"),
)
_PEERS: tuple[_Line, ...] = (
    (REMOTE, (0, (6, 2, 1, 2)), "D"),
    (MUTED, (0, (3, 1)), "v"),
    (REMOTE, (0, (1, 1)), "x"),
)
WANTED_POWER = 0.95


@dataclass(frozen=True, slots=True)
class Panel:
    """One way of being slower: shares of red pairs by shift, for each line."""

    title: str
    axis: str
    shifts: Sequence[float]
    gate: Mapping[int, Sequence[float]]
    """By requests a side."""
    peers: Mapping[str, Sequence[float]]
    """By rule, at the most requests."""
    asked: float
    """The shift that has to be shown."""


def draw(panels: Sequence[Panel], path: Path, *, caption: str) -> None:
    """Draw the panels beside each other into a PNG file."""
    with applied():
        figure = Figure(figsize=(11.0, 5.4), layout="constrained", facecolor="white")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            axis.axhspan(WANTED_POWER, 1.02, color=BAND, zorder=0)
            axis.axvline(panel.asked, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)))
            for (n, shares), (colour, line, marker) in zip(
                panel.gate.items(), _LINES, strict=False
            ):
                axis.plot(
                    panel.shifts,
                    shares,
                    color=colour,
                    linestyle=line,
                    marker=marker,
                    markersize=4,
                    linewidth=1.8,
                    label=f"this gate, {n} requests a side",
                )
            for (name, shares), (colour, line, marker) in zip(
                panel.peers.items(), _PEERS, strict=False
            ):
                axis.plot(
                    panel.shifts,
                    shares,
                    color=colour,
                    linestyle=line,
                    marker=marker,
                    markersize=4,
                    linewidth=1.2,
                    label=name,
                )
            axis.set_title(panel.title)
            axis.set_xlabel(panel.axis)
            axis.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axis.set_xlim(-0.005, max(panel.shifts) + 0.005)
            axis.set_ylim(-0.02, 1.02)
        axes[0].set_ylabel("pairs called a regression")
        axes[0].text(
            0.0, 0.955, "at least 95 % wanted", fontsize=8, color=SETTINGS["axes.labelcolor"]
        )
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
        figure.suptitle(caption, fontsize=9, color=MUTED)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)
