"""llama.cpp's server: ``/props``, ``/metrics``, ``/slots``, ``/v1/models``."""

from __future__ import annotations

from exporter.engines.reading import (
    Engine,
    Pages,
    Reading,
    ReadingError,
    Row,
    amount,
    entries,
    loads,
    names,
    translated,
)
from firsttoken.core.catalogue import Collector, EngineRequestState, TokenType

ROWS = (
    # Its own count of the prompt leaves out what came from the cache, ours does not.
    Row(
        "llm_engine_tokens_total",
        (TokenType.INPUT,),
        ("llamacpp:prompt_tokens_total", "llamacpp:prompt_tokens_cached_total"),
    ),
    Row("llm_engine_tokens_total", (TokenType.CACHED,), ("llamacpp:prompt_tokens_cached_total",)),
    Row("llm_engine_tokens_total", (TokenType.OUTPUT,), ("llamacpp:tokens_predicted_total",)),
    Row("llm_engine_busy_seconds_total", (TokenType.INPUT,), ("llamacpp:prompt_seconds_total",)),
    Row(
        "llm_engine_busy_seconds_total",
        (TokenType.OUTPUT,),
        ("llamacpp:tokens_predicted_seconds_total",),
    ),
    Row(
        "llm_engine_requests",
        (EngineRequestState.PROCESSING,),
        ("llamacpp:requests_processing",),
    ),
    Row("llm_engine_requests", (EngineRequestState.DEFERRED,), ("llamacpp:requests_deferred",)),
)


def read(pages: Pages, model: str | None) -> Reading:  # noqa: ARG001 - it serves one model
    """Read the pages.

    Raises:
        ReadingError: ``/props`` names no slots, or ``/metrics`` cannot be read.
    """
    slots = _slots(pages["/props"])
    if slots is None:
        raise ReadingError("/props: no total_slots")
    values = translated(pages.get("/metrics", b""), ROWS)
    values["llm_engine_slots"] = {(): slots}
    values["llm_engine_model_loaded"] = {(): 1.0}  # it answers only when that is done
    told = [each["is_processing"] for each in _listed(pages)]
    if told and "llm_engine_requests" not in values:
        values["llm_engine_requests"] = {(EngineRequestState.PROCESSING,): float(sum(told))}
    models = entries(pages.get("/v1/models"), "data")
    meta = models[0].get("meta") if models else None
    size = amount(meta.get("size")) if isinstance(meta, dict) else None
    if size is not None:
        values["llm_engine_model_bytes"] = {(): size}
    return Reading(values, names(models, "id"), loaded=True)


def _slots(body: bytes) -> float | None:
    told = loads(body)
    return amount(told.get("total_slots")) if isinstance(told, dict) else None


def _listed(pages: Pages) -> list[dict[str, bool]]:
    """Return the slots that say whether they are at work; the page may be switched off."""
    told = loads(pages.get("/slots"))
    return [
        each
        for each in (told if isinstance(told, list) else [])
        if isinstance(each, dict) and isinstance(each.get("is_processing"), bool)
    ]


LLAMA_CPP = Engine(
    Collector.LLAMA_CPP,
    "/props",
    lambda body: _slots(body) is not None,
    ("/metrics", "/slots", "/v1/models"),
    read,
)
