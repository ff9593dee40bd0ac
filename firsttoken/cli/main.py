"""The ``firsttoken`` command: one file a verb, no logic of its own."""

from __future__ import annotations

import importlib.metadata
import sys
import traceback
from typing import Annotated

import typer

from firsttoken.cli import (
    bench,
    compare,
    config,
    dashboards,
    demo,
    doctor,
    engine,
    exporter,
    gate,
    report,
    route,
    serve,
    status,
    tune,
)
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode

app = typer.Typer(
    name="firsttoken",
    help="Makes the first token of a hybrid local/cloud LLM come early, and proves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for verb in (
    demo.demo,
    engine.engine,
    serve.serve,
    exporter.exporter,
    route.route,
    status.status,
    doctor.doctor,
    bench.bench,
    report.report,
    gate.gate,
    compare.compare,
    tune.tune,
):
    app.command()(verb)
app.add_typer(config.app, name="config")
app.add_typer(dashboards.app, name="dashboards")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"firsttoken {importlib.metadata.version('firsttoken')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line.

    A :class:`UserError` ends it with its message and exit code 2; a fault of our own with its
    trace and 70, which is no verdict's code.
    """
    try:
        app()
    except UserError as error:
        for line in str(error).splitlines():
            print(f"firsttoken: {line}", file=sys.stderr)
        sys.exit(ExitCode.USAGE)
    except Exception:  # noqa: BLE001 - shown whole; the default code would read as FAIL
        traceback.print_exc()
        sys.exit(ExitCode.FAULT)


if __name__ == "__main__":
    main()
