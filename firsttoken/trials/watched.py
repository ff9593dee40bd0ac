"""Which engine ``firsttoken exporter`` watches: one that is named, or the settings' local one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.__main__ import target_of
from exporter.watching import Target
from firsttoken.core.errors import UserError
from firsttoken.core.settings import keys, load
from firsttoken.core.settings.backend import LOCAL_BACKEND
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest
from router.backends.requests import for_backend
from router.config import reply_options

_LOCAL = "llm_routing.local_model"


def bare(
    url: str,
    dialect: str | None,
    model: str | None,
    *,
    api_key_env: str | None,
    probe_seconds: float,
    pid: int | None,
) -> Target:
    """Return an engine of which nothing is known but this.

    Raises:
        UserError: an option is wrong, or the variable ``api_key_env`` holds no key.
    """
    try:
        secret = keys.find_one(api_key_env, None, os.environ)
    except ValueError as error:
        raise UserError(f"--api-key-env: {error}") from error
    if api_key_env is not None and secret is None:
        raise UserError(f"--api-key-env {api_key_env}: that variable is not set")
    key = None if secret is None else secret.values[0]
    return target_of(url, dialect, model, probe_seconds=probe_seconds, pid=pid, api_key=key)


def of_settings(
    paths: Sequence[Path],
    url: str | None,
    dialect: str | None,
    model: str | None,
    *,
    api_key_env: str | None,
    probe_seconds: float,
    pid: int | None,
) -> Target:
    """Return the local model of the settings, probed as the router asks it; options go first.

    Raises:
        UserError: the settings or an option are wrong, or there is no local model.
    """
    told: dict[str, Any] = {
        "endpoint": url,
        "dialect": dialect,
        "model": model,
        "api_key_env": api_key_env,
    }
    overrides = {f"{_LOCAL}.{key}": value for key, value in told.items() if value is not None}
    settings = load(paths, overrides=overrides)
    backend = next((each for each in settings.backends() if each.name == LOCAL_BACKEND), None)
    if backend is None:
        raise UserError("llm_routing: there is no local_model to watch; give --target URL")
    # Ollama loads a model anew for a request that brings other options than the one before.
    asked = ChatRequest(backend.model, [], stream=True)
    options = reply_options(backend, settings)
    brought = for_backend(asked, backend, options, dialects.get("ollama")).extra
    return Target(
        backend.base_url,
        backend.dialect,
        backend.model,
        backend.name,
        backend.api_key,
        probe_seconds,
        pid,
        brought,
    )
