"""All advice on a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo
from reports import load
from reports.advice import caches, cloud, engine, guide, machine, prompts
from reports.advice.facts import Facts, gather
from reports.advice.model import Advice, Advised, rank

Adviser = Callable[[Facts, Settings], Advice | None]

ADVISERS: tuple[Adviser, ...] = (
    engine.slots,
    engine.queue,
    engine.threads,
    engine.loading,
    prompts.context,
    prompts.prefix,
    caches.cache,
    cloud.hedging,
    cloud.complex_share,
    machine.generator,
    machine.memory,
)


def of_facts(facts: Facts, settings: Settings) -> tuple[Advice, ...]:
    """Return the advice beyond the guide's, largest expected gain first."""
    found = [advice for adviser in ADVISERS if (advice := adviser(facts, settings)) is not None]
    return tuple(sorted(found, key=rank))


def advise(run_dir: Path, slo: Slo, settings: Settings, arm: str | None = None) -> Advised:
    """Return what to change after a run.

    Args:
        run_dir: the run's folder.
        slo: the acceptance targets.
        settings: those that the run was made with, as far as they are at hand.
        arm: whose requests are looked at; None: the judged one's.

    Raises:
        UserError: no run there, or nothing in it that can be advised on.
    """
    data = load.read(run_dir)
    facts = gather(data, slo.ttft_p95_ms, slo.error_rate, arm)
    return Advised(
        run_id=data.manifest.run_id,
        arm=facts.arm,
        step_users=facts.users,
        n=facts.n,
        advice=of_facts(facts, settings),
        guide=tuple(guide.guide(facts, settings)),
        missing=(*facts.missing, *(gap for gap in data.gaps if "cut short" in gap)),
    )
