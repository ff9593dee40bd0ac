"""vLLM: ``/metrics``, ``/v1/models``."""

from __future__ import annotations

from exporter.engines.reading import (
    Engine,
    Pages,
    Reading,
    ReadingError,
    Row,
    entries,
    names,
    translated,
)
from firsttoken.core.catalogue import Collector, EngineRequestState, TokenType

ROWS = (
    Row(
        "llm_engine_requests",
        (EngineRequestState.PROCESSING,),
        ("vllm:num_requests_running",),
    ),
    Row("llm_engine_requests", (EngineRequestState.DEFERRED,), ("vllm:num_requests_waiting",)),
    Row("llm_engine_tokens_total", (TokenType.INPUT,), ("vllm:prompt_tokens_total",)),
    Row("llm_engine_tokens_total", (TokenType.OUTPUT,), ("vllm:generation_tokens_total",)),
    Row("llm_engine_tokens_total", (TokenType.CACHED,), ("vllm:prefix_cache_hits_total",)),
    Row(
        "llm_engine_busy_seconds_total",
        (TokenType.INPUT,),
        ("vllm:request_prefill_time_seconds_sum",),
    ),
    Row(
        "llm_engine_busy_seconds_total",
        (TokenType.OUTPUT,),
        ("vllm:request_decode_time_seconds_sum",),
    ),
)


def read(pages: Pages, model: str | None) -> Reading:  # noqa: ARG001 - it serves one model
    """Read the pages; engines of one server (data parallel) are added up.

    Raises:
        ReadingError: ``/metrics`` is not vLLM's, or cannot be read.
    """
    values = translated(pages["/metrics"], ROWS)
    if not values:
        raise ReadingError("/metrics: none of vLLM's metrics")
    values["llm_engine_model_loaded"] = {(): 1.0}  # it answers only when that is done
    return Reading(values, names(entries(pages.get("/v1/models"), "data"), "id"), loaded=True)


VLLM = Engine(
    Collector.VLLM,
    "/metrics",
    lambda body: any(line.startswith(b"vllm:") for line in body.splitlines()),
    ("/v1/models",),
    read,
)
