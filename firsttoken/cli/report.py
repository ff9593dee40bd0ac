"""``firsttoken report``: the report of a run that was made before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")],
    slo_file: Annotated[
        Path | None,
        typer.Option("--slo", help="Acceptance targets (default: config/slo.yaml)."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print report.json and nothing else.")
    ] = False,
) -> None:
    """Judge a run anew and write its report: HTML, Markdown, JSON, JUnit and figures.

    Works on a run that was killed too: its records are readable but for the last second. Ends with
    the verdict's code: 0 PASS, 1 FAIL, 2 unusable data, 3 INCONCLUSIVE, 4 UNTRUSTED.

    Example: firsttoken report runs/20260131T235959Z-steps
    """
    from firsttoken.cli.finish import finish, open_slo

    finish(run, open_slo(slo_file), as_json)
