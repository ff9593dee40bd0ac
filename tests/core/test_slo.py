"""The acceptance targets and the alert thresholds, read into one object."""

from __future__ import annotations

from pathlib import Path

import pytest

from firsttoken.core import settings, slo
from firsttoken.core.errors import UserError


def test_packaged_targets() -> None:
    loaded = slo.load()
    assert (loaded.ttft_p95_ms, loaded.short_reply_p50_ms, loaded.short_reply_tokens) == (
        400,
        600,
        8,
    )
    assert (loaded.error_rate, loaded.availability, loaded.memory_share) == (0.02, 0.999, 0.80)
    assert loaded.concurrent_talkers == 20
    samples = loaded.minimum_samples
    assert (samples.p95, samples.p99, samples.availability) == (72, 368, 3000)


@pytest.mark.parametrize(
    ("users", "budget"), [(1, 3), (20, 3), (21, 5), (100, 5), (101, 15), (200, 15), (201, None)]
)
def test_calibration_budget_by_users(users: int, budget: float | None) -> None:
    assert slo.load().calibration_p99_ms(users) == budget


def test_the_guides_table() -> None:
    table = slo.load().expected
    assert [(name, row.remote, row.local) for name, row in table.rows()] == [
        ("first_token", (1500, 3000), (200, 400)),
        ("total_response", (2000, 4000), (300, 600)),
        ("concurrency", (5, 10), (15, 20)),
        ("availability", (0.95, 0.95), (0.999, 0.999)),
        ("cost", (0.01, 0.01), (0, 0)),
    ]


def test_alert_thresholds_come_from_the_settings() -> None:
    loaded = slo.load()
    response = loaded.alert("local_model_response_time")
    assert response is not None
    assert (response.operator, response.value) == (">", 0.5)
    assert [alert.condition.value for alert in loaded.alerts] == [0.5, 0.05, 0.85]
    assert loaded.alert("cpu_usage") is None
    own = settings.from_mapping(
        {
            "monitoring_metrics": {
                "alerts": [
                    {"metric": "cpu_usage", "threshold": "> 0.7", "action": "restart_service"}
                ]
            }
        }
    )
    assert [alert.condition.value for alert in slo.load(None, own).alerts] == [0.7]


def test_defaults_of_a_short_file_are_those_of_the_packaged_one(tmp_path: Path) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text("targets:\n  ttft_p95_ms: 300\n", encoding="utf-8")
    loaded = slo.load(path)
    assert loaded.ttft_p95_ms == 300
    packaged = slo.load().model_dump()
    packaged["targets"]["ttft_p95_ms"] = 300
    assert loaded.model_dump() == packaged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("targts: {}\n", 'FILE:1: targts: unknown key; did you mean "targets"?'),
        ("targets:\n  error_rate: 2\n", "FILE:2: targets.error_rate: is too large"),
        ("targets:\n  ttft_p95_ms: fast\n", "FILE:2: targets.ttft_p95_ms: is not a number"),
        ("calibration: 5\n", "FILE:1: calibration: is not a list"),
        (
            "calibration:\n- {up_to_users: 9, p99_ms: 1}\n- {up_to_users: 3, p99_ms: 1}\n",
            "FILE:1: calibration: is out of order",
        ),
        (
            "expected:\n  cost: {unit: ms, remote: [2, 1], local: [0, 0]}\n",
            "FILE:2: expected.cost.remote: is no range",
        ),
        ("expected:\n  cost: {unit: ms, remote: 1, local: [0, 0]}\n", "remote: is not a list"),
        ("expected:\n  cost: {unit: ms, remote: [1], local: [0, 0]}\n", "expected.cost.remote"),
        ("", "FILE:1: is empty"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        slo.load(path)
    lines = str(caught.value).replace(str(path), "FILE").splitlines()
    assert len(lines) == 1
    assert expected in lines[0]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        slo.load(tmp_path / "none.yaml")
