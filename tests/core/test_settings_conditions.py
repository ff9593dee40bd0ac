"""The grammar of conditions and durations."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.settings import conditions, durations
from firsttoken.core.settings.conditions import Condition, Kind, parse, parse_threshold

COMPARED = {**conditions.TRIGGERS, **conditions.METRICS, "response_time": Kind.SECONDS}
UNITS = {
    Kind.SECONDS: [("ms", 1000), ("s", 1)],
    Kind.SHARE: [("%", 100), ("", 1)],
    Kind.RATE: [("tokens/s", 1), ("", 1)],
}
HIGHEST = {Kind.SECONDS: 10_000.0, Kind.SHARE: 1.0, Kind.RATE: 10_000.0}


@pytest.mark.parametrize(
    ("text", "name", "operator", "value"),
    [
        ("local_model_confidence < 0.8", "local_model_confidence", "<", 0.8),
        ("query_complexity>70%", "query_complexity", ">", 0.7),
        ("  local_model_timeout ", "local_model_timeout", None, None),
        ("all_other_models_failed", "all_other_models_failed", None, None),
    ],
)
def test_triggers_of_the_guide(
    text: str, name: str, operator: str | None, value: float | None
) -> None:
    parsed = parse(text, conditions.TRIGGERS)
    assert (parsed.name, parsed.operator, parsed.value) == (name, operator, value)
    assert str(parsed) == text.strip()


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("> 500ms", "local_model_response_time", 0.5),
        ("> 5%", "local_model_error_rate", 0.05),
        (">= 0.85", "memory_usage", 0.85),
        ("< 20 tokens/s", "local_model_throughput", 20.0),
    ],
)
def test_thresholds_of_alerts(text: str, metric: str, value: float) -> None:
    assert parse_threshold(text, metric, conditions.METRICS[metric]).value == value


def test_same_meaning_is_equal_however_written() -> None:
    written = ("cpu_usage > 90%", "cpu_usage >0.9", " cpu_usage  >  90.0 %")
    assert len({parse(text, conditions.METRICS) for text in written}) == 1


@given(
    st.sampled_from([name for name, kind in COMPARED.items() if kind is not Kind.FLAG]),
    st.sampled_from([">", ">=", "<", "<="]),
    st.integers(0, 10**6),
    st.data(),
)
def test_every_condition_of_the_grammar_parses_and_decides(
    name: str, operator: str, millionths: int, data: st.DataObject
) -> None:
    kind = COMPARED[name]
    unit, per_base = data.draw(st.sampled_from(UNITS[kind]))
    value = HIGHEST[kind] * millionths / 10**6
    spaces = data.draw(st.sampled_from(["", " ", "  "]))
    text = f"{name}{spaces}{operator}{spaces}{value * per_base:.6f}{spaces}{unit}"
    parsed = parse(text, COMPARED)
    assert parsed.value == pytest.approx(value, abs=1e-6)
    assert parse(str(parsed), COMPARED) == parsed
    assert parsed.value is not None
    above, below = math.nextafter(parsed.value, 2e9), math.nextafter(parsed.value, -1)
    assert parsed.holds(above) == (operator in {">", ">="})
    assert parsed.holds(below) == (operator in {"<", "<="})
    assert parsed.holds(parsed.value) == (operator in {">=", "<="})
    assert not parsed.holds(None)


def test_flags_hold_when_true() -> None:
    flag = parse("local_model_timeout", conditions.TRIGGERS)
    assert [flag.holds(value) for value in (True, False, None)] == [True, False, False]


@given(st.one_of(st.text(max_size=80), st.text("<>=.0123456789ms%tokens/_ ", max_size=30)))
def test_any_text_is_a_condition_or_a_value_error(text: str) -> None:
    attempts: list[Callable[[], Condition]] = [
        lambda: parse(text, COMPARED),
        lambda: parse(f"memory_usage {text}", COMPARED),
        lambda: parse_threshold(text, "memory_usage", Kind.SHARE),
    ]
    for attempt in attempts:
        said, value = "expected", None
        try:
            value = attempt().value
        except ValueError as error:
            said = str(error)
        assert "expected" in said
        assert "\n" not in said
        assert value is None or math.isfinite(value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("24h", 86_400),
        ("5m", 300),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("90", 90),
        (90, 90),
        (0, 0),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1s", math.inf),
        (" 5m ", 300),
        ("1.5h", 5400),
    ],
)
def test_durations(value: str | int, seconds: float) -> None:
    assert durations.seconds(value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 m", "5d", "h", "--1", "1h-2m", "٣m", 10**30])
def test_what_is_no_duration_is_refused(value: str | int) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        durations.seconds(value)
