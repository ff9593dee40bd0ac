"""``firsttoken report``: the reports of runs that were made before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, one or more.")
    ],
    slo_file: Annotated[
        Path | None,
        typer.Option("--slo", help="Acceptance targets (default: config/slo.yaml)."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print report.json and nothing else; of several runs a list."),
    ] = False,
) -> None:
    """Judge runs anew and write the report of each: HTML, Markdown, JSON, JUnit and figures.

    Works on a run that was killed too: its records are readable but for the last second. Ends with
    the verdict's code: 0 PASS, 1 FAIL, 2 unusable data, 3 INCONCLUSIVE, 4 UNTRUSTED; of several
    runs with that of the worst one, and with 2 if any of them could not be read.

    Example: firsttoken report runs/20260131T235959Z-steps
    """
    from firsttoken.cli.finish import finish, finish_all, open_slo

    slo = open_slo(slo_file)
    if len(runs) == 1:
        finish(runs[0], slo, as_json)
    finish_all(runs, slo, as_json)
