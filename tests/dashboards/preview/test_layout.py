"""Where panels, ticks, words and columns stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.boards import boards
from dashboards.boards.frame import as_json
from dashboards.preview import layout
from dashboards.preview.layout import GAP, HEAD, UNIT, WIDTH, Box
from dashboards.preview.model import Panel, Place, panels
from firsttoken.core import slo as slo_room


def wide(text: str) -> float:
    return 10.0 * len(text)


def test_the_grid_fills_the_picture_with_even_gaps() -> None:
    left, right = (layout.box(Place(x, 0, 12, 8)) for x in (0, 12))
    assert left.x == GAP
    assert right.right == pytest.approx(WIDTH - GAP)
    assert right.x - left.right == pytest.approx(GAP)
    assert (left.y, left.h) == (HEAD, 8 * UNIT + 7 * GAP)


@pytest.mark.parametrize("board", boards(slo_room.load()), ids=lambda board: board.name)
def test_no_two_panels_of_a_board_overlap_and_none_leaves_the_picture(board: object) -> None:
    shown = panels(as_json(board))  # type: ignore[arg-type]
    boxes = [layout.box(panel.place) for panel in shown]
    assert not [
        (first, second)
        for number, first in enumerate(boxes)
        for second in boxes[:number]
        if first.overlaps(second)
    ]
    assert max(box.bottom for box in boxes) <= layout.height(shown)
    assert max(box.right for box in boxes) <= WIDTH


def test_the_picture_is_as_high_as_its_lowest_panel() -> None:
    shown = [Panel("stat", "", Place(0, 0, 4, 4)), Panel("row", "", Place(0, 4, 24, 1))]
    assert layout.height(shown) == HEAD + 5 * (UNIT + GAP) + GAP
    assert layout.height([]) == HEAD + GAP


def test_boxes() -> None:
    box = Box(10, 20, 100, 50)
    assert box.inside(1, 2, 3, 4) == Box(11, 22, 96, 44)
    assert box.overlaps(Box(109, 69, 5, 5))
    assert not box.overlaps(Box(110, 20, 5, 5))


def test_the_legend_takes_about_half_of_the_panel_at_most() -> None:
    assert layout.legend_rows(270, 3) == 3
    assert layout.legend_rows(270, 40) * layout.LEGEND_ROW < 0.6 * 270
    assert layout.legend_rows(10, 5) == 1


def test_time_is_named_at_round_times() -> None:
    assert layout.time_ticks(1003, 1183, 560) == [1020, 1050, 1080, 1110, 1140, 1170]
    assert layout.time_ticks(0, 86_400 * 10, 1000) == [86_400.0 * day for day in range(1, 10)]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_values_are_named_at_round_numbers_within_the_axis(
    low: float, size: float, most: int
) -> None:
    ticks = layout.value_ticks(low, low + size, most)
    assert 1 <= len(ticks) <= most + 2
    slack = 1e-6 * (abs(low) + size)
    assert all(low - slack <= each <= low + size + slack for each in ticks)


def test_bytes_are_named_at_round_numbers_of_their_own() -> None:
    assert layout.value_ticks(0, 3 * 1024**3, 3, 1024) == [0, 1024**3, 2 * 1024**3, 3 * 1024**3]


def test_an_axis_of_one_value_has_one_tick() -> None:
    assert layout.value_ticks(3.0, 3.0) == [3.0]


@given(st.text(max_size=30), st.floats(0, 400))
def test_a_clipped_text_fits(text: str, room: float) -> None:
    shown = layout.clipped(text, room, wide)
    assert shown == text if wide(text) <= room else wide(shown) <= room


def test_a_text_is_clipped_with_an_ellipsis() -> None:
    assert layout.clipped("First token by tier", 80, wide) == "First t…"
    assert layout.clipped("x", 5, wide) == ""


def test_words_are_wrapped() -> None:
    assert layout.wrapped("one two three\n\nfour", 75, wide) == ["one two", "three", "", "four"]
    assert layout.wrapped("unbreakable", 20, wide) == ["unbreakable"]


@given(st.lists(st.floats(1, 500), min_size=1, max_size=8), st.floats(50, 1000))
def test_columns_fill_the_room_and_the_widest_give_way(wanted: list[float], room: float) -> None:
    given_widths = layout.columns(wanted, room)
    assert sum(given_widths) == pytest.approx(room, rel=1e-3)
    narrow = min(wanted)
    if narrow * len(wanted) <= room:
        assert min(given_widths) >= narrow - 1e-6
