"""Our buckets show a first token's quantiles; Prometheus reads them as we say it does."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from exporter.buckets import (
    LAYOUTS,
    SHAPES,
    Layout,
    Shape,
    counted,
    draws,
    errors,
    exact,
    histogram_quantile,
)
from tests.exporter.promtool import promtool

OURS, *OTHERS = LAYOUTS


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_ours_are_within_four_percent(shape: Shape) -> None:
    assert max(map(abs, errors(shape, OURS.edges))) <= 0.04


@pytest.mark.parametrize("layout", OTHERS, ids=lambda layout: layout.name)
def test_others_are_off_by_more_than_a_third(layout: Layout) -> None:
    assert max(abs(error) for shape in SHAPES for error in errors(shape, layout.edges)) > 0.33


def test_the_95th_percentiles_are_those_that_are_told() -> None:
    told = {shape.name: round(exact(shape)[2], 2) for shape in SHAPES}
    assert told == {"fast local": 0.33, "at the target": 0.45, "narrow": 0.34, "regressed": 0.46}


def test_what_lies_outside_of_the_edges() -> None:
    assert math.isnan(histogram_quantile(0.5, (1.0, math.inf), (0.0, 0.0)))
    assert histogram_quantile(0.9, (1.0, 2.0, math.inf), (1.0, 1.0, 9.0)) == 2.0
    assert histogram_quantile(0.5, (1.0, math.inf), (4.0, 4.0)) == 0.5
    assert counted(np.array([0.4, 0.5]), (0.4, 0.45)) == [1.0, 1.0, 2.0]


def test_prometheus_gives_the_same_quantiles(tmp_path: Path) -> None:
    """``promtool test rules`` runs the query engine of Prometheus over series of ours."""
    series, tests = [], []
    for number, shape in enumerate(SHAPES):
        edges = (*OURS.edges, math.inf)
        counts = counted(draws(shape), OURS.edges)
        for edge, count in zip(edges, counts, strict=True):
            le = "+Inf" if math.isinf(edge) else f"{edge:g}"
            series.append({"series": f'x_bucket{{n="{number}",le="{le}"}}', "values": f"{count}"})
        for share in (0.001, 0.01, 0.5, 0.9, 0.95, 0.999, 1.0):
            value = histogram_quantile(share, edges, counts)
            query = f'histogram_quantile({share}, x_bucket{{n="{number}"}})'
            expected = [{"labels": f'{{n="{number}"}}', "value": 1}]
            difference = f"abs({query} - {value!r}) < bool 1e-12"
            tests.append({"expr": difference, "eval_time": "0m", "exp_samples": expected})
    file = tmp_path / "test.json"  # JSON is YAML
    group = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    file.write_text(json.dumps({"rule_files": [], "tests": [group]}))
    code, said = promtool("test", "rules", str(file))
    assert code == 0, said
