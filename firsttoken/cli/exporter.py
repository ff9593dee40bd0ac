"""``firsttoken exporter``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def exporter(
    target: Annotated[
        str | None, typer.Option(help="URL of the engine. Default: local_model of --config.")
    ] = None,
    dialect: Annotated[
        str | None, typer.Option(help="openai or ollama. Default: the engine is asked.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to probe. Default: the first that the engine names.")
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(help="Settings file whose local model is watched, with its key and options."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 9464,
    probe_seconds: Annotated[
        float, typer.Option(help="Between two probes of a few tokens; 0: none are made.")
    ] = 15.0,
    pid: Annotated[
        int | None,
        typer.Option(min=1, help="Process of the engine. Default: found by the target's port."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable that holds the engine's key.")
    ] = None,
    ready_json: Annotated[
        bool, typer.Option("--ready-json", help="Print one line of JSON when ready.")
    ] = False,
) -> None:
    """Expose the metrics of a bare engine: first-token probes, its own figures, its memory.

    For Ollama, llama.cpp's server, vLLM, and others that speak the OpenAI API. The router needs
    none: it exposes its own at /metrics.

    Ends with 0 after SIGTERM or Ctrl-C, and with 2 where an option or the address is wrong.

    Example: firsttoken exporter --target http://127.0.0.1:11434
    """
    from exporter.__main__ import run
    from firsttoken.core.errors import UserError
    from firsttoken.trials import watched

    if config:
        found = watched.of_settings(
            config,
            target,
            dialect,
            model,
            api_key_env=api_key_env,
            probe_seconds=probe_seconds,
            pid=pid,
        )
    elif target is not None:
        found = watched.bare(
            target, dialect, model, api_key_env=api_key_env, probe_seconds=probe_seconds, pid=pid
        )
    else:
        raise UserError("give --target URL, the engine, or --config FILE, whose local model it is")
    run(found, host, port, ready_json=ready_json)
