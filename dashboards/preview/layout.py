"""Where things stand on the picture, in pixels from its upper left corner."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dashboards.preview.model import Panel, Place

COLUMNS = 24
UNIT = 30
"""Height of one step of the grid; as in Grafana, with a gap of 8 between two."""
GAP = 8
WIDTH = 1400
HEAD = 44
"""Height of the board's own title."""
TITLE = 28
"""Height of a panel's title."""
PAD = 10
LEGEND_ROW = 15
"""Height of a row of a legend."""

_TIME_LABEL = 62
"""Width of ``12:34:56``."""
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; pixels."""

    x: float
    y: float
    w: float
    h: float

    @property
    def right(self) -> float:
        """Its right side."""
        return self.x + self.w

    @property
    def bottom(self) -> float:
        """Its lower side."""
        return self.y + self.h

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return the rectangle that is left when margins are taken off."""
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)

    def overlaps(self, other: Box) -> bool:
        """Say whether the two share any area."""
        return (
            self.x < other.right
            and other.x < self.right
            and self.y < other.bottom
            and other.y < self.bottom
        )


def box(place: Place, width: int = WIDTH) -> Box:
    """Return where a panel stands on a picture of this width."""
    column = (width - GAP) / COLUMNS
    row = UNIT + GAP
    return Box(
        GAP + place.x * column,
        HEAD + place.y * row,
        place.w * column - GAP,
        place.h * row - GAP,
    )


def height(panels: Sequence[Panel]) -> int:
    """Return the height of the picture that holds these panels."""
    rows = max((each.place.y + each.place.h for each in panels), default=0)
    return HEAD + rows * (UNIT + GAP) + GAP


def legend_rows(box_height: float, count: int) -> int:
    """Return how many series the legend under a graph lists: up to about half of the panel."""
    return min(count, max(1, int(box_height * 0.55 / LEGEND_ROW) - 1))


def time_ticks(start: float, end: float, width: float) -> list[float]:
    """Return the times that an axis of this width names, at round numbers of its clock; none so
    near its ends that their names would run into something else."""
    room = (end - start) / width * _TIME_LABEL
    wanted = room * 1.4
    step = next((each for each in _TIME_STEPS if each >= wanted), 86_400)
    first = math.ceil((start + room / 2) / step) * step
    return [float(each) for each in range(first, math.floor(end - room / 4) + 1, step)]


def value_ticks(low: float, high: float, most: int = 5, base: float = 10.0) -> list[float]:
    """Return round numbers from ``low`` to ``high``, ``most`` or a few more; with a ``base`` of
    1024 they are round in KiB, MiB and so on."""
    if high <= low:
        return [low]
    if base != 10.0 and high >= base:
        size = base ** math.floor(math.log(high, base))
        return [size * each for each in value_ticks(low / size, high / size, most)]
    rough = (high - low) / max(1, most)
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 2.5, 5, 10) if size * each >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def clipped(text: str, room: float, width: Callable[[str], float]) -> str:
    """Return the text, shortened with an ellipsis where it is wider than ``room``."""
    if width(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + "…") <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


def wrapped(text: str, room: float, width: Callable[[str], float]) -> list[str]:
    """Return the text as lines no wider than ``room``, broken between words."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and width(longer) > room:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def columns(widths: Sequence[float], room: float) -> list[float]:
    """Share ``room`` between columns that want ``widths``: the widest give way first."""
    left, most = room, math.inf
    for place, wanted in enumerate(sorted(widths)):
        share = left / (len(widths) - place)
        if wanted > share:
            most = share
            break
        left -= wanted
    given = [min(wanted, most) for wanted in widths]
    spare = max(0.0, room - sum(given)) / max(1, len(given))
    return [width + spare for width in given]
