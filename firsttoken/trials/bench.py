"""Measure one server, any that speaks a known dialect, alone or in turns with another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firsttoken.core.slo import Slo
from firsttoken.trials import run_folder, versus
from firsttoken.trials.capacity import CapacityPlan, capacity
from firsttoken.trials.generators import ONE, Generators
from firsttoken.trials.measure import Measurement, measure
from firsttoken.trials.pinning import Pinning
from firsttoken.trials.progress import Progress
from firsttoken.trials.versus import Asked


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
    warmup_seconds: float = 3.0
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the load child's plan, such as those of the scenario."""
    against: Asked | None = None
    """A second server: the two take turns, on one schedule."""
    rounds: int = 1
    """Turns of each of the two."""
    generators: Generators = ONE
    pinning: Pinning | None = None


def bench(request: Bench, slo: Slo, progress: Progress) -> Path:
    """Measure the target and return the run folder.

    Raises:
        UserError: the target cannot be measured, or the folder cannot be written.
        KeyboardInterrupt: handed on after the records were saved.
    """
    run_id = run_folder.new_run_id(request.scenario)
    asked = Asked(request.url, request.model, request.dialect, request.api_key_env)
    targets = versus.find(asked, request.against, progress)
    run_dir = run_folder.create(request.out, run_id)
    for target in targets:
        progress.say(f"measuring {target.url} ({target.model}) into {run_dir}")
    notes = _told(versus.sharing_note(targets), progress)
    in_turns = {"alternate": True} if request.against is not None else {}
    measurement = Measurement(
        run_id=run_id,
        arms=versus.arms_of(targets),
        steps=request.steps * request.rounds,
        step_seconds=request.step_seconds,
        warmup_seconds=request.warmup_seconds,
        scenario=request.scenario,
        seed=request.seed,
        max_tokens=request.max_tokens,
        generators=request.generators,
        pinning=request.pinning,
        options={**request.options, **in_turns},
    )
    measure(measurement, run_dir, slo, progress, notes=notes)
    return run_dir


def bench_capacity(
    asked: Asked,
    plan: CapacityPlan,
    slo: Slo,
    progress: Progress,
    *,
    against: Asked | None = None,
    out: Path | None = None,
) -> Path:
    """Seek how many devices, or requests a second, one or two servers carry; return the run folder.

    Raises:
        UserError: a target cannot be measured, or the folder cannot be written.
        KeyboardInterrupt: handed on after the records were saved.
    """
    run_id = run_folder.new_run_id("capacity")
    targets = versus.find(asked, against, progress)
    run_dir = run_folder.create(out, run_id)
    for target in targets:
        progress.say(f"seeking what {target.url} ({target.model}) carries, into {run_dir}")
    notes = _told(versus.sharing_note(targets), progress)
    capacity(
        versus.arms_of(targets), plan, slo, progress, run_id=run_id, run_dir=run_dir, notes=notes
    )
    return run_dir


def _told(note: str | None, progress: Progress) -> list[str]:
    """Say what a reader must know now, and keep it for the report."""
    if note is None:
        return []
    progress.say(f"note: {note}")
    return [note]
