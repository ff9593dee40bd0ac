"""``firsttoken compare``: two or more runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firsttoken.core.errors import UserError


def _two(arms: str | None) -> tuple[str, str] | None:
    """Return the arms of ``--arms``; None where it was not given.

    Raises:
        UserError: it does not name two different arms.
    """
    if arms is None:
        return None
    names = [name.strip() for name in arms.split(",")]
    if len(names) != 2 or not all(names):
        raise UserError(f"--arms {arms}: expected REFERENCE,CANDIDATE, such as local_only,hybrid")
    return names[0], names[1]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN [RUN...]",
            help="Folders of runs; the first is the reference. One alone: its two arms.",
        ),
    ],
    arms: Annotated[
        str | None,
        typer.Option(
            metavar="<a>,<b>",
            help="Arm of the reference and arm of the others. Default: those in common.",
        ),
    ] = None,
    slo_file: Annotated[
        Path | None,
        typer.Option("--slo", help="Acceptance targets (default: config/slo.yaml)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for compare.json, compare.md and compare.html."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print compare.json and nothing else.")
    ] = False,
) -> None:
    """Compare runs: first what differs in their conditions, then how far each figure shifted.

    Two arms that took turns in one run are compared round by round. Informs and judges nothing:
    ends with 0 when a comparison was made, 2 for unusable data, 3 where nothing could be compared.

    \b
    Examples:
      firsttoken compare runs/before runs/after --out runs/compared
      firsttoken compare runs/20260131T235959Z-steps --arms against,target
    """
    from firsttoken.cli.finish import open_slo
    from firsttoken.core.words import EXIT_CODE
    from reports.compare import build, table, write

    pair = _two(arms)
    if len(runs) == 1 and pair is not None and pair[0] == pair[1]:
        raise UserError(f"--arms {arms}: an arm of one run cannot be compared with itself")
    found = build.read(runs, open_slo(slo_file), pair)
    if out is not None:
        write.write_all(found, out)
    if as_json:
        typer.echo(write.json_text(found), nl=False)
    else:
        typer.echo(table.table(found))
        if out is not None:
            typer.echo(f"\ncomparison: {out / 'compare.html'}")
    raise typer.Exit(EXIT_CODE[found.verdict])
