"""Sections of the project's own, all with defaults that keep the guide's file valid."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from firsttoken.core.settings.kinds import EnvironmentName, FilePath, Port, Section, Slots


class Server(Section):
    """``server``: the router's own front.

    ``api_keys_env`` names an environment variable, ``api_keys_file`` a file, with the keys a
    client may present: separated by commas, spaces or lines. Without either, no key is asked
    for. ``max_body_bytes`` bounds one request, ``max_concurrency`` the requests in flight.
    """

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")] = "127.0.0.1"
    port: Port = 8080
    max_body_bytes: Annotated[int, Field(ge=1024, le=67_108_864)] = 2_097_152
    max_concurrency: Annotated[int, Field(ge=1, le=100_000)] = 256
    api_keys_env: EnvironmentName | None = None
    api_keys_file: FilePath | None = None


class Engine(Section):
    """``engine``: the embedded engine.

    ``model`` is a GGUF file; left out, the small model that comes with the package. ``context``
    (tokens of one slot) and ``threads`` default to ``local_optimization``. ``port`` 0 asks the
    operating system for a free one.
    """

    model: FilePath | None = None
    slots: Slots = 24
    context: Annotated[int, Field(ge=128, le=1_048_576)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    port: Port = 0
