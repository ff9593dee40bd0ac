"""Ollama: ``/api/version``, ``/api/ps``, ``/api/tags``. It counts neither tokens nor requests."""

from __future__ import annotations

from typing import Any

from exporter.engines.reading import (
    Engine,
    Pages,
    Reading,
    ReadingError,
    amount,
    entries,
    loads,
    names,
)
from firsttoken.core.catalogue import Collector


def read(pages: Pages, model: str | None) -> Reading:
    """Read the pages.

    Raises:
        ReadingError: ``/api/ps`` is missing or lists no models, not even none.
    """
    told = loads(pages.get("/api/ps"))
    if not isinstance(told, dict) or not isinstance(told.get("models"), list):
        raise ReadingError("/api/ps: no list of models")
    running = entries(pages["/api/ps"], "models")
    found = next((each for each in running if model is None or _is(each, model)), None)
    values: dict[str, dict[tuple[str, ...], float]] = {
        "llm_engine_model_loaded": {(): float(found is not None)}
    }
    size = amount(found.get("size")) if found else None
    if size is not None:
        values["llm_engine_model_bytes"] = {(): size}
    context = found.get("context_length") if found else None
    installed = entries(pages.get("/api/tags"), "models")
    return Reading(
        values,
        names([*running, *installed], "name"),
        loaded=found is not None,
        context=context if type(context) is int and context > 0 else None,
    )


def _is(entry: dict[str, Any], model: str) -> bool:
    return _tagged(model) in {_tagged(entry.get(key)) for key in ("name", "model")}


def _tagged(model: object) -> str:
    """Return a name with its tag; one without means ``latest``."""
    name = model if isinstance(model, str) else ""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _recognised(body: bytes) -> bool:
    told = loads(body)
    return isinstance(told, dict) and isinstance(told.get("version"), str)


OLLAMA = Engine(
    Collector.OLLAMA, "/api/version", _recognised, ("/api/ps", "/api/tags"), read, "ollama"
)
