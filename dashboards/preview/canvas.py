"""A picture that is drawn on in pixels from its upper left corner."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any, Literal, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle

from dashboards.preview.layout import Box, clipped

DPI = 100
INK = "#1b1f24"
MUTED = "#57606a"
GRID = "#e4e8ec"
FRAME = "#d8dee4"
PAPER = "#ffffff"
GROUND = "#f4f5f6"
FAMILY = "DejaVu Sans"

SETTINGS: dict[str, Any] = {
    "font.family": FAMILY,
    "svg.fonttype": "path",
    # Otherwise the ids inside an SVG are random, and two pictures of one board differ.
    "svg.hashsalt": "firsttoken",
    "path.simplify": True,
}

Format = Literal["png", "svg"]
Align = Literal["left", "center", "right"]


class Canvas:
    """One picture. Sizes are pixels, also those of letters."""

    def __init__(self, width: int, height: int) -> None:
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=GROUND)
        self._renderer = cast("Any", FigureCanvasAgg(self._figure)).get_renderer()
        self._width, self._height = width, height

    def box(self, box: Box, fill: str, *, edge: str | None = None, rounded: bool = False) -> None:
        """Fill a rectangle."""
        x, y = box.x, self._height - box.bottom
        style: dict[str, Any] = {
            "facecolor": fill,
            "edgecolor": edge or "none",
            "linewidth": 0.8 if edge else 0,
            "transform": None,
        }
        patch = (
            FancyBboxPatch((x, y), box.w, box.h, boxstyle="round,pad=0,rounding_size=3", **style)
            if rounded
            else Rectangle((x, y), box.w, box.h, **style)
        )
        self._figure.add_artist(patch)

    def rule(self, x: float, right: float, y: float, colour: str) -> None:
        """Draw a thin horizontal line."""
        level = self._height - y
        line = Line2D([x, right], [level, level], color=colour, linewidth=0.5, transform=None)
        self._figure.add_artist(line)

    def text(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float = 11,
        colour: str = INK,
        bold: bool = False,
        align: Align = "left",
        room: float | None = None,
    ) -> None:
        """Write one line whose middle is at the height ``y``; cut where it is wider than
        ``room``."""
        shown = (
            text
            if room is None
            else clipped(text, room, lambda part: self.width(part, size, bold=bold))
        )
        self._figure.text(
            x,
            self._height - y,
            shown,
            fontsize=size * 72 / DPI,
            color=colour,
            fontweight="bold" if bold else "normal",
            ha=align,
            va="center_baseline",
            transform=None,
            zorder=3,
            parse_math=False,
        )

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        """Return how wide a line is; pixels."""
        font = FontProperties(
            family=FAMILY, size=size * 72 / DPI, weight="bold" if bold else "normal"
        )
        width, _, _ = self._renderer.get_text_width_height_descent(text, font, ismath=False)
        return float(width)

    def axes(self, box: Box) -> Axes:
        """Return axes that fill a rectangle, with a quiet grid."""
        axes = self._figure.add_axes(
            (
                box.x / self._width,
                1 - box.bottom / self._height,
                box.w / self._width,
                box.h / self._height,
            ),
            facecolor="none",
            zorder=2,
        )
        axes.tick_params(
            length=0,
            labelsize=10 * 72 / DPI,
            labelcolor=MUTED,
            pad=7 * 72 / DPI,
            labelfontfamily=FAMILY,
        )
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.grid(visible=True, color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        return axes

    def written(self, form: Format) -> bytes:
        """Return the picture; the same bytes for the same drawing."""
        stream = io.BytesIO()
        if form == "svg":
            self._figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
            return stream.getvalue()
        from PIL import Image  # noqa: PLC0415 - for pictures of points alone

        self._figure.savefig(stream, format="rgba")
        size = (self._width, self._height)
        picture = Image.frombytes("RGBA", size, stream.getvalue()).convert("RGB")
        # A board has few colours; a palette makes the file a third as large.
        small = picture.quantize(255, dither=Image.Dither.NONE)
        out = io.BytesIO()
        small.save(out, format="PNG", optimize=True)
        return out.getvalue()


def styled() -> AbstractContextManager[None]:
    """Draw in the style of previews within a ``with`` block."""
    # The stubs want each key as a literal, which a dictionary of mixed values cannot show.
    return mpl.rc_context(cast("Any", SETTINGS))
