"""Asking an engine what it is, and then for what it says of itself."""

from __future__ import annotations

import asyncio
import logging

from exporter.engines.llama_cpp import LLAMA_CPP
from exporter.engines.ollama import OLLAMA
from exporter.engines.reading import Engine, Reading, ReadingError, entries, names
from exporter.engines.vllm import VLLM
from exporter.fetch import Fetch

_log = logging.getLogger(__name__)

ENGINES = (LLAMA_CPP, OLLAMA, VLLM)
_MODELS = "/v1/models"
_OK = 200


async def recognise(fetch: Fetch) -> Engine | None:
    """Return what kind of engine answers; None: one that is not known.

    Raises:
        OSError: nobody answers.
    """
    for engine in ENGINES:
        status, body = await fetch(engine.page)
        if status == _OK and await asyncio.to_thread(engine.recognises, body):
            return engine
    return None


async def ask(fetch: Fetch, engine: Engine | None, model: str | None) -> Reading:
    """Return what an engine says of itself; of one that is not known, the names of its models.

    Raises:
        OSError: it does not answer.
        ReadingError: it answers something else.
    """
    status, body = await fetch(engine.page if engine else _MODELS)
    if engine is None:
        if status >= 500:
            raise ReadingError(f"{_MODELS}: status {status}")
        return Reading(models=names(entries(body, "data"), "id"))
    if status != _OK:
        raise ReadingError(f"{engine.page}: status {status}")
    pages = {engine.page: body}
    for path in engine.more:
        try:
            status, body = await fetch(path)
        except OSError as error:
            _log.debug("%s", error)  # a page that is missing has no figures
            continue
        if status == _OK:
            pages[path] = body
    # A long page takes its time to read, in which a probe's first token may come.
    return await asyncio.to_thread(engine.read, pages, model)
