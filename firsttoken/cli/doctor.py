"""``firsttoken doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    config: Annotated[
        list[Path] | None, typer.Option(help="Settings file; may be given more than once.")
    ] = None,
    before: Annotated[
        bool, typer.Option("--before", help="Check what has to be there before deployment.")
    ] = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="Check the seven steps of deployment.")
    ] = False,
    after: Annotated[
        bool, typer.Option("--after", help="Check what runs: it has to run then.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            help="URL of the router, which has to run then. Default: server.* of --config."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(min=1, max=120, help="Seconds; the whole takes about three times that."),
    ] = 10.0,
    prometheus: Annotated[
        str | None, typer.Option(help="URL of a Prometheus, whose rules and targets are checked.")
    ] = None,
    model_sha256: Annotated[
        str | None, typer.Option(help="SHA-256 that the model's file has to have.")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with a key of the router, if not the settings'."),
    ] = None,
    slo: Annotated[
        Path | None, typer.Option(help="Targets to judge by; left out: the packaged ones.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the deployment guide's three checklists: before deployment, its seven steps, after.

    Without --before, --steps or --after all three are run, and a router that does not run is a
    warning. Sends a dozen short questions to the local model, and one to a remote backend to try
    the failover, on a router of its own; it changes nothing.

    Ends with 1 where anything failed, else with 0; with 2 where an option is wrong.

    Example: firsttoken doctor --config config/hybrid.yaml
    """
    from firsttoken.cli.finish import open_slo, stopped_by_ctrl_c
    from firsttoken.trials import doctor as room
    from firsttoken.trials.doctor.options import address, files, sha256
    from firsttoken.trials.target import read_key

    named = {
        checklist
        for checklist, asked in zip(room.Checklist, (before, steps, after), strict=True)
        if asked
    }
    wanted = room.Wanted(
        targets=open_slo(slo),
        paths=files(config),
        lists=frozenset(named or room.Checklist),
        demanded=after or target is not None,
        router=address("--target", target),
        timeout_s=timeout,
        model_sha256=sha256(model_sha256),
        prometheus=address("--prometheus", prometheus),
        key=read_key(api_key_env),
    )
    with stopped_by_ctrl_c():
        code = room.run(wanted, json_output=json_output)
    raise typer.Exit(code)
