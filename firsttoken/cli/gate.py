"""``firsttoken gate``: did first tokens get slower than a baseline?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from firsttoken.core.errors import UserError


def gate(
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Further measurements of --noise-from."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Measurement, or stored baseline, to compare with.")
    ] = None,
    candidate: Annotated[Path | None, typer.Option(help="Measurement to judge.")] = None,
    again: Annotated[
        Path | None,
        typer.Option(help="Second measurement of the candidate: only what both show is red."),
    ] = None,
    rules_file: Annotated[
        Path | None, typer.Option("--rules", help="Default: config/gate.yaml.")
    ] = None,
    noise_file: Annotated[
        Path | None,
        typer.Option("--noise", help="Stored noise. Default: noise.json beside the baseline."),
    ] = None,
    noise_from: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN RUN...",
            help="Measurements of one version, two or more: how far they lie apart is noise.",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Store --candidate as a baseline, and the noise of --noise-from beside it. With "
            "--baseline: only where nothing got worse.",
        ),
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="Arm to compare. Default: hybrid, target or the only one.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="Users of the step to compare. Default: the largest.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write gate.json, gate.md and gate-junit.xml there.")
    ] = None,
    github: Annotated[
        bool,
        typer.Option(
            "--github", help="Print annotations, append the summary to $GITHUB_STEP_SUMMARY."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print gate.json and nothing else.")
    ] = False,
) -> None:
    """Compare a measurement with a baseline: red only where something got worse.

    Worse is what is significant, at least the rule's minimum effect, larger than the machine's own
    noise where that is known, and shown again where --again is given. A measurement is the folder
    of a run, a stored baseline, a folder with benchmarks.json, or a file of pytest-benchmark.

    Ends with 0 nothing got worse, 1 a regression, 2 a measurement is missing, empty or unreadable,
    3 too few values, or too unlike a baseline, to tell.

    \b
    Examples:
      firsttoken gate --baseline runs/main --candidate runs/mine
      firsttoken gate --candidate runs/main --noise-from runs/main runs/main2 --save baseline
      firsttoken gate --baseline baseline --candidate runs/mine --again runs/mine2
    """
    from firsttoken.core.words import EXIT_CODE
    from reports.gate import noise as noise_room
    from reports.gate import rules, samples, write
    from reports.gate.judge import judge

    runs = [*(noise_from or []), *(more or [])]
    _check(baseline, candidate, again, save, runs, named=bool(noise_from), stored=noise_file)
    from firsttoken.cli.finish import open_slo

    slo, asked = open_slo(None), rules.load(rules_file)

    def opened(path: Path) -> samples.Measurement:
        return samples.read(path, slo, arm=arm, step=step)

    noise = noise_room.of([opened(run) for run in runs], asked) if runs else None
    measured = opened(candidate) if candidate is not None else None
    if baseline is None or measured is None:
        _store(measured, save, noise)
        return
    if noise is None:
        beside = noise_file or baseline / noise_room.NOISE
        noise = noise_room.read(beside) if noise_file or beside.is_file() else {}
    second = opened(again) if again is not None else None
    found = judge(opened(baseline), measured, asked, noise, again=second)
    if out is not None:
        write.write_all(found, out)
    typer.echo(write.json_text(found) if as_json else write.plain(found), nl=not as_json)
    if github:
        # GitHub reads commands from both streams; the one may be for a program.
        for line in write.workflow_commands(found):
            print(line, file=sys.stderr if as_json else sys.stdout)
        _append(write.markdown(found))
    if save is not None and EXIT_CODE[found.verdict] == 0:
        _store(measured, save, noise, quiet=as_json)
    raise typer.Exit(EXIT_CODE[found.verdict])


def _check(
    baseline: Path | None,
    candidate: Path | None,
    again: Path | None,
    save: Path | None,
    runs: list[Path],
    *,
    named: bool,
    stored: Path | None,
) -> None:
    """Refuse what does not fit together.

    Raises:
        UserError: an option is missing, or one excludes another.
    """
    if runs and not named:
        raise UserError(f"{runs[0]} is not asked for: name measurements with --candidate")
    if runs and stored is not None:
        raise UserError("--noise and --noise-from exclude each other: expected one of them")
    if baseline is not None and candidate is None:
        raise UserError("--candidate is missing: expected the measurement to judge")
    if baseline is None and again is not None:
        raise UserError("--baseline is missing: --again confirms what it shows")
    if baseline is None and save is None:
        raise UserError("--baseline is missing: expected what to compare with, or --save to store")
    if baseline is None and candidate is None and not runs:
        raise UserError("--candidate is missing: expected the measurement to store")


def _store(measured: object, save: Path | None, noise: object, *, quiet: bool = False) -> None:
    """Store a baseline, the noise beside it, or both."""
    from reports.gate import noise as noise_room
    from reports.gate import samples

    if save is None:
        return
    said = []
    if isinstance(measured, samples.Measurement):
        samples.save(measured, save)
        said.append(f"baseline stored in {save}")
    if isinstance(noise, dict) and noise:
        said.append(f"noise stored in {noise_room.write(noise, save)}")
        said += [f"  {name}: {share * 100:.2f} %" for name, share in sorted(noise.items())]
    if not quiet:
        typer.echo("\n".join(said))


def _append(summary: str) -> None:
    """Append to the file that GitHub shows as the summary of a job; elsewhere there is none."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(summary + "\n")
    except OSError as error:
        raise UserError(f"cannot append to {name}: {error.strerror or error}") from error
