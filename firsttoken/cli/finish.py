"""What the measuring verbs have in common: targets in, report out, and Ctrl-C in between."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from firsttoken.core.errors import UserError
from firsttoken.core.slo import Slo
from firsttoken.core.words import EXIT_CODE, worst

EXIT_CODE_CTRL_C = 130


def open_slo(path: Path | None) -> Slo:
    """Read the acceptance targets."""
    from firsttoken.core import settings, slo

    return slo.load(path, settings.load(None))


@contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """End with exit code 130 on Ctrl-C, and treat SIGTERM as Ctrl-C, so that children are stopped
    and records saved either way."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_CODE_CTRL_C) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def finish(run_dir: Path, slo: Slo, json_output: bool) -> None:
    """Write the report of a run, print it, and end with the verdict's exit code."""
    from reports import build, terminal, write

    report = build.report(run_dir, slo)
    write.write_all(report, run_dir)
    if json_output:
        typer.echo((run_dir / "report.json").read_text(encoding="utf-8"), nl=False)
    else:
        typer.echo(terminal.table(report))
        typer.echo(f"\nreport: {run_dir / 'report.html'}")
    raise typer.Exit(EXIT_CODE[report.verdict])


def finish_all(run_dirs: list[Path], slo: Slo, json_output: bool) -> None:
    """Write the report of each run, print a line each, and end with the worst verdict's code.

    A run that cannot be read does not keep the others from their reports; it is named, and the
    exit code is that of unusable data.
    """
    from reports import build, terminal, write

    found, faults, printed = [], [], []
    for run_dir in dict.fromkeys(run_dirs):
        try:
            report = build.report(run_dir, slo)
            write.write_all(report, run_dir)
        except UserError as error:
            faults.append(str(error))
            continue
        found.append(report.verdict)
        if json_output:
            printed.append(json.loads((run_dir / "report.json").read_text(encoding="utf-8")))
        else:
            typer.echo(terminal.line(report, run_dir))
    if json_output:
        typer.echo(json.dumps(printed, ensure_ascii=False, indent=2))
    if faults:
        raise UserError("\n".join(faults))
    raise typer.Exit(EXIT_CODE[worst(found)])
