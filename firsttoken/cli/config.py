"""``firsttoken config``: check settings files, and show what is in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Check settings files and show the values in force.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Settings in YAML.")],
) -> None:
    """Check settings files together, each laid over the one before, in this environment.

    Prints OK, warnings and notes, and ends with 0; or one line for each error, and ends with 2.

    Example: firsttoken config validate config/hybrid.yaml
    """
    from firsttoken.core import settings

    checked = settings.load(files)
    names = ", ".join(str(file) for file in files)
    enabled = [backend.name for backend in checked.backends() if backend.enabled]
    typer.echo(f"OK: {names}: backends in use: {', '.join(enabled) or 'none'}")
    for warning in checked.warnings:
        typer.echo(f"warning: {warning}")
    for note in checked.notes:
        typer.echo(f"note: {note}")


@app.command()
def show(
    files: Annotated[
        list[Path] | None,
        typer.Option("--config", help="Settings in YAML; may be given again to lay over it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Show every value in force and where it came from: a line of a file, an environment
    variable, or the default. Keys are shown as "set (from NAME)" only.

    Example: firsttoken config show --config config/hybrid.yaml
    """
    from firsttoken.core import settings

    shown = settings.load(files or None)
    rows = list(shown.rows())
    if as_json:
        typer.echo(json.dumps(_document(shown, rows), ensure_ascii=False, indent=2))
        return
    table = [(key, _text(value), source) for key, value, source in rows]
    for line in _aligned([("KEY", "VALUE", "SOURCE"), *table]):
        typer.echo(line)
    typer.echo("")
    backends = [
        (b.name, b.base_url, b.model, b.dialect or "asked", b.disabled_reason or "in use")
        for b in shown.backends()
    ]
    for line in _aligned([("BACKEND", "BASE URL", "MODEL", "DIALECT", "STATE"), *backends]):
        typer.echo(line)
    for warning in shown.warnings:
        typer.echo(f"warning: {warning}", err=True)


def _document(shown: Any, rows: list[tuple[str, Any, str]]) -> dict[str, Any]:
    return {
        "hash": shown.hash(),
        "settings": [{"key": k, "value": v, "source": s} for k, v, s in rows],
        "backends": [
            {
                "name": backend.name,
                "tier": str(backend.tier),
                "base_url": backend.base_url,
                "dialect": backend.dialect,
                "model": backend.model,
                "enabled": backend.enabled,
                "disabled_reason": backend.disabled_reason or None,
            }
            for backend in shown.backends()
        ],
        "warnings": list(shown.warnings),
        "notes": list(shown.notes),
    }


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return the rows as lines with columns two spaces apart; a Chinese character fills two."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join(
            [
                cell + " " * (width - cell_len(cell))
                for cell, width in zip(row, widths, strict=False)
            ]
            + [row[-1]]
        ).rstrip()
        for row in rows
    ]
