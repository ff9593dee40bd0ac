"""PromQL from typed parts: what cannot be is refused when it is written."""

from __future__ import annotations

import pytest

from dashboards import metrics, promql, queries
from dashboards.lint.view import parsed
from dashboards.promql import Except, Like
from firsttoken.core.errors import UserError


def test_variables_are_put_in_where_the_metric_has_the_label() -> None:
    assert queries.select(metrics.QUEUE, part="_count").text == (
        'llm_queue_duration_seconds_count{job=~"$job", instance=~"$instance", backend=~"$backend"}'
    )
    assert queries.select(metrics.MODE).text == 'llm_mode{job=~"$job", instance=~"$instance"}'


def test_a_shift_stands_behind_every_selector() -> None:
    shifted = queries.within(metrics.TTFT, 0.4, "tier", shift="$earlier").text
    assert shifted.count("[$__rate_interval] offset $earlier)") == 2
    assert queries.select(metrics.MODE, shift="1h").text.endswith("} offset 1h")
    assert parsed(shifted) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: queries.select(metrics.MODE, {"tier": "local"}),
        lambda: queries.select(metrics.REQUESTS, {"tier": "locale"}),
        lambda: queries.select(metrics.REQUESTS, {"tier": Except(("locale",))}),
        lambda: queries.select(metrics.REQUESTS, {"user": Like("$user")}),
        lambda: queries.select(metrics.TTFT),
        lambda: queries.select(metrics.REQUESTS, part="_bucket"),
    ],
)
def test_what_a_metric_does_not_have_is_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match="llm_"):
        wrong()


def test_a_share_below_what_is_no_edge_is_refused() -> None:
    with pytest.raises(UserError, match=r"no bucket ends at 0\.42 s"):
        queries.within(metrics.TTFT, 0.42)


def test_the_worst_state_comes_first_in_a_coded_query() -> None:
    coded = queries.coded(metrics.CIRCUIT, "state", ("closed", "half_open", "open"), "backend")
    places = [coded.text.index(f'state="{state}"') for state in ("open", "half_open", "closed")]
    assert places == sorted(places)
    assert parsed(coded.text) is not None


def test_operands_are_bracketed_where_they_must_be() -> None:
    one = promql.Query("a")
    two = promql.times(promql.plus(one, promql.Query("b")), 2)
    assert two.text == "(a + b) * 2"
    assert promql.ratio(two, one).text == "((a + b) * 2) / (a > 0)"
