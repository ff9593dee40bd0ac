"""Why a request would go where it would go, for people: nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from firsttoken.language import complexity, guards
from firsttoken.language.complexity import Complexity, Contribution
from router.cache.store import is_volatile
from router.policy import signals
from router.policy.plan import Plan, State, plan
from router.policy.signals import Signals

if TYPE_CHECKING:
    from router.config import RouterConfig


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision with what led to it."""

    signals: Signals
    complexity: Complexity
    plan: Plan
    kept: bool
    """Whether the reply may be kept in the exact cache, if that is on."""
    compared: bool
    """Whether the question may be compared with others by its meaning, if that is on."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "query_class": self.signals.query_class,
            "complexity": {
                "score": round(self.complexity.score, 3),
                "points": {each.name: round(each.points, 3) for each in self._telling()},
            },
            "prompt_chars": self.signals.prompt_chars,
            "cache": {"exact": self.kept, "semantic": self.compared},
            "attempts": [
                {
                    "backend": each.backend.name,
                    "tier": each.backend.tier,
                    "model": each.backend.model,
                    "reason": each.reason,
                    "hedge": each.hedge,
                    "takes_over_if": str(each.doubt) if each.doubt else None,
                }
                for each in self.plan.attempts
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield it as aligned text."""
        points = ", ".join(f"{each.name} {each.points:+.1f}" for each in self._telling())
        kept = [name for name, on in (("exact", self.kept), ("semantic", self.compared)) if on]
        yield f"query class  {self.signals.query_class or 'neither simple nor complex'}"
        yield f"complexity   {self.complexity.score:.2f}  ({points or 'nothing to judge'})"
        yield f"prompt       {self.signals.prompt_chars} characters"
        yield f"caches       {', '.join(kept) or 'none: the answer depends on the moment'}"
        for number, each in enumerate(self.plan.attempts):
            more = [f"takes over if {each.doubt}"] if each.doubt else []
            more += ["or if the one before is late"] if each.hedge else []
            backend = f"{each.backend.name} ({each.backend.tier}, {each.backend.model})"
            place = "then " if number else "first"
            yield "  ".join((f"{place}        {backend}: {each.reason}", *more))
        if not self.plan.attempts:
            yield "first        nobody: no backend is enabled"

    def _telling(self) -> Iterator[Contribution]:
        return (each for each in self.complexity.contributions if each.points)


def explain(config: RouterConfig, messages: Sequence[Mapping[str, Any]], model: str) -> Explanation:
    """Decide for a request as if every backend were up and idle."""
    found = signals.read(messages, config.patterns)
    text = signals.last_user_text(messages)
    # A draw of 0 falls in the share of the backend that is preferred most.
    chosen = plan(model, found, config.rules, State())
    kept = bool(text) and not is_volatile(text)
    return Explanation(
        found, complexity.explain(text), chosen, kept, kept and guards.cacheable(text)
    )
