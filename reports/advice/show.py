"""Advice for a terminal, as Markdown and as JSON: the same words and figures in each."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reports import text
from reports.advice.model import Advice, Advised, Effect, Figure, Gain
from reports.files import json_text, plain, put_all
from reports.templating import markdown_cell

SCHEMA_VERSION = 1
WIDTH = 100
SYMBOL = {"helps": "✔", "helps nothing": "○", "harms": "✘", "not shown": "?"}


def figure_words(item: Figure) -> str:
    """Return one piece of evidence: ``TTFT p95 465.2 ms (n 350)``."""
    if isinstance(item.value, str):
        shown = item.value
    elif item.unit == "share":
        shown = text.quantity(item.value, "share", short=True)
    elif item.unit == "ms":
        shown = text.quantity(item.value, "ms", short=True)
    else:
        shown = "never" if math.isinf(item.value) else f"{item.value:,.4g}"
        shown = f"{shown} {item.unit}".rstrip()
    return f"{item.name} {shown}" + (f" (n {item.n})" if item.n is not None else "")


def gain_words(gain: Gain) -> str:
    """Return an expected gain and how it was estimated."""
    parts = []
    if gain.error_share:
        verb = "fewer" if gain.error_share > 0 else "more"
        parts.append(f"{text.quantity(abs(gain.error_share), 'share', short=True)} {verb} errors")
    if gain.ttft_p95_ms is not None:
        if gain.ttft_p95_ms == 0:
            parts.append("none")
        else:
            sign = "-" if gain.ttft_p95_ms > 0 else "+"
            parts.append(f"TTFT p95 {sign}{text.quantity(abs(gain.ttft_p95_ms), 'ms', short=True)}")
    if not parts:
        parts.append("unknown")
    return ", ".join(parts) + ("" if gain.how == "unknown" else f" ({gain.how})")


def _item(item: Advice) -> list[tuple[str, str]]:
    """Return the named parts of an advice beneath its finding."""
    parts = []
    if item.evidence:
        parts.append(("evidence", "; ".join(figure_words(each) for each in item.evidence)))
    parts += [("gain", gain_words(item.gain)), ("confidence", str(item.confidence))]
    # What would harm is left as it is.
    verb = "keep" if item.effect is Effect.HARMS else "set"
    parts += [(verb, str(line)) for line in item.lines]
    parts += [("also", line) for line in item.elsewhere]
    return parts


def _title(item: Advice) -> str:
    named = f"{item.sentence} — {item.action}" if item.action else (item.sentence or item.key)
    return f"{SYMBOL[item.effect]} {item.effect}: {named}"


def _heading(found: Advised) -> str:
    where = f"{found.arm} at {text.users(found.step_users)}, n={found.n}"
    return f"What to change after {found.run_id} ({where})"


def _sections(found: Advised) -> Sequence[tuple[str, tuple[Advice, ...]]]:
    return (
        ("Advice, largest expected gain first", found.advice),
        ("The guide's recommendations", found.guide),
    )


def terminal(found: Advised) -> str:
    """Return everything for a terminal, at most 100 columns."""
    lines = [_heading(found)]
    for title, items in _sections(found):
        lines += ["", title.upper()]
        if not items:
            lines.append("  nothing: this run shows no cause that a setting would remove")
        for item in items:
            lines += textwrap.wrap(_title(item), WIDTH, subsequent_indent="  ")
            lines += _wrapped(item.finding, "  ")
            for name, words in _item(item):
                lines += _wrapped(f"{name}: {words}", "    ")
    if found.missing:
        lines += ["", "NOT CLAIMED FOR WANT OF DATA"]
        for gap in found.missing:
            lines += _wrapped(gap, "  ")
    return "\n".join(lines)


def _wrapped(line: str, indent: str) -> list[str]:
    return textwrap.wrap(
        line, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    )


def markdown(found: Advised) -> str:
    """Return everything as Markdown."""
    lines = [f"# {markdown_cell(_heading(found))}"]
    for title, items in _sections(found):
        lines += ["", f"## {title}", ""]
        if not items:
            lines.append("Nothing: this run shows no cause that a setting would remove.")
        for item in items:
            lines += [f"### {markdown_cell(_title(item))}", "", item.finding, ""]
            lines += [f"- {name}: {_code(name, words)}" for name, words in _item(item)]
            lines.append("")
    if found.missing:
        lines += ["", "## Not claimed for want of data", "", *(f"- {gap}" for gap in found.missing)]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def _code(name: str, words: str) -> str:
    return f"`{words}`" if name in {"set", "keep"} else words


def as_dict(found: Advised) -> dict[str, Any]:
    """Return everything as JSON can hold it; an infinite figure is null."""
    return dict(plain({"schema_version": SCHEMA_VERSION, **asdict(found)}))


def to_json(found: Advised) -> str:
    """Return ``advice.json``."""
    return json_text(as_dict(found))


def write(found: Advised, folder: Path) -> None:
    """Write ``advice.json`` and ``advice.md`` into a folder, which is made.

    Raises:
        UserError: it cannot be written.
    """
    contents = {"advice.json": to_json(found), "advice.md": markdown(found)}
    put_all(folder, contents, f"cannot write {folder}")
