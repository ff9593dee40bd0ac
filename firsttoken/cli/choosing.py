"""What ``firsttoken bench --models`` can be told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode
from firsttoken.trials.models import ModelsPlan, measure_models
from firsttoken.trials.models.serve import Wanted

MOST_MODELS = 32
PACKAGED = "packaged"
"""Stands for the model file that comes with the package."""

_FITTING = frozenset({"models", "target", "step_seconds", "seed", "out", "slo", "json_output"})
"""Parameters of ``firsttoken bench`` that mean something beside ``--models``."""


def parse_models(listed: str, target: str | None) -> tuple[Wanted, ...]:
    """Read ``a.gguf,qwen2:1.5b``: files, and with a target also names at the Ollama there.

    ``packaged`` is the model file that comes along. With a target, what ends in ``.gguf`` is a
    file. Whether a file is there is found out when it is its turn, so that the others are measured.
    A file is called by its name, or as it was given where two have the same.

    Raises:
        UserError: an item is empty or stands twice, or there are too many.
    """
    items = [item.strip() for item in listed.split(",")]
    if not all(items):
        raise UserError(
            f"--models {listed}: an item is empty; expected GGUF files such as a.gguf,b.gguf"
        )
    if len(set(items)) != len(items):
        raise UserError(f"--models {listed}: a model stands twice")
    if len(items) > MOST_MODELS:
        raise UserError(f"--models: {len(items)} models; expected at most {MOST_MODELS}")
    models = [_wanted(item, target) for item in items]
    names = [each.name for each in models]
    return tuple(
        replace(each, name=item) if names.count(each.name) > 1 else each
        for item, each in zip(items, models, strict=True)
    )


def _wanted(item: str, target: str | None) -> Wanted:
    if item == PACKAGED:
        from firsttoken.engines.options import default_model

        file = default_model()
        return Wanted(file.stem, file)
    if target is not None and not item.lower().endswith(".gguf"):
        return Wanted(item, None)
    file = Path(item).expanduser()
    return Wanted(file.stem if file.suffix.lower() == ".gguf" else item, file)


def unfitting(context: typer.Context) -> list[str]:
    """Return the options of the command line that mean nothing beside ``--models``."""
    found = []
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        given = source is not None and source.name == "COMMANDLINE"
        if given and parameter.name not in _FITTING:
            found.append(parameter.opts[0])
    return found


def plan_of(
    listed: str,
    *,
    target: str | None,
    step_seconds: float | None,
    seed: int,
    out: Path | None,
    unwanted: Sequence[str],
) -> ModelsPlan:
    """Return what is to be measured of which models.

    Raises:
        UserError: one line: an option means nothing here, or a name has no target.
    """
    if unwanted:
        why = "not with --models, where one talker asks one model at a time"
        raise UserError(f"{unwanted[0]}: {why}")
    models = parse_models(listed, target)
    plan = ModelsPlan(models, target if _any_name(models) else None, seed=seed, out=out)
    if target is not None and plan.ollama is None:
        raise UserError(
            f"--target {target}: --models names files only, which the embedded engine serves; "
            "expected --target together with the name of an Ollama model"
        )
    return plan if step_seconds is None else replace(plan, seconds=step_seconds)


def _any_name(models: tuple[Wanted, ...]) -> bool:
    return any(each.file is None for each in models)


def run(plan: ModelsPlan, slo_file: Path | None, *, json_output: bool) -> NoReturn:
    """Measure the models, print the table, and end with 0 where at least one was measured, else
    with 2."""
    from firsttoken.cli.finish import open_slo, stopped_by_ctrl_c
    from firsttoken.core import settings
    from firsttoken.trials.models import page
    from firsttoken.trials.progress import Progress

    targets = open_slo(slo_file)
    with stopped_by_ctrl_c():
        run_dir, found = measure_models(plan, settings.load(None), targets, Progress())
    if json_output:
        typer.echo(json.dumps(page.as_dict(found), ensure_ascii=False, indent=2))
    else:
        typer.echo(page.terminal(found))
        typer.echo(f"\nwritten to {run_dir}")
    raise typer.Exit(ExitCode.PASS if found.measured else ExitCode.USAGE)
