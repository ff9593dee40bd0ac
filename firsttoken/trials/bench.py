"""Measure one server, any that speaks a known dialect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from firsttoken.core.records import ArmTarget
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm
from firsttoken.trials import run_folder
from firsttoken.trials.measure import ArmPlan, Measurement, measure
from firsttoken.trials.progress import Progress
from firsttoken.trials.target import Target, resolve


@dataclass(frozen=True, slots=True)
class Bench:
    """The arguments of ``firsttoken bench``."""

    url: str
    model: str | None
    dialect: str
    api_key_env: str | None
    steps: tuple[int, ...]
    step_seconds: float
    scenario: str
    seed: int
    max_tokens: int
    out: Path | None


def bench(request: Bench, slo: Slo, progress: Progress) -> Path:
    """Measure the target and return the run folder.

    Raises:
        UserError: the target cannot be measured, or the folder cannot be written.
        KeyboardInterrupt: handed on after the records were saved.
    """
    run_id = run_folder.new_run_id(request.scenario)
    with progress.doing(f"asking {request.url} for a first token"):
        target = resolve(request.url, request.model, request.dialect, request.api_key_env)
    run_dir = run_folder.create(request.out, run_id)
    progress.say(f"measuring {target.url} ({target.model}) into {run_dir}")
    measurement = Measurement(
        run_id=run_id,
        arms=(_arm(target),),
        steps=request.steps,
        step_seconds=request.step_seconds,
        scenario=request.scenario,
        seed=request.seed,
        max_tokens=request.max_tokens,
    )
    measure(measurement, run_dir, slo, progress)
    return run_dir


def _arm(target: Target) -> ArmPlan:
    return ArmPlan(
        ArmTarget(
            arm=Arm.TARGET,
            url=target.url,
            model=target.model,
            dialect=target.dialect,
            note="emulated cloud" if target.emulated else "",
        ),
        api_key_env=target.api_key_env,
    )
