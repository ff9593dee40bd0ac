"""What is recorded, beside figures worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dashboards.rules.recording import GUIDE_NAMES
from tests.dashboards.rules import promtool
from tests.dashboards.rules.judging import shipped_files
from tests.dashboards.rules.promtool import Phase, Rate, Signal, level
from tests.dashboards.rules.subjects import (
    DELIVERED,
    LOCAL,
    attempts,
    conversations,
    first_tokens,
    local_first_tokens,
    memory,
    processor,
    ratings,
    requests,
)

TTFT = "llm_time_to_first_token_seconds"
CACHED = 'tier="cache", backend="none", model="m"'


def _check(tmp_path: Path, signal: Signal, expected: dict[str, float | None], at: int = 10) -> None:
    (tmp_path / "recording.yml").write_bytes(shipped_files()["recording.yml"])
    checks: list[dict[str, Any]] = [
        {
            # Rounded, since promtool compares floats to the last bit.
            "expr": f"round({name}, 0.0001)",
            "eval_time": f"{at}m",
            "exp_samples": [] if value is None else [{"labels": _labels(name), "value": value}],
        }
        for name, value in expected.items()
    ]
    case = {
        "input_series": promtool.input_series([Phase(at + 1, signal)]),
        "promql_expr_test": checks,
    }
    content = promtool.test_file(["recording.yml"], [case])
    promtool.run("promtool", "test", "rules", promtool.write(tmp_path / "test.yml", content))


def _labels(name: str) -> str:
    return "{" + name.split("{", 1)[1] if "{" in name else "{}"


def test_the_guides_nine_names_are_recorded() -> None:
    every = promtool.read(shipped_files()["recording.yml"])["groups"]
    names = [rule["record"] for group in every for rule in group["rules"]]
    assert names[:9] == list(GUIDE_NAMES)
    assert len(names) == len(set(names))
    assert all(name.count(":") == 2 for name in names[9:])


def test_figures_of_the_local_engine(tmp_path: Path) -> None:
    signal = {
        # 54 of 60 a minute by 0.5 s, all by 0.6 s: the 57th lies half-way.
        **local_first_tokens(60, 0.5, 0.6),
        # 54 succeed and 6 fail; the 60 that hung up do not count.
        **attempts(60, 0.1),
        'llm_tokens_total{backend="local", model="m", type="output"}': Rate(600),
        'llm_tokens_total{backend="local", model="m", type="input"}': Rate(9000),
        'llm_tokens_total{backend="cloud", model="c", type="output"}': Rate(6000),
        **memory(0.9),
        'llm_memory_unreclaimable_bytes{job="other"}': level(300),
        'llm_memory_limit_bytes{job="other"}': level(1000),
        **processor(0.5),
    }
    expected = {
        "local_model_response_time": 0.55,
        "local_model_throughput": 10,
        "local_model_error_rate": 0.1,
        "memory_usage": 0.9,
        "cpu_usage": 0.5,
    }
    _check(tmp_path, signal, {**expected})


def test_figures_of_users(tmp_path: Path) -> None:
    signal = {
        **requests(60, 0.75),
        **ratings(60, 4),
        **conversations(60, 0.75),
        # Local: 54 of 60 by 0.4 s and 60 by 0.45 s. From the cache: 60 by 0.4 s.
        **first_tokens(TTFT, DELIVERED, 60, 0.4, 0.45),
        f'{TTFT}_bucket{{{CACHED}, le="0.4"}}': Rate(60),
        f'{TTFT}_bucket{{{CACHED}, le="0.45"}}': Rate(60),
        f'{TTFT}_bucket{{{CACHED}, le="+Inf"}}': Rate(60),
        f"{TTFT}_count{{{CACHED}}}": Rate(60),
    }
    expected = {
        "local_vs_remote_ratio": 0.75,
        "user_satisfaction_score": 4,
        "conversation_completion_rate": 0.75,
        # 114 of 120 are in by 0.4 s: 95 %.
        "first_response_time": 0.4,
        "job:llm_ttft_within_target:ratio_rate5m": 0.95,
        'tier:llm_time_to_first_token_seconds:p95_5m{tier="local"}': 0.425,
        # The 57th of 60 in the bucket from 0 to 0.4 s.
        'tier:llm_time_to_first_token_seconds:p95_5m{tier="cache"}': 0.38,
        # The 30th of 54 in the bucket from 0 to 0.4 s.
        'tier:llm_time_to_first_token_seconds:p50_5m{tier="local"}': 0.2222,
    }
    _check(tmp_path, signal, {**expected})


def test_budgets(tmp_path: Path) -> None:
    series = 'llm_requests_total{{tier="local", backend="local", model="m", outcome="{}"}}'
    signal = {
        **first_tokens(TTFT, DELIVERED, 60, 0.4, 0.45),
        series.format("success"): Rate(57),
        series.format("timeout"): Rate(3),
        series.format("cancelled"): Rate(60),
    }
    expected = {
        "job:llm_ttft_within_target:ratio_rate1h": 0.9,
        "job:llm_ttft_late:increase1h": 360,
        "job:llm_requests_failed:ratio_rate1h": 0.05,
        "job:llm_requests_failed:increase1h": 180,
    }
    _check(tmp_path, signal, {**expected}, at=70)


def test_without_traffic_there_is_no_value_rather_than_not_a_number(tmp_path: Path) -> None:
    busy = {
        **local_first_tokens(1, 0.5, 0.6),
        **attempts(1, 0.1),
        **requests(1, 0.5),
        **ratings(60, 4),
        **conversations(60, 0.75),
        **first_tokens(TTFT, DELIVERED, 1, 0.4, 0.45),
    }
    idle: Signal = {
        name: Rate(0) if isinstance(each, Rate) else each for name, each in busy.items()
    }
    measured = {"local_model_throughput", "memory_usage", "cpu_usage"}
    names = [name for name in GUIDE_NAMES if name not in measured]
    _check(tmp_path, idle, dict.fromkeys([*names, "job:llm_requests_failed:ratio_rate5m"]))


def test_a_second_router_and_a_backend_that_is_gone_confuse_nothing(tmp_path: Path) -> None:
    info = 'llm_backend_info{{backend="{}", tier="{}", instance="{}"}}'
    series = 'llm_attempts_total{{backend="{}", model="m", outcome="{}", instance="{}"}}'
    signal: Signal = {
        info.format("local", "local", "a"): level(1),
        info.format("local", "local", "b"): level(1),
        # It was local until the settings were read again.
        info.format("cloud", "local", "a"): level(0),
        info.format("cloud", "remote", "a"): level(1),
        series.format("local", "success", "a"): Rate(30),
        series.format("local", "error", "b"): Rate(10),
        series.format("cloud", "error", "a"): Rate(500),
    }
    _check(tmp_path, signal, {"local_model_error_rate": 0.25})


def test_only_local_backends_count(tmp_path: Path) -> None:
    without = {name: each for name, each in attempts(60, 0.1).items() if name not in LOCAL}
    _check(tmp_path, without, {"local_model_error_rate": None})
