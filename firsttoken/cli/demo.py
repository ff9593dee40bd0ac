"""``firsttoken demo``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the hybrid arm, 20 talkers, 45 s measured.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/<UTC>-steps.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the schedule.")] = 1,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print report.json and nothing else.")
    ] = False,
) -> None:
    """Start the embedded engine, an emulated cloud and the router; load them; give a verdict.

    5, 10, 15 and 20 concurrent talkers say the same seeded sentences to three arms: the router
    (hybrid), a bare engine with the deployment guide's settings (local_only), and the emulated
    cloud (remote_only). Ends with the verdict's exit code: 0 PASS, 1 FAIL, 3 INCONCLUSIVE,
    4 UNTRUSTED.

    Example: firsttoken demo --quick
    """
    from firsttoken.cli.finish import finish, open_slo, stopped_by_ctrl_c
    from firsttoken.trials import demo as trial
    from firsttoken.trials.progress import Progress

    plan = replace(trial.QUICK if quick else trial.Demo(), out=out, seed=seed)
    targets = open_slo(None)
    with stopped_by_ctrl_c():
        run_dir = trial.demo(plan, targets, Progress())
    finish(run_dir, targets, json_output)
