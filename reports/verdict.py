"""From estimates and targets to checks and one verdict for the run.

The rules:

* A target is met (PASS) when the whole 95 % interval lies within it, missed (FAIL) when the whole
  interval lies beyond it; an interval that straddles it shows neither (INCONCLUSIVE), and neither
  does a sample below the minimum for the claim.
* A request that got no first token, or that failed later, counts as later than every target: a
  fast failure must not read as a fast first token.
* What was measured with an instrument out of its budget is UNTRUSTED, whatever the figures say.
* A run that did not come to its end cannot PASS: what was under way when it was cut, the slowest
  first of all, is not in the records. Nor can a step that lost one of several load generators.
* The run's verdict is the worst of its judged checks.

Everything is rounded before it is judged (0.1 ms, 0.01 %), so that what a reader sees is what was
judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from firsttoken.core.records import Calibration
from firsttoken.core.slo import Slo
from firsttoken.core.words import Arm, Verdict, worst
from reports import text
from reports.statistics import Estimate, minimum_n

MAX_STEAL_SHARE = 0.05
"""Mean share of CPU time taken by the hypervisor from which on a step is not to be trusted: it adds
about as much to every latency."""

MAX_THROTTLED_SHARE = 0.05
"""Mean share of time in which the CPU quota held this machine back, likewise."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How checks of one name are judged and spoken of."""

    label: str
    unit: text.Unit
    relation: str
    """``at most``, ``below`` or ``at least``: where a value must lie to meet the target."""


KINDS: dict[str, Kind] = {
    "ttft_p95_ms": Kind("TTFT p95", "ms", "at most"),
    "ttft_user_p95_ms": Kind("TTFT_user p95, from the planned start", "ms", "at most"),
    "short_reply_p50_ms": Kind("short replies p50", "ms", "at most"),
    "error_rate": Kind("error rate", "share", "below"),
    "availability": Kind("availability", "share", "at least"),
    "memory_share": Kind("memory, highest", "share", "below"),
}
"""Every check by its name."""


def minimum_samples(slo: Slo) -> dict[str, int]:
    """Return by check how many requests it takes before anything is claimed.

    The error rate needs no minimum of its own: below 183 requests, though none failed, its
    interval reaches above 2 %.
    """
    return {
        "ttft_p95_ms": max(slo.minimum_samples.p95, minimum_n(0.95)),
        "ttft_user_p95_ms": max(slo.minimum_samples.p95, minimum_n(0.95)),
        "short_reply_p50_ms": minimum_n(0.5),
        "error_rate": 1,
        "availability": slo.minimum_samples.availability,
        "memory_share": 1,
    }


@dataclass(frozen=True, slots=True)
class Check:
    """One target, compared with what was measured. ``tier`` None: all tiers together;
    ``step_users`` None: all steps together. An infinite value: never reached."""

    name: str
    arm: str
    step_users: int | None
    tier: str | None
    target: float
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    judged: bool
    verdict: Verdict

    @property
    def where(self) -> str:
        """The arm, step and tier in words."""
        parts = [self.arm]
        if self.step_users is not None:
            parts.append(text.users(self.step_users))
        if self.tier is not None:
            parts.append(f"tier {self.tier}")
        return ", ".join(parts)


def sentence(item: Check, minimum: int) -> str:
    """Return a check in one line; ``minimum``: the requests it takes (:func:`minimum_samples`)."""
    kind = KINDS[item.name]
    if item.n == 0:
        return f"{item.where}: {kind.label} not measured, n=0"
    measured = text.measured(item.value, item.ci_low, item.ci_high, kind.unit)
    target = text.quantity(item.target, kind.unit, short=True)
    line = f"{item.where}: {kind.label} {measured}, target {kind.relation} {target}, n={item.n}"
    return f"{line} ({_doubt(item, minimum)})" if item.verdict is Verdict.INCONCLUSIVE else line


def _doubt(item: Check, minimum: int) -> str:
    """Return why an INCONCLUSIVE check is no more than that."""
    if item.n < minimum:
        return f"too few requests, {minimum} needed"
    if compare(item, minimum) is Verdict.INCONCLUSIVE:
        if item.ci_high is None:
            return "too few independent requests: neighbours were alike, measure for longer"
        return "the interval straddles the target: more requests needed"
    return (
        "the run was cut short, a load generator was lost, the load never came to rest, or records "
        "cannot be right"
    )


def compare(item: Check, minimum: int) -> Verdict:
    """Return what the interval of a check says of its target, by the rules above."""
    kind = KINDS[item.name]
    low, high, target = item.ci_low, item.ci_high, item.target
    if item.n < minimum:
        return Verdict.INCONCLUSIVE
    if kind.relation == "at least":
        within = low is not None and low >= target
        beyond = high is not None and high < target
    elif kind.relation == "below":
        within = high is not None and high < target
        beyond = low is not None and low >= target
    else:
        within = high is not None and high <= target
        beyond = low is not None and low > target
    if within:
        return Verdict.PASS
    return Verdict.FAIL if beyond else Verdict.INCONCLUSIVE


def check(
    name: str,
    estimate: Estimate,
    target: float,
    *,
    minimum: int,
    arm: str,
    step_users: int | None,
    tier: str | None = None,
    judged: bool = False,
) -> Check:
    """Return the check of a (rounded) estimate against a target."""
    made = Check(
        name=name,
        arm=arm,
        step_users=step_users,
        tier=tier,
        target=target,
        value=estimate.value,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        n=estimate.n,
        judged=judged,
        verdict=Verdict.INCONCLUSIVE,
    )
    return replace(made, verdict=compare(made, minimum))


def judged_arm(arms: Sequence[str]) -> str | None:
    """Return the arm that is judged: ``hybrid``, or ``target``, or the only one; None where none
    of these is there."""
    for arm in (Arm.HYBRID, Arm.TARGET):
        if arm in arms:
            return arm
    return arms[0] if len(arms) == 1 else None


def calibration_faults(calibrations: Sequence[Calibration], users: int, slo: Slo) -> list[str]:
    """Return why the load generator's clock cannot be trusted at ``users``; empty: it can.

    There has to be one before and one after the measurement. Those that vouch for ``users`` are at
    as many or more, the fewest of those; a calibration with fewer users vouches for nothing.
    """
    enough = [item for item in calibrations if item.users >= users]
    if not enough:
        least = max((item.users for item in calibrations), default=None)
        found = "never" if least is None else f"only at {text.users(least)}"
        return [f"the load generator was calibrated {found}, needed at {text.users(users)}"]
    nearest = min(item.users for item in enough)
    budget = slo.calibration_p99_ms(nearest)
    if budget is None:
        return [f"there is no budget for the generator's own error at {text.users(nearest)}"]
    told = {item.when for item in calibrations}
    faults = [
        f"the load generator was not calibrated {when} the measurement"
        for when in ("before", "after")
        if when not in told
    ]
    for item in enough:
        if item.users != nearest:
            continue
        where = f"at {text.users(nearest)} {item.when} the measurement"
        if item.requests < 1:
            faults.append(f"the calibration {where} holds no request")
        # Written this way round so that NaN is a fault.
        elif not item.error_p99_ms <= budget:
            error = text.quantity(item.error_p99_ms, "ms")
            faults.append(
                f"the load generator's own error was p99 {error} {where}, "
                f"budget {text.quantity(budget, 'ms', short=True)}"
            )
    return faults


def host_faults(
    steal_share: float | None, throttled_share: float | None, users: int | None = None
) -> list[str]:
    """Return how the machine was disturbed (means over a step); None: not sampled, no fault."""
    where = "" if users is None else f" at {text.users(users)}"
    faults = []
    for share, limit, what in (
        (steal_share, MAX_STEAL_SHARE, "the hypervisor took"),
        (throttled_share, MAX_THROTTLED_SHARE, "the CPU quota held the machine back for"),
    ):
        if share is not None and share > limit:
            faults.append(
                f"{what} {text.quantity(share, 'share')} of the time{where}, "
                f"limit {text.quantity(limit, 'share', short=True)}"
            )
    return faults


def settle(checks: Sequence[Check], faults: Sequence[str], *, finished: bool) -> list[Check]:
    """Return the checks with what the circumstances allow to claim.

    Args:
        checks: as :func:`check` made them.
        faults: why the instrument cannot be trusted; any makes every check UNTRUSTED.
        finished: whether the planned load came to its end; if not, PASS becomes INCONCLUSIVE.
    """

    def allowed(verdict: Verdict) -> Verdict:
        if faults:
            return Verdict.UNTRUSTED
        return Verdict.INCONCLUSIVE if verdict is Verdict.PASS and not finished else verdict

    return [replace(item, verdict=allowed(item.verdict)) for item in checks]


def conclude(
    checks: Sequence[Check], faults: Sequence[str], minimums: Mapping[str, int]
) -> tuple[Verdict, list[str]]:
    """Return the run's verdict and its reasons, each a line, the deciding one last."""
    judged = [item for item in checks if item.judged]
    verdict = worst([item.verdict for item in judged])
    # The deciding line stands last, where a terminal leaves the eye.
    order = sorted(judged, key=lambda item: _BEST_FIRST.index(item.verdict))
    reasons = [f"{item.verdict}: {sentence(item, minimums[item.name])}" for item in order]
    if not judged:
        reasons.append(f"{verdict}: nothing is judged: there are several arms, none of them hybrid")
    reasons += [f"{Verdict.UNTRUSTED}: {fault}" for fault in faults if judged]
    return verdict, reasons


_BEST_FIRST = (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.UNTRUSTED)
