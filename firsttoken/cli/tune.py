"""``firsttoken tune``: what to change after a run; ``--try``: which settings win."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from firsttoken.core.errors import UserError


def tune(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Folder of a run. With --try: none."),
    ] = None,
    try_: Annotated[
        bool,
        typer.Option("--try", help="Measure candidate settings on the embedded engine."),
    ] = False,
    arm: Annotated[
        str | None, typer.Option(help="Arm of the run to look at. Default: the judged one.")
    ] = None,
    candidates: Annotated[
        list[str] | None,
        typer.Option(help="With --try: slots=1,4,8,16,24 threads=1,2 (the default slots)."),
    ] = None,
    users: Annotated[
        int | None, typer.Option(min=1, max=200, help="With --try: talkers. Default: 20.")
    ] = None,
    step_seconds: Annotated[
        float | None,
        typer.Option(min=1, max=600, help="With --try: seconds of a first look. Default: 8."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=10, max=86_400, help="With --try: seconds for everything. Default: 240."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="With --try: seed. Default: 1.")] = None,
    write: Annotated[
        Path | None, typer.Option(help="With --try: new settings file for what wins.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let --write replace a file that is there.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(hidden=True, help="Refused: an engine that is not ours is not restarted."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings at hand. Default: settings.yaml in the run's folder, or the packaged "
            "hybrid.yaml."
        ),
    ] = None,
    slo_file: Annotated[
        Path | None, typer.Option("--slo", help="Acceptance targets. Default: config/slo.yaml.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for advice.md and advice.json; with --try: of the run."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")
    ] = False,
) -> None:
    """Say what to change after a run, with evidence, expected gain and the settings line.

    Answers each of the guide's tuning_recommendations too. Changes nothing by itself.

    With --try: starts the embedded engine with candidate settings, loads it, and keeps those
    that the gate's own test shows to be sooner than the guide's settings. Ends with 0: one was
    found, 3: none was shown, 4: the machine was disturbed.

    \b
    Examples:
      firsttoken tune runs/20260131T235959Z-steps
      firsttoken tune --try --users 20 --candidates slots=1,4,8,16,24 threads=1,2
      firsttoken tune --try --write tuned.yaml
    """
    if target is not None:
        raise UserError(
            f"--target {target}: tune --try needs the embedded engine, which it starts anew for "
            "each candidate; that server is not ours to restart. Change its settings yourself "
            "(Ollama: OLLAMA_NUM_PARALLEL), measure each with firsttoken bench --target, and "
            "compare the runs"
        )
    words = list(run or [])
    if try_:
        told = [*(candidates or []), *(word for word in words if "=" in word)]
        odd = [word for word in words if "=" not in word]
        if odd:
            raise UserError(f"{odd[0]}: --try measures by itself; expected no RUN beside it")
        if arm is not None:
            raise UserError("--arm: belongs to a RUN, not to --try")
        _try(
            told, users, step_seconds, seconds, seed, write, overwrite, config, slo_file, out,
            as_json,
        )  # fmt: skip
        return
    for name, value in {
        "--candidates": candidates,
        "--users": users,
        "--step-seconds": step_seconds,
        "--seconds": seconds,
        "--seed": seed,
        "--write": write,
        "--overwrite": overwrite or None,
    }.items():
        if value is not None:
            raise UserError(f"{name}: belongs to --try")
    if len(words) != 1:
        raise UserError("expected the folder of one RUN, or --try")
    _advise(Path(words[0]), arm, config, slo_file, out, as_json)


def _advise(
    run_dir: Path,
    arm: str | None,
    config: Path | None,
    slo_file: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from firsttoken.cli.finish import open_slo
    from firsttoken.core import settings
    from reports.advice import advise, show

    beside = run_dir / "settings.yaml"
    path = config if config is not None else beside if beside.is_file() else None
    found = advise(
        run_dir, open_slo(slo_file), settings.load([path] if path is not None else None), arm
    )
    if out is not None:
        show.write(found, out)
    typer.echo(show.to_json(found) if as_json else show.terminal(found), nl=not as_json)


def _try(
    told: list[str],
    users: int | None,
    step_seconds: float | None,
    seconds: float | None,
    seed: int | None,
    write: Path | None,
    overwrite: bool,
    config: Path | None,
    slo_file: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from dataclasses import replace

    from firsttoken.cli.finish import open_slo, stopped_by_ctrl_c
    from firsttoken.core import settings
    from firsttoken.core.words import EXIT_CODE
    from firsttoken.trials.progress import Progress
    from firsttoken.trials.tuning import settings_file, show
    from firsttoken.trials.tuning.candidates import parse_candidates
    from firsttoken.trials.tuning.plan import TryPlan
    from firsttoken.trials.tuning.trying import tune_try

    wanted = parse_candidates(told)
    given: dict[str, Any] = {
        "users": users,
        "step_seconds": step_seconds,
        "seconds": seconds,
        "seed": seed,
        "out": out,
        **wanted,
    }
    plan = replace(TryPlan(), **{key: value for key, value in given.items() if value is not None})
    if write is not None:
        settings_file.check_target(write, overwrite=overwrite)
    at_hand = settings.load([config] if config is not None else None)
    progress = Progress()
    with stopped_by_ctrl_c():
        run_dir, found = tune_try(plan, at_hand, open_slo(slo_file), progress)
    if as_json:
        typer.echo(show.to_json(found), nl=False)
    else:
        typer.echo(show.terminal(found))
        typer.echo(f"\nrun: {run_dir}")
    if write is not None and found.lines:
        path = settings_file.write_settings(config, found.lines, write, overwrite=overwrite)
        progress.say(f"wrote {path}; start with: firsttoken engine --config {path}")
    elif write is not None:
        progress.say(f"nothing was written to {write}: no setting won")
    raise typer.Exit(EXIT_CODE[found.verdict])
