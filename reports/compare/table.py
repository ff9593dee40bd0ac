"""A comparison for a terminal: at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from reports import text
from reports.compare.change import Change
from reports.compare.difference import by_weight
from reports.compare.model import Compared, Comparison
from reports.compare.words import chance, dependence, interval, signed, summary, word

WIDTH = 100

COLUMNS = ("arm", "users", "figure", "A", "", "shift", "95 % interval", "n", "")
"""The fifth is the candidate's letter."""

QUANTILES_SHOWN = {
    "ttft": (0.50, 0.95, 0.99),
    "ttft_user": (0.50, 0.95),
    "ttfs": (0.50,),
    "tpot": (0.50,),
    "e2e": (0.50,),
}
"""A terminal shows these; the rest is on the page and in ``compare.json``."""


def shown(item: Change) -> bool:
    """Whether a terminal shows a change."""
    if item.tier is not None:
        return item.measure == "ttft" and item.quantile == 0.95
    return item.quantile is None or item.quantile in QUANTILES_SHOWN[item.measure]


def row(item: Change) -> list[str]:
    """Return one line of the table, a text a column of :data:`COLUMNS`."""
    label = item.label if item.tier is None else f"{item.label} {item.tier}"
    return [
        item.arm,
        str(item.step_users),
        label,
        text.number(item.reference, item.unit),
        text.number(item.candidate, item.unit),
        signed(item),
        interval(item) or text.MISSING,
        f"{item.n_reference}/{item.n_candidate}",
        word(item),
    ]


_LEFT = (0, 2, 8)
"""Columns of words; figures stand to the right."""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            item.ljust(width) if at in _LEFT else item.rjust(width)
            for at, (item, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _wrapped(line: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
    )


def _conditions(pair: Compared) -> list[str]:
    if not pair.differences:
        return ["no difference in the recorded conditions"]
    lines = []
    for weight, items in by_weight(pair.differences):
        lines.append(f"{weight.words}:")
        for item in items:
            lines += _wrapped(f"{item.condition}: {item.sentence}", "  ")
    return lines


def _figures(pair: Compared) -> list[str]:
    rows = [row(item) for item in pair.changes if shown(item)]
    if not rows:
        return []
    heads = list(COLUMNS)
    heads[4] = pair.match.candidate.letter
    # An arm and a step are named where they begin.
    thin, before = [], ["", ""]
    for item in rows:
        thin.append(["", "", *item[2:]] if item[:2] == before else item)
        before = item[:2]
    return _aligned([heads, *thin])


def table(found: Comparison) -> str:
    """Return the sides, what differs in their conditions, the figures, and the summary last."""
    lines = []
    for side in found.sides:
        manifest = side.report.data.manifest
        lines += _wrapped(
            f"{side.letter}  {side.name}  ({manifest.scenario}, {manifest.anchor.isoformat()}, "
            f"{side.report.verdict})"
        )
    for pair in found.pairs:
        letters = f"{pair.match.candidate.letter} against {pair.match.reference.letter}"
        lines += ["", letters, "-" * len(letters), *_conditions(pair), ""]
        if figures := _figures(pair):
            lines += figures
            lines.append(
                "ms; errors and goodput in percent; "
                f"goodput: first token within {found.target_ms:g} ms"
            )
            lines += _wrapped(pair.method)
            lines += _wrapped(chance(pair))
            lines += _wrapped(dependence(pair))
    lines.append("")
    for pair in found.pairs:
        lines += _wrapped(
            f"{pair.match.candidate.letter} against {pair.match.reference.letter}: {summary(pair)}"
        )
    if not any(pair.claims for pair in found.pairs):
        lines += _wrapped("INCONCLUSIVE: nothing could be compared")
    return "\n".join(lines)
