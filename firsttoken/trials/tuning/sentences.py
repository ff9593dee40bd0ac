"""The guide's tuning sentences that can be tried on a running engine, measured side by side.

Arms that take turns: the settings as they are, a temperature of 0.5, slots of 1024 tokens, and an
engine that keeps nothing of earlier prompts, as after its cache was cleared. Beside them, what a
restart and a check of the model file take.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firsttoken.core import settings as settings_room
from firsttoken.core.clock import NS_PER_MS, monotonic_ns
from firsttoken.core.records import ArmTarget, read_table
from firsttoken.core.slo import Slo
from firsttoken.core.words import Outcome, Phase
from firsttoken.engines import gguf
from firsttoken.engines import options as engine_options
from firsttoken.engines.supervisor import EngineSupervisor
from firsttoken.trials import run_folder
from firsttoken.trials.measure import ArmPlan, Measurement, measure
from firsttoken.trials.progress import Progress
from reports.comparison import compare, rounds_of

BASE, COOLER, SHORTER, FORGETFUL = "as_is", "temperature_0.5", "num_ctx_1024", "cache_cleared"
ARMS = (BASE, COOLER, SHORTER, FORGETFUL)


@dataclass(frozen=True, slots=True)
class Sentences:
    """What is measured."""

    users: int = 20
    slots: int = 24
    rounds: int = 3
    step_seconds: float = 9.0
    warmup_seconds: float = 4.0
    seed: int = 1
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Beside:
    """What was timed once, in ms."""

    restart_ms: float
    """From stopping the engine to the first token of the next."""
    check_ms: float
    """Reading the model file's header and comparing its length with what it promises."""


def tune_sentences(plan: Sentences, slo: Slo, progress: Progress) -> tuple[Path, Beside]:
    """Measure; return the run folder and what was timed beside it.

    Raises:
        UserError: something could not be started, or the folder cannot be written.
    """
    run_id = run_folder.new_run_id("tune-sentences")
    run_dir = run_folder.create(plan.out, run_id)
    settings = settings_room.load(None, environ={})
    notes: list[str] = []
    with ExitStack() as stack:

        def engine(name: str, context: int | None = None) -> EngineSupervisor:
            wanted = engine_options.from_settings(
                settings, slots=plan.slots, context_per_slot=context
            )
            checked = engine_options.check(wanted).options
            made = EngineSupervisor(
                checked, log=run_dir / f"engine-{name}.log", on_event=notes.append
            )
            with progress.doing(f"starting llama.cpp: {name}"):
                made.start()
            stack.callback(made.stop)
            return made

        as_is, shorter, forgetful = engine(BASE), engine(SHORTER, 1024), engine(FORGETFUL)
        beside = _beside(forgetful)
        usual = settings.local_optimization.inference.temperature
        measurement = Measurement(
            run_id=run_id,
            arms=(
                _arm(BASE, as_is, {"temperature": usual}),
                _arm(COOLER, as_is, {"temperature": 0.5}),
                _arm(SHORTER, shorter, {"temperature": usual}),
                _arm(FORGETFUL, forgetful, {"temperature": usual, "cache_prompt": False}),
            ),
            steps=(plan.users,) * plan.rounds,
            step_seconds=plan.step_seconds,
            warmup_seconds=plan.warmup_seconds,
            seed=plan.seed,
            options={"alternate": True},
        )
        engines = (as_is, shorter, forgetful)
        measure(
            measurement,
            run_dir,
            slo,
            progress,
            pids={"engine": lambda: [each.pid for each in engines if each.pid is not None]},
            notes=notes,
        )
    return run_dir, beside


def _arm(name: str, engine: EngineSupervisor, body: dict[str, Any]) -> ArmPlan:
    target = ArmTarget(name, engine.url, engine.options.model_name, "openai")
    return ArmPlan(target, extra_body=body)


def _beside(engine: EngineSupervisor) -> Beside:
    began = monotonic_ns()
    engine.restart()
    restarted = monotonic_ns()
    gguf.read_model(engine.options.model)
    return Beside((restarted - began) / NS_PER_MS, (monotonic_ns() - restarted) / NS_PER_MS)


def rows(run_dir: Path) -> list[tuple[str, ...]]:
    """Return a row an arm: requests, errors, TTFT p50 and p95, each with its ratio to that of the
    settings as they are."""
    requests = read_table(run_dir, "requests").to_pandas()
    steady = requests[requests["phase"] == Phase.STEADY]
    found = []
    for arm in ARMS:
        group = steady[steady["arm"] == arm]
        compared = compare(arm, BASE, rounds_of(steady, arm, BASE, len(ARMS), 0.0))
        cells = [
            cell
            for item in compared
            for cell in (
                f"{item.arm_ms:.0f}",
                "1"
                if arm == BASE
                else f"{item.ratio:.2f} [{item.ratio_low:.2f}, {item.ratio_high:.2f}]",
            )
        ]
        errors = int((group["outcome"] != Outcome.SUCCESS).sum())
        prefill = group["prompt_ms"].median()
        found.append((arm, str(len(group)), str(errors), *cells, f"{prefill:.0f}"))
    return found
