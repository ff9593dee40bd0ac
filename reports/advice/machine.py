"""What else runs on the machine, and its memory."""

from __future__ import annotations

from firsttoken.core.settings import Settings
from reports import text
from reports.advice.facts import Facts
from reports.advice.model import UNKNOWN, Advice, Confidence, Effect, Figure, Gain, Line
from reports.trust import BUSY_HOST, NOTED_GENERATOR_SHARE

MEMORY_ALERT = 0.85
"""The guide's threshold for high memory."""
ACCEPTED = 0.80
"""The guide's acceptance target for memory."""


def generator(facts: Facts, _settings: Settings) -> Advice | None:
    """A load generator that takes from the engine what it measures."""
    cores, host, used = facts.cores, facts.host_cores, facts.generator_cores
    if cores is None or host is None or used is None or facts.engine_cores is None or facts.pinned:
        return None
    if host / cores <= BUSY_HOST or used / cores <= NOTED_GENERATOR_SHARE:
        return None
    return Advice(
        key="generator",
        effect=Effect.HELPS,
        finding=f"The load generator runs on the engine's machine and used {used:.2f} of its "
        f"{cores:g} busy cores: these figures are worse than a user's.",
        evidence=(
            Figure("load generator", used, "cores", facts.n),
            Figure("all processes", host, "cores", facts.n),
            Figure("machine", cores, "cores"),
        ),
        gain=UNKNOWN,
        confidence=Confidence.MEASURED,
        elsewhere=("firsttoken bench from another machine, or with --pin",),
    )


def memory(facts: Facts, settings: Settings) -> Advice | None:
    """Memory above the guide's threshold."""
    peak = facts.memory.value
    if peak is None or peak <= MEMORY_ALERT:
        return None
    return Advice(
        key="memory",
        effect=Effect.HELPS,
        finding=f"{text.quantity(peak, 'share')} of the memory limit was in use: an engine that "
        "is killed for it answers nobody.",
        evidence=(Figure("memory in use, peak", peak, "share", facts.memory.n),),
        gain=Gain("fewer slots or a smaller num_ctx free KV cache; the first token does not move"),
        confidence=Confidence.MEASURED,
        lines=(Line("engine.slots", max(1, int(settings.engine.slots * ACCEPTED / peak))),),
        elsewhere=("or a smaller num_ctx, where no prompt needs it",),
    )
