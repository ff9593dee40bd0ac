"""``firsttoken tune --try``: candidate settings on the embedded engine, and which one wins.

One engine lives at a time, on one port: a small machine has no room for several, and what the
others would compute while idle would be measured too. Each look starts it anew, so none finds
prompts in a cache that another has filled. What is tried next is decided in
:mod:`firsttoken.trials.tuning.search`, what it shows in :mod:`firsttoken.trials.tuning.answer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.host import cpu_quota
from firsttoken.core.records import ArmTarget, Manifest, rows_so_far
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from firsttoken.engines.options import EngineOptions
from firsttoken.trials import run_folder
from firsttoken.trials.capacity import HOST_COLUMNS
from firsttoken.trials.measure import ArmPlan, Measurement, Run
from firsttoken.trials.progress import Progress
from firsttoken.trials.tuning import show
from firsttoken.trials.tuning.answer import Tried, conclude
from firsttoken.trials.tuning.candidates import Candidate
from firsttoken.trials.tuning.engines import Engines
from firsttoken.trials.tuning.looks import Seen, Stage, leader
from firsttoken.trials.tuning.plan import TryPlan, search_of
from firsttoken.trials.tuning.search import Search, Step, next_step, untried
from firsttoken.trials.tuning.seeing import COLUMNS, seen_of
from reports import verdict

Look = Callable[[Step], Seen | None]
"""Looks at one candidate for so many seconds; None: it cannot be started."""


@dataclass(slots=True)
class Found:
    """What came of the looks so far, for whoever needs it when one is broken off."""

    seen: list[Seen] = field(default_factory=list)
    """In order."""
    refused: list[Candidate] = field(default_factory=list)
    """Candidates that cannot be started here."""


def seek(
    search: Search, look: Look, found: Found, *, now_s: Callable[[], float], began_s: float
) -> None:
    """Look at candidates until all was seen or the time is over.

    Args:
        search: what is sought.
        look: makes one look.
        found: added to.
        now_s: seconds of a clock that does not run backwards.
        began_s: when it was begun, on that clock.
    """
    while (step := next_step(search, found.seen, now_s() - began_s, found.refused)) is not None:
        shown = look(step)
        if shown is None:
            found.refused.append(step.candidate)
        else:
            found.seen.append(shown)


def _arm(candidate: Candidate, url: str, options: EngineOptions) -> ArmPlan:
    note = f"embedded engine, {candidate}, {options.context_per_slot} tokens a slot"
    return ArmPlan(ArmTarget(candidate.name, url, options.model_name, "openai", note))


def tune_try(plan: TryPlan, settings: Settings, slo: Slo, progress: Progress) -> tuple[Path, Tried]:
    """Measure candidates on the embedded engine; return the run folder and what came of it.

    Raises:
        UserError: the engine cannot be started, or the folder cannot be written.
        KeyboardInterrupt: handed on after the engine was stopped and what was seen was written.
    """
    began_s = monotonic_ns() / NS_PER_S
    search = search_of(plan, settings)
    run_id = run_folder.new_run_id("tune")
    run_dir = run_folder.create(plan.out, run_id)
    notes: list[str] = []
    found = Found()
    with Engines(settings, run_dir, notes) as engines:
        options = engines.options(search.reference)
        found.refused += _refused(engines, search, notes, progress)
        base = _measurement(plan, run_id, search, engines.url, options)
        progress.say(
            f"reference: {search.reference}, {options.context_per_slot} tokens a slot "
            f"(the deployment guide's settings); at most {plan.seconds:g} s, into {run_dir}"
        )
        try:
            with Run(
                base, run_dir, slo, progress, pids={"engine": engines.pids}, notes=notes
            ) as run:
                look = _looker(
                    run, engines, base, slo, progress,
                    notes=notes, reference=search.reference, found=found,
                )  # fmt: skip
                seek(search, look, found, now_s=lambda: monotonic_ns() / NS_PER_S, began_s=began_s)
                # It must not compute while the clock is calibrated.
                engines.stop()
        except (KeyboardInterrupt, UserError):
            engines.stop()
            _write(search, found, notes, run_dir, (), cut_short=True)
            raise
    return run_dir, _write(
        search, found, notes, run_dir, _clock_faults(plan, run_dir, slo), cut_short=False
    )


def _write(
    search: Search,
    found: Found,
    notes: list[str],
    run_dir: Path,
    faults: Sequence[str],
    *,
    cut_short: bool,
) -> Tried:
    left = untried(search, found.seen, found.refused)
    if left:
        notes.append(f"not tried for want of time: {'; '.join(map(str, left))}")
    tried = conclude(search, found.seen, tuple(notes), cut_short=cut_short, faults=faults)
    show.write(tried, run_dir)
    return tried


def _clock_faults(plan: TryPlan, run_dir: Path, slo: Slo) -> list[str]:
    """Return why the load generator's clock cannot be trusted, as the run's report would."""
    if not plan.calibrate:
        return []
    return verdict.calibration_faults(Manifest.read(run_dir).calibration, plan.users, slo)


def _refused(
    engines: Engines, search: Search, notes: list[str], progress: Progress
) -> list[Candidate]:
    """Return the candidates that cannot be started here, and say why."""
    refused = []
    for slots in search.slots:
        for threads in {search.reference.threads, *search.threads}:
            candidate = Candidate(slots, threads)
            try:
                engines.options(candidate)
            except UserError as error:
                refused.append(candidate)
                notes.append(f"{candidate}: not tried: {error}")
                progress.say(f"  {notes[-1]}")
    return refused


def _measurement(
    plan: TryPlan, run_id: str, search: Search, url: str, options: EngineOptions
) -> Measurement:
    every = [search.reference, *(Candidate(each, search.reference.threads) for each in plan.slots)]
    every += [Candidate(slots, each) for slots in plan.slots for each in search.threads]
    return Measurement(
        run_id=run_id,
        arms=tuple(_arm(each, url, options) for each in dict.fromkeys(every)),
        steps=(plan.users,),
        step_seconds=plan.step_seconds,
        warmup_seconds=plan.warmup_seconds,
        seed=plan.seed,
        max_tokens=plan.max_tokens,
        calibrate=plan.calibrate,
    )


def _looker(
    run: Run,
    engines: Engines,
    base: Measurement,
    slo: Slo,
    progress: Progress,
    *,
    notes: list[str],
    reference: Candidate,
    found: Found,
) -> Look:
    def look(step: Step) -> Seen | None:
        begun_ns = monotonic_ns()
        proving = step.stage is Stage.PROVE
        if proving and not any(item.stage is Stage.PROVE for item in found.seen):
            progress.say(f"proving in turns: {leader(found.seen, reference)} against {reference}")
        try:
            engine = engines.start(step.candidate)
        except UserError as error:
            if proving or step.candidate == reference:
                raise
            # One that the memory does not suffice for leaves the others to be tried.
            notes.append(f"{step.candidate}: not tried: {error}")
            progress.say(f"  {notes[-1]}")
            return None
        arm = _arm(step.candidate, engines.url, engine.options)
        # Both sides of a turn are asked the same; the next turn asks something else.
        (block,) = run.load(
            replace(
                base,
                arms=(arm,),
                step_seconds=step.seconds,
                warmup_seconds=step.warmup,
                seed=base.seed + step.turn,
            )
        )
        engines.stop()
        rows = rows_so_far(run.run_dir, "requests", COLUMNS).to_pandas()
        host = rows_so_far(run.run_dir, "host", HOST_COLUMNS).to_pandas()
        return seen_of(
            step,
            block,
            rows,
            host,
            took_s=(monotonic_ns() - begun_ns) / NS_PER_S,
            target_ms=slo.ttft_p95_ms,
            cores=cpu_quota(),
        )

    return look
