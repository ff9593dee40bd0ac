"""``firsttoken engine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def engine(
    model: Annotated[
        Path | None, typer.Option(help="GGUF file. Default: the small model that comes along.")
    ] = None,
    slots: Annotated[
        int | None, typer.Option(help="Answers made at once. Default: engine.slots.")
    ] = None,
    ctx: Annotated[
        int | None, typer.Option(help="Tokens of context of one slot. Default: num_ctx.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Compute threads. Default: num_thread, at most the CPU quota."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port to serve on; 0 takes a free one. Default: engine.port.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file. Default: the packaged hybrid.yaml.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="llama.cpp's own log. Default: a new temporary file.")
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON when ready and nothing else.")
    ] = False,
) -> None:
    """Serve a model with llama.cpp's own server, restarted when it dies, until Ctrl-C.

    Speaks the OpenAI API at http://HOST:PORT/v1, with /health, /metrics and /slots.

    Example: firsttoken engine --slots 24 --ctx 2048 --port 11435
    """
    from firsttoken.core import settings
    from firsttoken.engines import options, serve

    chosen = options.from_settings(
        settings.load([config] if config is not None else None),
        model=model,
        slots=slots,
        context_per_slot=ctx,
        threads=threads,
        host_name=host,
        port=port,
    )
    serve.serve(options.check(chosen), log, json_output)
    raise typer.Exit
