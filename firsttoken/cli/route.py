"""``firsttoken route``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def route(
    text: Annotated[str, typer.Argument(help="What the user says.")],
    system: Annotated[str | None, typer.Option(help="System prompt before it.")] = None,
    config: Annotated[
        list[Path] | None, typer.Option(help="Settings file; may be given more than once.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model that the request names; a backend's pins that backend.")
    ] = "auto",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a request would go, and why, without calling anybody.

    Every backend is taken to be up and idle.

    Example: firsttoken route "帮我写代码" --system "You are a voice assistant."
    """
    from firsttoken.core.settings import load
    from router.config import from_settings
    from router.policy import explain

    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": text})
    settings = load(config)
    told = explain.explain(from_settings(settings), messages, model)
    if json_output:
        typer.echo(json.dumps(told.as_dict(), ensure_ascii=False))
        return
    for line in told.lines():
        typer.echo(line)
    for backend in settings.backends():
        if not backend.enabled:
            typer.echo(f"left out     {backend.name}: {backend.disabled_reason}")
