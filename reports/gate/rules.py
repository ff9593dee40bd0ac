"""``config/gate.yaml``: which figures are compared, and how much slower is too slow."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, ValidationError, model_validator

from firsttoken.core.settings import document, findings, packaged
from firsttoken.core.settings.kinds import Section
from firsttoken.core.settings.tree import Tree
from reports.gate.rule import MINIMUM_EFFECT, Kind, Rule
from reports.statistics import minimum_n

Probability = Annotated[float, Field(gt=0, lt=1)]
Effect = Annotated[float, Field(gt=0, le=10)]
Count = Annotated[int, Field(ge=2, le=10_000_000)]
Pattern = Annotated[str, Field(min_length=1, max_length=500)]


class _Stated(Section):
    """What every rule says."""

    minimum_effect: Effect = MINIMUM_EFFECT
    """A smaller worsening is never a regression."""
    detectable: Effect | None = None
    """Measurements that would most likely have missed a worsening of this size cannot pass; None:
    :attr:`reports.gate.rule.Rule.cares_for` says how large."""
    direction: Literal["lower", "higher"] = "lower"
    """Which way is better."""
    minimum_n: Count = 72
    optional: bool = False
    """Whether a pass is one although this rule is INCONCLUSIVE; a FAIL is always one."""

    @model_validator(mode="after")
    def _seen(self) -> Self:
        if self.detectable is not None and self.detectable < self.minimum_effect:
            raise ValueError("has a detectable below its minimum_effect; expected at least that")
        return self

    def rule(self, name: str, kind: Kind, p: float) -> Rule:
        """Return what the decision takes."""
        return Rule(
            name=name,
            kind=kind,
            p=p,
            minimum_effect=self.minimum_effect,
            detectable=self.detectable,
            minimum_n=self.minimum_n,
            higher_is_better=self.direction == "higher",
        )


class MetricRule(_Stated):
    """One of ``rules``: a figure of a run."""

    metric: Literal["ttft", "ttft_user", "ttfs", "tpot", "e2e", "error_rate"]
    kind: Literal["quantile", "proportion"] = "quantile"
    p: Probability | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wanted = "proportion" if self.metric == "error_rate" else "quantile"
        if self.kind != wanted:
            raise ValueError(f"is the {self.kind} of {self.metric}; expected kind: {wanted}")
        if self.kind == "proportion" and self.p is not None:
            raise ValueError("is a proportion with p; expected p of a quantile only")
        if self.kind == "quantile" and self.p is None:
            raise ValueError("is a quantile without p; expected p, such as 0.95")
        least = 1 if self.p is None else minimum_n(self.p)
        if self.minimum_n < least:
            raise ValueError(
                f"has a minimum_n of {self.minimum_n}; expected at least {least}: fewer values "
                f"cannot bound the quantile {self.p:g}"
            )
        return self

    @property
    def name(self) -> str:
        """What to call the figure: ``ttft_p95``, ``error_rate``."""
        return self.metric if self.p is None else f"{self.metric}_p{self.p * 100:g}"

    def as_rule(self) -> Rule:
        """Return what the decision takes."""
        return self.rule(self.name, Kind(self.kind), self.p or 0.5)


class BenchmarkRule(_Stated):
    """One of ``benchmarks``: a quantile of the rounds of the benchmarks whose name fits."""

    tests: Pattern
    kind: Literal["quantile"] = "quantile"
    p: Probability = 0.5
    minimum_n: Count = 6

    def as_rule(self, test: str) -> Rule:
        """Return what the decision takes for one benchmark."""
        return self.rule(test, Kind.QUANTILE, self.p)


class Rules(Section):
    """The shape of ``gate.yaml``."""

    rules: Annotated[tuple[MetricRule, ...], Strict(strict=False), Field(max_length=100)] = ()
    benchmarks: Annotated[
        tuple[BenchmarkRule, ...], Strict(strict=False), Field(max_length=500)
    ] = ()

    def faults(self) -> list[str]:
        """Return what is wrong with the rules as a whole."""
        if not self.rules and not self.benchmarks:
            return ["has no rule; expected rules or benchmarks, else all would pass"]
        names = [rule.name for rule in self.rules]
        twice = dict.fromkeys(name for name in names if names.count(name) > 1)
        return [f"has two rules for {name}; expected one" for name in twice]

    def of_benchmark(self, name: str) -> BenchmarkRule | None:
        """Return the first rule that fits a benchmark's full name, or None."""
        return next((rule for rule in self.benchmarks if fnmatchcase(name, rule.tests)), None)


def load(path: Path | None = None) -> Rules:
    """Read the rules; None: the packaged ``gate.yaml``.

    Raises:
        UserError: one line, ``FILE:LINE: key.path: what was wrong; expected ...``, for each thing
            that is wrong.
    """
    file = packaged("gate.yaml") if path is None else path
    tree = Tree()
    tree.add(document.read(file))
    try:
        found = Rules.model_validate(tree.values)
    except ValidationError as error:
        document.refuse(findings.lines(error, tree, Rules))
        raise
    document.refuse([f"{file}: {fault}" for fault in found.faults()])
    return found
