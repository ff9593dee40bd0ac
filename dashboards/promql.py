"""PromQL from typed parts, for boards and rules.

Names and labels come from the catalogue, so that a metric that is renamed, or a label that it does
not carry, fails here and not in a silent rule or an empty panel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from firsttoken.core.catalogue import CATALOGUE, LABEL_VALUES, Kind, Metric
from firsttoken.core.errors import UserError

Comparison = Literal[">", ">=", "<", "<=", "==", "!="]
Function = Literal["rate", "increase", "changes"]
Aggregation = Literal["sum", "max", "min", "avg", "count"]
Part = Literal["", "_bucket", "_count", "_sum"]

_TARGET_LABELS = ("job", "instance")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_REGEX_SPECIAL = frozenset(r"\.+*?()|[]{}^$")


@dataclass(frozen=True, slots=True)
class Query:
    """A query as text. ``compound`` ones are put in parentheses where they become an operand."""

    text: str
    compound: bool = False

    def __str__(self) -> str:
        return self.text

    def operand(self) -> str:
        """Return the text as an operand of a binary operator."""
        return f"({self.text})" if self.compound else self.text


@dataclass(frozen=True, slots=True)
class Except:
    """A matcher for every value but these."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """A matcher for a regular expression as it stands: a variable of a board."""

    pattern: str


Matcher = str | tuple[str, ...] | Except | Like


def metric(name: str) -> Metric:
    """Return a metric of the catalogue.

    Raises:
        KeyError: there is none of that name.
    """
    return CATALOGUE[name]


def duration(seconds: int) -> str:
    """Write a whole number of seconds as Prometheus does: ``90s``, ``5m``, ``3d``."""
    name, unit = next((n, u) for n, u in _UNITS if seconds % u == 0 and seconds >= u)
    return f"{seconds // unit}{name}"


def number(value: float) -> str:
    """Write a number without the noise of binary fractions."""
    return f"{value:.10g}"


def edge(metric: Metric, value: float) -> str:
    """Return the label ``le`` of a bucket's edge as the exporter writes it.

    Raises:
        UserError: the metric has no bucket that ends there; thresholds come from settings.
    """
    if value not in metric.buckets:
        edges = ", ".join(f"{each:g}" for each in metric.buckets)
        raise UserError(
            f"{metric.name}: no bucket ends at {value:g} s, so the share below it cannot be told; "
            f"expected one of {edges}"
        )
    return repr(float(value))


def series(
    metric: Metric,
    where: Mapping[str, Matcher] | None = None,
    *,
    part: Part = "",
) -> Query:
    """Select the series of a metric.

    Raises:
        ValueError: the metric is no histogram and has no parts (or the reverse), carries no such
            label, or the label never has such a value.
    """
    if (metric.kind is Kind.HISTOGRAM) != bool(part):
        raise ValueError(f"{metric.name} is a {metric.kind}: the part {part!r} does not fit")
    matchers = [_matcher(metric, part, name, value) for name, value in (where or {}).items()]
    return Query(metric.name + part + (f"{{{', '.join(matchers)}}}" if matchers else ""))


def recorded(name: str, where: Mapping[str, str] | None = None) -> Query:
    """Select what a recording rule of ours recorded; that it exists is a test's business."""
    matchers = ", ".join(f'{label}="{value}"' for label, value in (where or {}).items())
    return Query(f"{name}{{{matchers}}}" if matchers else name)


def up(job: str) -> Query:
    """Select Prometheus' own word on the targets of a job."""
    return Query(f'up{{job="{job}"}}')


def over(function: Function, selected: Query, window: int | str) -> Query:
    """Apply a function of time to a selected counter or gauge; ``window`` in seconds, or a
    variable of a board."""
    shown = duration(window) if isinstance(window, int) else window
    return Query(f"{function}({selected.text}[{shown}])")


def total(query: Query, *by: str, how: Aggregation = "sum") -> Query:
    """Aggregate, keeping the labels ``by``; none: everything into one."""
    kept = f" by ({', '.join(by)}) " if by else ""
    return Query(f"{how}{kept}({query.text})")


def quantile(share: float, buckets: Query) -> Query:
    """Estimate a quantile from rates of buckets. No traffic gives no value instead of NaN."""
    return Query(f"histogram_quantile({number(share)}, {buckets.text}) >= 0", compound=True)


def ratio(part: Query, whole: Query) -> Query:
    """Divide; where the whole is 0 there is no value instead of NaN."""
    return Query(f"{part.operand()} / ({whole.operand()} > 0)", compound=True)


def less(whole: Query, part: Query) -> Query:
    """Subtract."""
    return Query(f"{whole.operand()} - {part.operand()}", compound=True)


def plus(left: Query, right: Query) -> Query:
    """Add; series that only one side has drop out."""
    return Query(f"{left.operand()} + {right.operand()}", compound=True)


def times(query: Query, factor: float) -> Query:
    """Multiply by a number."""
    return Query(f"{query.operand()} * {number(factor)}", compound=True)


def compare(query: Query, operator: Comparison, value: float) -> Query:
    """Keep what compares."""
    return Query(f"{query.operand()} {operator} {number(value)}", compound=True)


def both(left: Query, right: Query, *on: str) -> Query:
    """Keep the left result where the right one exists with the same labels ``on``; none: where
    the right one exists at all."""
    return Query(f"{left.operand()} and on ({', '.join(on)}) {right.operand()}", compound=True)


def either(left: Query, right: Query) -> Query:
    """Join two results; the left one wins where labels are equal."""
    return Query(f"{left.operand()} or {right.operand()}", compound=True)


def absent(query: Query) -> Query:
    """Give 1 where the query selects nothing."""
    return Query(f"absent({query.text})")


def of_tier(query: Query, tier: str) -> Query:
    """Keep the backends of a tier, for metrics that carry ``backend`` and no ``tier``.

    The information is aggregated first, so that a second router cannot make the match ambiguous;
    a backend that the settings no longer name stays there as 0.
    """
    named = compare(series(metric("llm_backend_info"), {"tier": tier}), "==", 1)
    one_each = total(named, "backend", how="max")
    return Query(f"{query.operand()} * on (backend) group_left () {one_each.text}", compound=True)


def renamed(query: Query, label: str, new: str) -> Query:
    """Copy a label to another name; the old one stays until it is aggregated away."""
    return Query(f'label_replace({query.text}, "{new}", "$1", "{label}", "(.*)")')


def _matcher(metric: Metric, part: Part, label: str, value: Matcher) -> str:
    if isinstance(value, Like):
        if label not in (*metric.labels, *_TARGET_LABELS):
            raise ValueError(f"{metric.name} carries no label {label!r}")
        return f'{label}=~"{value.pattern}"'
    values = value.values if isinstance(value, Except) else value
    listed = (values,) if isinstance(values, str) else values
    if label == "le" and part == "_bucket":
        allowed: tuple[str, ...] = tuple(repr(float(each)) for each in metric.buckets)
    elif label in metric.labels:
        allowed = LABEL_VALUES.get(label, ())
    elif label in _TARGET_LABELS:
        allowed = ()
    else:
        raise ValueError(f"{metric.name} carries no label {label!r}")
    for each in listed:
        if allowed and each not in allowed:
            raise ValueError(f"{metric.name}: the label {label!r} is never {each!r}")
        if _REGEX_SPECIAL & set(each) and len(listed) > 1:
            raise ValueError(f"{label}: {each!r} would be read as a pattern")
    if isinstance(value, Except):
        return f'{label}!~"{"|".join(listed)}"' if len(listed) > 1 else f'{label}!="{listed[0]}"'
    return f'{label}=~"{"|".join(listed)}"' if len(listed) > 1 else f'{label}="{listed[0]}"'
