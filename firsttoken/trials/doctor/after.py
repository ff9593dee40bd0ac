"""The checks after deployment: pure, from facts to findings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from firsttoken.core.words import Tier
from firsttoken.trials.doctor.facts import Asked, Facts
from firsttoken.trials.doctor.findings import Finding, Item, counted, fail, gib, ms, ok, warn
from firsttoken.trials.doctor.sources import GUIDE_METRICS, OF_THE_MACHINE, lacking
from firsttoken.trials.doctor.steps import not_running
from reports.statistics import proportion


@dataclass(frozen=True, slots=True)
class Times:
    """First tokens and whole replies of several questions, milliseconds."""

    n: int
    first_p50: float
    first_max: float
    total_p50: float
    total_max: float


def times(asked: Sequence[Asked]) -> Times | None:
    """Return the times of those that were answered; None where none was."""
    first = [each.first_token_ms for each in asked if each.answered and each.first_token_ms]
    total = [each.total_ms for each in asked if each.answered and each.total_ms]
    if not first or not total:
        return None
    return Times(len(first), median(first), max(first), median(total), max(total))


def response(facts: Facts) -> Iterator[Finding]:
    """1: the local model's first token, through the router and at the engine itself."""
    router, engine = facts.router, facts.engine
    if router is None or not router.running:
        yield not_running(facts, "response", Item.RESPONSE)
        return
    yield _judged(facts, "through the router", router.asked)
    if engine is not None and engine.direct:
        own = [replace(each, tier=Tier.LOCAL) for each in engine.direct]
        yield _judged(facts, "engine itself", own)
    found = times([each for each in router.asked if each.tier == Tier.LOCAL])
    if found is not None:
        low, high = facts.targets.expected.total_response.local
        tokens = facts.targets.short_reply_tokens
        text = (
            f"whole replies of at most {tokens} tokens, {found.n} measured: median "
            f"{ms(found.total_p50)}, slowest {ms(found.total_max)}; the guide expects {low:g} to "
            f"{high:g} ms"
        )
        if found.total_p50 > high:
            fix = "the model is too slow for this machine: a smaller one, or more cores"
            yield warn("short replies", Item.RESPONSE, text, fix)
        else:
            yield ok("short replies", Item.RESPONSE, text)


def _judged(facts: Facts, name: str, asked: Sequence[Asked]) -> Finding:
    if not asked:
        fix = "give --timeout more seconds"
        return warn(name, Item.RESPONSE, "nothing was asked: no time was left for it", fix)
    found = times([each for each in asked if each.tier == Tier.LOCAL])
    limit_ms = facts.targets.ttft_p95_ms
    load, cores = facts.machine.load, facts.machine.cores
    slow = "slots, cores, then the model: firsttoken bench --target URL measures which"
    if load > cores:
        slow = f"other programs wanted {load:.1f} of {cores:g} cores: run it again when they rest"
    if found is None:
        others = sorted({each.backend for each in asked if each.answered})
        problem = next((each.problem for each in asked if each.problem), "no token came")
        why = f"{', '.join(others)} answered for it" if others else problem
        fix = "see steps 3 and 5: firsttoken doctor --steps"
        return fail(name, Item.RESPONSE, f"the local model answered none: {why}", fix)
    text = (
        f"first token of {counted(found.n, 'question')}: median {ms(found.first_p50)}, slowest "
        f"{ms(found.first_max)}; target < {limit_ms:g} ms"
    )
    missing = len(asked) - found.n
    if missing:
        text += f"; {missing} not answered by the local model"
    if found.first_p50 >= limit_ms:
        return fail(name, Item.RESPONSE, text, slow)
    if found.first_max >= limit_ms or missing:
        return warn(name, Item.RESPONSE, text, slow)
    return ok(name, Item.RESPONSE, text)


def memory(facts: Facts) -> Iterator[Finding]:
    """2: what cannot be taken back of the engine's memory, against its limit."""
    router, engine = facts.router, facts.engine
    if router is None or not router.running:
        yield not_running(facts, "memory in use", Item.MEMORY_SHARE)
        return
    found = router.snapshot
    used = found.memory_unreclaimable if found else None
    limit = found.memory_limit if found else None
    if (used is None or not limit) and engine is not None and engine.memory is not None:
        used, limit = engine.memory.unreclaimable, engine.memory.limit
    if used is None or not limit:
        yield warn(
            "memory in use",
            Item.MEMORY_SHARE,
            "not known: the engine is not on this machine, or not running",
            "run firsttoken exporter beside the engine",
        )
        return
    share, most = used / limit, facts.targets.memory_share
    text = f"engine {gib(used)} of {gib(limit)}, {share:.0%}; target < {most:.0%}"
    if share >= most:
        fix = "fewer slots, a shorter num_ctx, or a smaller model"
        yield fail("memory in use", Item.MEMORY_SHARE, text, fix)
    else:
        yield ok("memory in use", Item.MEMORY_SHARE, text)


def errors(facts: Facts) -> Iterator[Finding]:
    """3: what users got in the last minutes, after failover."""
    router = facts.router
    if router is None or not router.running:
        yield not_running(facts, "errors", Item.ERRORS)
        return
    found = router.snapshot
    judged = found.requests - found.cancelled if found else 0
    if found is None or judged == 0:
        fix = "send some, or run firsttoken bench"
        yield warn("errors", Item.ERRORS, "no requests in the last 5 minutes", fix)
        return
    most = facts.targets.error_rate
    share = found.failed / judged
    own = min(len(router.asked), judged)
    text = (
        f"{found.failed} of {judged} requests failed in {found.window_s:.0f} s ({share:.1%}), "
        f"{own} of them the doctor's; target < {most:.0%}"
    )
    if share >= most:
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.error_types.items())
        fix = "see /debug/attempts, and docs/runbooks"
        yield fail("errors", Item.ERRORS, f"{text}: {kinds}", fix)
        return
    enough = math.ceil(math.log(0.05) / math.log(1 - most))
    if found.failed == 0 and judged < enough:
        text += f"; {enough} without one would prove it"
    elif found.failed and (proportion(found.failed, judged).ci_high or 1.0) >= most:
        text += "; too few requests to prove it"
    yield ok("errors", Item.ERRORS, text)


def failover(facts: Facts) -> Iterator[Finding]:
    """4: a request whose local engine is dead was answered by somebody else."""
    told = facts.failover
    if told is None or told.asked is None:
        why, fix = (told.why_not, told.fix) if told else ("not tried", "firsttoken doctor --after")
        yield warn("failover", Item.FAILOVER_WORKS, f"cannot be tried: {why}", fix)
        return
    asked = told.asked
    how = "a private router with these settings and a dead local engine"
    if asked.answered and asked.tier == Tier.REMOTE:
        first = asked.first_token_ms or 0.0
        text = f"tried: {how} answered from {asked.backend}, first token {ms(first)}"
        yield ok("failover", Item.FAILOVER_WORKS, text)
    else:
        why = asked.problem or f"the answer came from the tier {asked.tier or 'none'}"
        fix = "see the network checks: firsttoken doctor --before"
        yield fail("failover", Item.FAILOVER_WORKS, f"tried: {how} gave no answer: {why}", fix)


def metrics(facts: Facts) -> Iterator[Finding]:
    """5: behind each metric of the guide there is a series, and questions move it."""
    router = facts.router
    if router is None or not router.running:
        yield not_running(facts, "metrics", Item.METRICS)
        return
    if router.before is None or router.after is None:
        found = f"{router.url}/metrics cannot be read: {router.problem}"
        yield fail("metrics", Item.METRICS, found, "look at the router's log")
        return
    answered = sum(each.answered and each.tier == Tier.LOCAL for each in router.asked)
    wrong = lacking(router.before, router.after, answered=answered > 0)
    whole = len(GUIDE_METRICS) - len(wrong)
    text = f"{whole} of the guide's {len(GUIDE_METRICS)} have their series"
    if not wrong and not answered:
        fix = "run it again when the local model answers"
        yield warn("metrics", Item.METRICS, f"{text}; whether they move was not seen", fix)
        return
    text += f"; {counted(answered, 'question')} answered between two readings"
    if not wrong:
        yield ok("metrics", Item.METRICS, text)
        return
    told = "; ".join(f"{metric}: {why}" for metric, why in wrong.items())
    if set(wrong) <= OF_THE_MACHINE:
        fix = "the engine is elsewhere: run firsttoken exporter beside it"
        yield warn("metrics", Item.METRICS, f"{text}; {told}", fix)
    else:
        fix = "see docs/metrics.md, and the router's log"
        yield fail("metrics", Item.METRICS, f"{text}; {told}", fix)


CHECKS = (response, memory, errors, failover, metrics)
