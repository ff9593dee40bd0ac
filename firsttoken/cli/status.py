"""``firsttoken status``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def status(
    url: Annotated[str, typer.Option(help="Address of the router.")] = "http://127.0.0.1:8080",
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every 2 seconds.")] = False,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with a key of the router.")
    ] = None,
    slo: Annotated[
        Path | None, typer.Option(help="Targets to compare with; left out: the packaged ones.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how a router is doing: mode, backends, first tokens of the last 5 minutes, local share,
    errors, memory, actions.

    Example: firsttoken status --watch
    """
    from firsttoken.cli.finish import open_slo, stopped_by_ctrl_c
    from firsttoken.trials import status_page
    from firsttoken.trials.status import StatusReader
    from firsttoken.trials.target import read_key

    targets = open_slo(slo)
    with StatusReader(url, read_key(api_key_env)) as reader, stopped_by_ctrl_c():
        shown = status_page.watch if watch else status_page.show
        shown(reader, targets, json_output=json_output)
