"""What ``firsttoken tune --try`` is asked for, and what it seeks therefore."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.core.host import cpu_quota
from firsttoken.core.settings import Settings
from firsttoken.engines import options as engine_options
from firsttoken.trials.measure import CALIBRATION_SECONDS
from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.search import Search

GUIDE_SLOTS = 1
"""The guide's settings name no number of slots, and ``OLLAMA_NUM_PARALLEL`` is absent from its
Compose file and unit: Ollama then answers one request at a time."""


AFTER_S = CALIBRATION_SECONDS + 2.0
"""What is left of the time for the calibration at the end."""


@dataclass(frozen=True, slots=True)
class TryPlan:
    """The arguments of ``firsttoken tune --try``."""

    users: int = 20
    slots: tuple[int, ...] = (1, 4, 8, 16, 24)
    threads: tuple[int, ...] | None = None
    """None: as many as the cores, and half of them."""
    step_seconds: float = 8.0
    seconds: float = 240.0
    warmup_seconds: float = 3.0
    """The shortest; it grows with the slots that have to read their first prompt."""
    turns: int = 3
    seed: int = 1
    max_tokens: int = 32
    calibrate: bool = True
    out: Path | None = None


def guide_reference(settings: Settings) -> Candidate:
    """Return what the deployment guide's settings are to the engine: one slot, and its
    ``num_thread`` or the cores, whichever is less."""
    wanted = settings.local_optimization.inference.num_thread
    return Candidate(GUIDE_SLOTS, engine_options.usable_threads(wanted))


def search_of(plan: TryPlan, settings: Settings) -> Search:
    """Return what is sought.

    Raises:
        UserError: the time does not suffice for a single comparison.
    """
    reference = guide_reference(settings)
    least = 2 * plan.step_seconds
    if plan.seconds < least:
        raise UserError(
            f"--seconds {plan.seconds:g}: expected at least {least:g}, two looks of --step-seconds"
        )
    cores = max(1, int(cpu_quota()))
    return Search(
        reference=reference,
        slots=plan.slots,
        threads=plan.threads or tuple(sorted({max(1, cores // 2), cores})),
        seconds=plan.seconds - (AFTER_S if plan.calibrate else 0.0),
        step_seconds=plan.step_seconds,
        turns=plan.turns,
        users=plan.users,
        warmup_seconds=plan.warmup_seconds,
    )
