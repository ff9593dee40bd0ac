"""Which models can be asked for, in both dialects: known from the settings, nobody is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from starlette.types import Scope

from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Tier
from firsttoken.wire.dialect import Dialect
from router.fronts.http import JSON, Exchange, Keys
from router.fronts.operations import Endpoint

UNKNOWN_TIME = "1970-01-01T00:00:00Z"
"""Ollama's lists name times; the models' own are not known here."""


class Listing(Endpoint):
    """An endpoint that answers with what is known of the configured models.

    Args:
        backends: returns the backends in force.
        body: makes the answer of them.
        dialect: in which a missing key is answered.
        keys: who may enter.
    """

    def __init__(
        self,
        backends: Callable[[], Iterable[Backend]],
        body: Callable[[Iterable[Backend]], dict[str, Any]],
        dialect: Dialect,
        keys: Keys,
    ) -> None:
        async def handle(exchange: Exchange, scope: Scope) -> None:  # noqa: ARG001
            await exchange.reply(200, JSON, orjson.dumps(body(backends())))

        super().__init__(handle, keys, dialect)


def openai_models(backends: Iterable[Backend]) -> dict[str, Any]:
    """Return the body of ``GET /v1/models``."""
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": backend.name}
        for name, backend in _names(backends).items()
    ]
    return {"object": "list", "data": data}


def ollama_tags(backends: Iterable[Backend]) -> dict[str, Any]:
    """Return the body of Ollama's ``GET /api/tags``."""
    return {"models": [_ollama(name) for name in _names(backends)]}


def ollama_running(backends: Iterable[Backend]) -> dict[str, Any]:
    """Return the body of Ollama's ``GET /api/ps``: what answers without being loaded first."""
    local = [backend for backend in backends if backend.tier is Tier.LOCAL]
    more = {"expires_at": "9999-12-31T23:59:59Z", "size_vram": 0}
    return {"models": [{**_ollama(name), **more} for name in _names(local)]}


def _names(backends: Iterable[Backend]) -> dict[str, Backend]:
    names: dict[str, Backend] = {}
    for backend in backends:
        for name in (backend.model, *backend.model_aliases):
            names.setdefault(name, backend)
    return names


def _ollama(name: str) -> dict[str, Any]:
    details = {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }
    return {
        "name": name,
        "model": name,
        "modified_at": UNKNOWN_TIME,
        "size": 0,
        "digest": "",
        "details": details,
    }
