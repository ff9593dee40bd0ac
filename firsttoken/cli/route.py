"""``firsttoken route``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def route(
    text: Annotated[str, typer.Argument(help="What the user says.")],
    config: Annotated[
        list[Path] | None, typer.Option(help="Settings file; may be given more than once.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Model that the request names; a backend's pins that backend.")
    ] = "auto",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where a request would go, and why, without calling anybody.

    Example: firsttoken route "帮我写代码"
    """
    from firsttoken.core.settings import load
    from router.config import from_settings
    from router.policy import signals
    from router.policy.plan import State, plan

    told = from_settings(load(config))
    found = signals.read([{"role": "user", "content": text}], told.patterns)
    # A draw of 0 falls in the share of the backend that is preferred most.
    chosen = plan(model, found, told.rules, State(draw=0.0))
    if json_output:
        attempts = [
            {"backend": each.backend.name, "tier": each.backend.tier, "reason": each.reason}
            for each in chosen.attempts
        ]
        typer.echo(json.dumps({"query_class": found.query_class, "attempts": attempts}))
        return
    typer.echo(f"query class: {found.query_class or 'neither simple nor complex'}")
    for number, each in enumerate(chosen.attempts, start=1):
        backend = each.backend
        place = "first" if number == 1 else "then"
        typer.echo(f"{place}: {backend.name} ({backend.tier}, {backend.model}), {each.reason}")
