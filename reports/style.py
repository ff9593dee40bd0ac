"""How figures look: colours that a colour-blind reader can tell apart, and shapes beside them.

Ink, grid and band are drawn in the fixed colours of the light theme; :mod:`reports.render` makes
them follow the reader's theme on the page.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import matplotlib as mpl

from firsttoken.core.words import Arm, Tier

INK = "#1b1f24"
MUTED = "#57606a"
GRID = "#d8dee4"
BAND = "#d3ecd9"
SHADE = "#f1f3f5"

LOCAL = "#2a7fc0"
REMOTE = "#d9730d"
CACHE = "#12936f"
OTHER = "#8a6bb8"

DARK_THEME: dict[str, str] = {
    INK: "#e6edf3",
    MUTED: "#9da7b1",
    GRID: "#343b43",
    BAND: "#1d3a29",
    SHADE: "#1b222b",
}
"""What each colour of the light theme becomes in the dark one."""


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, and what tells it without colour."""

    colour: str
    line: Any
    marker: str


ARM_LOOKS: dict[str, Look] = {
    Arm.HYBRID: Look(INK, "-", "o"),
    Arm.LOCAL_ONLY: Look(LOCAL, (0, (6, 2)), "s"),
    Arm.REMOTE_ONLY: Look(REMOTE, (0, (6, 2, 1, 2)), "^"),
    Arm.TARGET: Look(INK, "-", "o"),
    Arm.AGAINST: Look(LOCAL, (0, (6, 2)), "s"),
}
OTHER_ARM = Look(OTHER, (0, (1, 1.5)), "D")

TIER_LOOKS: dict[str, Look] = {
    Tier.LOCAL: Look(LOCAL, "-", "o"),
    Tier.REMOTE: Look(REMOTE, (0, (6, 2, 1, 2)), "^"),
    Tier.CACHE: Look(CACHE, (0, (2, 2)), "s"),
}
OTHER_TIER = Look(MUTED, "-", ".")
TIER_HATCHES: dict[str, str] = {Tier.LOCAL: "", Tier.REMOTE: "////", Tier.CACHE: "xxxx"}
"""Of areas that stand for a tier, so that they can be told without colour."""

PHASE_FILLS: dict[str, tuple[str, str]] = {
    "late": ("#d8dee4", "//"),
    "arrive": ("#57606a", ""),
    "decide": ("#8c959f", ""),
    "lost": ("#c2453d", "xx"),
    "queue": ("#e3b23c", "////"),
    "connect": ("#b7c0c9", "|||"),
    "engine_queue": ("#f0d58a", "---"),
    "load": ("#a77bca", "++"),
    "prefill": (LOCAL, ""),
    "wait": ("#a9cbe8", "\\\\\\"),
    "hold": (CACHE, ""),
    "deliver": ("#1b1f24", ""),
}
"""Colour and hatch of each phase of a first token's time. No dots: a pattern of circles takes a
hundred times the bytes of one of lines."""

REMOTE_FILLS: dict[str, tuple[str, str]] = {"connect": ("#f3c499", "|||"), "wait": (REMOTE, "")}
"""Of the phases that are all a cloud lets see of itself."""

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    # Fixed: otherwise every drawing measures all ticks once more, to see whether one is in the way.
    "axes.titley": 1.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",
    # Otherwise the ids inside an SVG are random and two reports of one run differ.
    "svg.hashsalt": "firsttoken",
}


def applied() -> AbstractContextManager[None]:
    """Draw in this style within a ``with`` block."""
    # The stubs want each key as a literal, which a dictionary of mixed values cannot show.
    return mpl.rc_context(cast("Any", SETTINGS))
