"""``firsttoken dashboards``: write boards and rules, and check that they are as they should be."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from firsttoken.core.settings import Settings
    from firsttoken.core.slo import Slo

app = typer.Typer(
    help="Write Grafana's boards and Prometheus' rules, check them, draw them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Form(StrEnum):
    """What a picture may be."""

    PNG = "png"
    SVG = "svg"


_CONFIG = typer.Option("--config", help="Settings in YAML; may be given again to lay over it.")
_SLO = typer.Option("--slo", help="Acceptance targets in YAML; the packaged ones if not given.")


@app.command()
def build(
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; the packaged one if not given.")
    ] = None,
    config: Annotated[list[Path] | None, _CONFIG] = None,
    slo: Annotated[Path | None, _SLO] = None,
) -> None:
    """Write boards, provisioning files, rules and configuration for these settings.

    Example: firsttoken dashboards build --config my.yaml --out monitoring
    """
    from dashboards.build import GENERATED, files, write

    made = files(*_read(config, slo))
    folder = out or GENERATED
    write(folder, made)
    typer.echo(f"{len(made)} files written to {folder}")


@app.command()
def check(
    out: Annotated[
        Path | None, typer.Option(help="Folder to check; the packaged one if not given.")
    ] = None,
    config: Annotated[list[Path] | None, _CONFIG] = None,
    slo: Annotated[Path | None, _SLO] = None,
) -> None:
    """Check that the generated files are up to date and that boards pass every rule of the linter.

    Needs no server. Ends with 0, or with 1 and a line for each thing that is wrong.

    Example: firsttoken dashboards check
    """
    from dashboards.build import GENERATED, files, findings, loaded, stale
    from dashboards.lint import RULES
    from firsttoken.core.words import ExitCode

    made = files(*_read(config, slo))
    wrong = [*stale(out or GENERATED, made), *map(str, findings(made))]
    for line in wrong:
        typer.echo(line)
    if wrong:
        typer.echo("FAIL: firsttoken dashboards build writes the files anew")
        raise typer.Exit(ExitCode.FAIL)
    typer.echo(
        f"OK: {len(made)} files up to date, {len(loaded(made))} boards pass {len(RULES)} rules"
    )


@app.command()
def preview(
    prometheus: Annotated[
        str, typer.Option(help="URL of a Prometheus that scrapes the router and the exporter.")
    ] = "http://localhost:9090",
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("boards"),
    board: Annotated[
        list[str] | None, typer.Option(help="Board to draw; may be given again. Default: all.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.1, max=10_080, help="The last minutes are shown.")
    ] = 15.0,
    scrape_seconds: Annotated[
        float, typer.Option(min=0.1, max=600, help="Between two scrapes of that Prometheus.")
    ] = 5.0,
    variable: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A variable of the boards; may be given again."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="png or svg.")] = Form.PNG,
    config: Annotated[list[Path] | None, _CONFIG] = None,
    slo: Annotated[Path | None, _SLO] = None,
) -> None:
    """Draw the boards without Grafana: their own queries, asked of a Prometheus.

    Ends with 2 where Prometheus does not answer. Each picture says that Grafana did not make it.

    Example: firsttoken dashboards preview --prometheus http://localhost:9090 --board overview
    """
    import time

    from dashboards.build import files, loaded
    from dashboards.preview import Window, draw
    from firsttoken.core.errors import UserError

    boards = loaded(files(*_read(config, slo)))
    unknown = set(board or ()) - boards.keys()
    if unknown:
        raise UserError(f"--board {min(unknown)}: expected one of {', '.join(boards)}")
    chosen = {name: value for name, _, value in (each.partition("=") for each in variable or ())}
    if not all(chosen.values()):
        raise UserError("--variable: expected NAME=VALUE, such as backend=local")
    now = time.time()
    window = Window(now - 60 * minutes, now, scrape_seconds)
    wanted = {name: content for name, content in boards.items() if not board or name in board}
    for path in draw(wanted, prometheus, window, out, form=form.value, chosen=chosen):
        typer.echo(f"wrote {path}")


def _read(config: list[Path] | None, slo: Path | None) -> tuple[Slo, Settings]:
    from firsttoken.core import settings as settings_room
    from firsttoken.core import slo as slo_room

    # Nothing is sent anywhere: keys of backends are not needed here.
    settings = settings_room.load(config, {})
    return slo_room.load(slo, settings), settings
