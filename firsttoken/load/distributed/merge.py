"""One result of a block from those of several load generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from firsttoken.core.records import BlockResult
from firsttoken.load.meter import quantile

_SUMS = ("requests", "errors", "tokens_counted_here", "generator_cpu")
_SUMS_OR_NONE = ("scheduled", "late", "dropped")
_LARGEST = ("steady_ns", "stop_ns", "ended_ns", "loop_lag_p99_ms", "loop_lag_max_ms")
_STAMPS = ("started_ns", "steady_ns", "stop_ns", "ended_ns")


def on_run_clock(result: BlockResult, offset_ns: int) -> BlockResult:
    """Return a result with its stamps brought to the clock of the run."""
    return replace(result, **{name: getattr(result, name) + offset_ns for name in _STAMPS})


def merge(results: Sequence[BlockResult], ttft_ms: Sequence[float]) -> BlockResult:
    """Return what all generators together say of one block.

    Counts and cores add up; of the lags the largest is kept. Quantiles cannot be made from
    quantiles: they are taken from ``ttft_ms``, the first tokens of all.
    """
    changes: dict[str, Any] = {"started_ns": min(item.started_ns for item in results)}
    for name in _LARGEST:
        changes[name] = max(getattr(item, name) for item in results)
    for name in _SUMS:
        changes[name] = sum(getattr(item, name) for item in results)
    for name in _SUMS_OR_NONE:
        values = [getattr(item, name) for item in results]
        changes[name] = None if None in values else sum(values)
    for name, share in (("ttft_p50_ms", 0.50), ("ttft_p95_ms", 0.95)):
        value = quantile(ttft_ms, share)
        changes[name] = None if value is None else round(value, 3)
    return replace(results[0], worker="", **changes)
