"""``firsttoken serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    config: Annotated[
        list[Path] | None, typer.Option(help="Settings file; may be given more than once.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: server.host (127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Default: server.port (8080); 0: any free one."),
    ] = None,
    engine: Annotated[
        bool,
        typer.Option("--engine", help="Start the embedded engine too, as the local backend."),
    ] = False,
    ready_json: Annotated[
        bool, typer.Option("--ready-json", help="Print one line of JSON when ready.")
    ] = False,
) -> None:
    """Serve the router: one address in front of the local engine and the cloud.

    Ends with 0 after SIGTERM or Ctrl-C, and with 2 where the settings or the address are wrong.

    SIGHUP, or POST /-/reload, reads the settings again; a mistake in them changes nothing.

    Example: firsttoken serve --config config/hybrid.yaml --engine
    """
    from router.__main__ import serve as run

    run(config, host, port, engine=engine, ready_json=ready_json)
