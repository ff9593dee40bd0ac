"""Two measurements, the rules and a runner's noise: findings and one verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from firsttoken.core.errors import UserError
from firsttoken.core.words import Verdict, worst
from reports import text
from reports.gate import likeness
from reports.gate.decide import Comparison, Finding, Samples, decide_all
from reports.gate.likeness import Difference
from reports.gate.rule import Kind, Rule
from reports.gate.rules import Rules
from reports.gate.samples import ERROR_RATE, Measurement
from reports.statistics import FloatArray


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate found."""

    baseline: Measurement
    candidate: Measurement
    again: Measurement | None
    differences: tuple[Difference, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why the verdict is not PASS; empty where it is."""
    verdict: Verdict
    optional: frozenset[str] = frozenset()
    """Rules that need not be conclusive."""

    def stands_in_the_way(self, finding: Finding) -> bool:
        """Say whether a finding keeps the verdict from being PASS."""
        if finding.verdict is Verdict.INCONCLUSIVE:
            return finding.rule.name not in self.optional
        return finding.verdict is not Verdict.PASS

    def as_dict(self) -> dict[str, Any]:
        """Return it as ``gate.json`` holds it; what is not finite is a word."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "baseline": str(self.baseline.path),
            "candidate": str(self.candidate.path),
            "again": None if self.again is None else str(self.again.path),
            "where": self.candidate.where,
            "differences": [asdict(item) for item in self.differences],
            "findings": [_plain(asdict(item)) for item in self.findings],
            "notes": list(self.notes),
        }

    def sentence(self, finding: Finding) -> str:
        """Return a finding in a line: ``ttft_p95 FAIL: 27.0 ms -> 30.1 ms, +11.5 % (...): why``."""
        before, after = (
            self.value(finding, finding.baseline),
            self.value(finding, finding.candidate),
        )
        name = f"{finding.rule.name} {finding.verdict}"
        return f"{name}: {before} -> {after}, {change(finding)}: {finding.reason}"

    def value(self, finding: Finding, number: float) -> str:
        """Return a value of a finding's metric with its unit."""
        if finding.rule.kind is Kind.PROPORTION:
            return text.quantity(number, "share")
        if finding.rule.name in self.baseline.benchmarks:
            return f"{number * 1e6:.4g} \N{GREEK SMALL LETTER MU}s"
        return text.quantity(number, "ms")


def change(finding: Finding) -> str:
    """Return the effect with its interval: ``+11.5 % (+10.1..+12.9)``; of a share in points."""
    ends = (_percent(finding.ci_low), _percent(finding.ci_high))
    unit = "points" if finding.rule.kind is Kind.PROPORTION else "%"
    return f"{_percent(finding.effect)} {unit} ({ends[0]}..{ends[1]})"


def _percent(share: float) -> str:
    if math.isinf(share):
        return "+\N{INFINITY}" if share > 0 else "-\N{INFINITY}"
    return f"{share * 100:+.1f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "inf" if value > 0 else "-inf" if value < 0 else None
    return value


def planned(measurement: Measurement, rules: Rules) -> list[tuple[Rule, str]]:
    """Return the rules that concern what a measurement holds, each with the name of its values."""
    found: list[tuple[Rule, str]] = []
    if ERROR_RATE in measurement.series:
        found += [(each.as_rule(), each.metric) for each in rules.rules]
    for name in measurement.benchmarks:
        fitting = rules.of_benchmark(name)
        if fitting is not None:
            found.append((fitting.as_rule(name), name))
    return found


def values_of(measurement: Measurement, name: str) -> Samples:
    """Return the values by their name; none where the measurement does not have them."""
    return Samples(measurement.series.get(name, _NONE), str(measurement.path))


_NONE: FloatArray = np.empty(0)


def judge(
    baseline: Measurement,
    candidate: Measurement,
    rules: Rules,
    noise: Mapping[str, float],
    *,
    again: Measurement | None = None,
) -> Judgement:
    """Compare two measurements by the rules.

    Args:
        baseline: what was.
        candidate: what is.
        rules: what is asked.
        noise: the runner's own, by rule; a rule without is decided without it.
        again: a second measurement of the candidate.

    Raises:
        UserError: no rule concerns what the baseline holds.
    """
    sides = [candidate] if again is None else [candidate, again]
    differences = _differences(baseline, sides)
    asked = planned(baseline, rules)
    if not asked:
        raise UserError(f"no rule concerns what {baseline.path} holds: there is nothing to compare")
    notes = [f"{each.path}: {note}" for each in (baseline, *sides) for note in each.notes]
    made = Judgement(baseline, candidate, again, differences, (), (), (), Verdict.INCONCLUSIVE)
    if any(item.forbids for item in differences):
        names = ", ".join(item.name for item in differences if item.forbids)
        reason = f"too unlike to compare: {names}"
        return replace(made, notes=tuple(notes), reasons=(reason,))
    comparisons, reasons = [], []
    for rule, name in asked:
        one, other = values_of(baseline, name), values_of(candidate, name)
        second = None if again is None else values_of(again, name)
        missing = [side.source for side in (one, other, second) if side is not None and not side.n]
        if not one.n and not other.n:
            notes.append(f"{rule.name}: not measured on either side")
        elif missing:
            reasons.append(f"{rule.name}: {missing[0]} holds no value")
        else:
            comparisons.append(Comparison(rule, one, other, noise.get(rule.name), second))
    notes += _unasked(baseline, candidate, rules)
    findings = tuple(_decided(comparisons, baseline.benchmarks))
    if not findings:
        reasons.append("nothing was compared")
    for side in (baseline, *sides):
        reasons += [f"{side.path}: {doubt}: no claim can PASS" for doubt in side.doubts]
    made = replace(made, findings=findings, optional=_optional(baseline, rules))
    bad = [made.sentence(item) for item in findings if made.stands_in_the_way(item)]
    settled = {Verdict.PASS, *(i.verdict for i in findings if made.stands_in_the_way(i))}
    if not any(item.verdict is not Verdict.INCONCLUSIVE for item in findings):
        settled.add(Verdict.INCONCLUSIVE)
    verdict = worst(list(settled))
    if reasons:
        verdict = worst([verdict, Verdict.INCONCLUSIVE])
    return replace(made, notes=tuple(notes), reasons=(*bad, *reasons), verdict=verdict)


def _optional(measurement: Measurement, rules: Rules) -> frozenset[str]:
    """Return the names of the rules that need not be conclusive."""
    figures = {each.name for each in rules.rules if each.optional}
    timed = {
        name
        for name in measurement.benchmarks
        if (rule := rules.of_benchmark(name)) is not None and rule.optional
    }
    return frozenset(figures | timed)


def _differences(baseline: Measurement, sides: Sequence[Measurement]) -> tuple[Difference, ...]:
    """Return what differs between the baseline and any of the other measurements, each once."""
    found = [
        item
        for side in sides
        for item in likeness.differences(baseline.conditions, side.conditions)
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda item: not item.forbids))


def _unasked(baseline: Measurement, candidate: Measurement, rules: Rules) -> list[str]:
    """Return a note on what is measured and not compared."""
    new = [name for name in candidate.benchmarks if name not in baseline.series]
    ruled = [name for name in baseline.benchmarks if rules.of_benchmark(name) is None]
    told = {"there is no baseline of": new, "no rule fits": ruled}
    return [f"{what} {', '.join(names)}" for what, names in told.items() if names]


def _decided(comparisons: Sequence[Comparison], benchmarks: Sequence[str]) -> list[Finding]:
    """Decide a run's figures together and the benchmarks together.

    Apart, so that the number of benchmarks does not make the gate blind to first tokens.
    """
    found = []
    for timed in (False, True):
        group = [each for each in comparisons if (each.rule.name in benchmarks) is timed]
        found += [_grounded(item) for item in (decide_all(group) if group else [])]
    return found


def _grounded(finding: Finding) -> Finding:
    """Return the finding; INCONCLUSIVE where nothing ever came that one could be slower than."""
    nothing = math.isinf(finding.baseline) or (
        finding.rule.kind is Kind.PROPORTION and finding.baseline >= 1.0
    )
    if not nothing:
        return finding
    reason = "the baseline failed: there is nothing to compare with"
    return replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)
