"""The pictures of a report, drawn without pyplot, so that nothing is kept between two reports.

Every figure exists in two widths: one for a page, one for a phone. Each function returns None
where the run holds nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from reports import style
from reports.arms_figure import arms_by_step
from reports.build import Report
from reports.capacity_figure import capacity_figure
from reports.ecdf_figures import ttft_by_tier, ttft_distribution
from reports.figure_parts import PAGE_WIDTH, PHONE_WIDTH
from reports.heat_map_figure import heat_map
from reports.host_figure import host_over_time
from reports.phase_figures import first_token_time, waterfall
from reports.spread_figure import ttft_spread
from reports.time_figure import ttft_over_time

__all__ = ["PAGE_WIDTH", "PHONE_WIDTH", "PICTURES", "Picture", "draw"]

NO_REQUEST = "No request of the steady phase: nothing to draw."
NOT_SPLIT = "Not known for this run: no request could be split into its phases."


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the report: its file's name, what it shows, and what is said without it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Report, float], Figure | None]
    absent: str


PICTURES: tuple[Picture, ...] = (
    Picture(
        "ttft_distribution",
        "How soon first tokens came",
        "Share of requests whose first token had come, by step and arm. The target is met where a "
        "curve crosses the dotted 95 % line left of the target. A curve that ends below the top: "
        "the rest failed, or got no first token.",
        ttft_distribution,
        NO_REQUEST,
    ),
    Picture(
        "arms",
        "The arms side by side, step by step",
        "Median and 95th percentile of the time to first token with their 95 % intervals. Where "
        "the bars of two arms do not touch, the one below was sooner.",
        arms_by_step,
        "One arm at one step: nothing to lay side by side.",
    ),
    Picture(
        "ttft_spread",
        "How first tokens spread, by step and tier",
        "Each shape is as wide as requests were many that took so long; up to 60 requests are "
        "drawn as they are. The ring is the median, the bar with its figure the 95th percentile, "
        "both with failed requests counted as never.",
        ttft_spread,
        NO_REQUEST,
    ),
    Picture(
        "ttft_by_tier",
        "How soon each tier's first tokens came",
        "Share of a tier's requests whose first token had come. Two curves far apart mean that "
        "users wait long or not by who answered them.",
        ttft_by_tier,
        "One tier answered all requests: its curve is the arm's.",
    ),
    Picture(
        "ttft_over_time",
        "First tokens and incidents over time",
        "Each dot is a request of the steady phase at the time it was sent; the thin line is the "
        "median, the thick one the 95th percentile, stretch by stretch. Below: the share of the "
        "tiers, and when requests failed or were moved to another backend, the higher the more. "
        "Dots of long runs are a sample, lines and incidents are not.",
        ttft_over_time,
        NO_REQUEST,
    ),
    Picture(
        "heat_map",
        "First tokens by concurrency and prompt length",
        "TTFT p95 of the requests whose prompts were so long, at so many users; darker is later. "
        "Prompts that make the first token late stand out as a column or, on a phone, a row.",
        heat_map,
        "The server told the length of no prompt: nothing to lay out.",
    ),
    Picture(
        "first_token_time",
        "Where the first token's time went",
        "Mean of each phase of the time to first token, stamped by client, router and engine. "
        "Each tier has its own scale.",
        first_token_time,
        NOT_SPLIT,
    ),
    Picture(
        "waterfall",
        "Single requests, phase by phase",
        "The request that stands at the p50, p95 and p99 of each step, and the slowest of the arm. "
        "Each panel has its own scale.",
        waterfall,
        NOT_SPLIT,
    ),
    Picture(
        "host",
        "Engine and host over time",
        "Cores in use by component, memory against its limit, and the share of time in which the "
        "machine was not free. Where the cores touch their number, or steal and waiting rise, the "
        "first tokens above are late for want of a machine.",
        host_over_time,
        "The host was not sampled: nothing to draw.",
    ),
    Picture(
        "capacity",
        "TTFT p95 against the load",
        "Each point is a load that was tried, with the 95 % interval of its p95. The bar from top "
        "to bottom lies between the largest load that holds and the smallest that misses.",
        capacity_figure,
        "No capacity was sought in this run.",
    ),
)


def draw(picture: Picture, report: Report, width: float) -> Figure | None:
    """Draw a picture in the reports' style, laid out for good: saving it does not move anything."""
    with style.applied():
        figure = picture.draw(report, width)
        if figure is not None:
            _settle(figure)
    return figure


def _settle(figure: Figure) -> None:
    """Lay a figure out once; each file that is made of it would otherwise do so again."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    # None, not "none": with a stand-in for an engine each file would be drawn twice.
    figure.set_layout_engine(None)
    inches = figure.dpi_scale_trans
    for axes in figure.axes:
        # Where the names of the axes came to stand: along the axis in its shares, across in pixels.
        x, y = axes.xaxis.label.get_position()
        across = blended_transform_factory(axes.transAxes, inches)
        axes.xaxis.set_label_coords(x, y / figure.dpi, transform=across)
        x, y = axes.yaxis.label.get_position()
        upright = blended_transform_factory(inches, axes.transAxes)
        axes.yaxis.set_label_coords(x / figure.dpi, y, transform=upright)
