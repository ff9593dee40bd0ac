"""The answer of ``firsttoken tune --try`` for a terminal, as Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.tuning.answer import Tried, ollama_lines
from reports import text
from reports.files import json_text, plain, put_all

FILE = "tune.json"


SCHEMA_VERSION = 1


HEADER = (
    "slots", "threads", "stage", "looks", "n", "TTFT p50 ms", "p95 ms", "95 % interval",
    "errors", "hold ms", "TPOT ms", "tokens/s",
)  # fmt: skip


def rows(tried: Tried) -> list[tuple[str, ...]]:
    """Return a row a candidate and stage, of :data:`HEADER`."""
    found = []
    for item in tried.levels:
        p95 = item.ttft_p95_ms
        star = "*" if item.candidate == tried.reference else ""
        found.append(
            (
                f"{item.candidate.slots}{star}",
                str(item.candidate.threads),
                str(item.stage),
                str(item.looks),
                str(item.ttft_p50_ms.n),
                text.number(item.ttft_p50_ms.value, "ms"),
                text.number(p95.value, "ms"),
                text.interval(p95.ci_low, p95.ci_high, "ms"),
                str(item.failed),
                *(
                    text.MISSING if value is None else f"{value:.0f}"
                    for value in (item.hold_ms, item.tpot_ms, item.tokens_per_second)
                ),
            )
        )
    return found


def terminal(tried: Tried) -> str:
    """Return the table and the answer for a terminal."""
    table = [HEADER, *rows(tried)]
    widths = [max(len(row[at]) for row in table) for at in range(len(HEADER))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    ]
    lines.append("* the deployment guide's settings; hold: for how long a reply holds its slot")
    lines += [f"note: {note}" for note in tried.notes]
    lines += ["", *tried.summary]
    if tried.why:
        lines.append(f"why: {tried.why}")
    if tried.winner is not None:
        lines += ["", "settings to change:", *(f"  {path}: {value}" for path, value in tried.lines)]
        lines.append("the same for an Ollama, which was not measured:")
        lines += [f"  {line}" for line in ollama_lines(tried.winner)]
    return "\n".join(lines)


def markdown(tried: Tried) -> str:
    """Return the same as Markdown."""
    parts = [
        markdown_table(HEADER, rows(tried)),
        "\\* the deployment guide's settings; hold: for how long a reply holds its slot.",
        "\n".join(f"- {line}" for line in (*tried.summary, *tried.notes)),
    ]
    if tried.why:
        parts.append(f"Why: {tried.why}.")
    if tried.winner is not None:
        lines = "\n".join(f"{path}: {value}" for path, value in tried.lines)
        parts.append(f"```text\n{lines}\n```")
    return "\n\n".join(parts)


def as_dict(tried: Tried) -> dict[str, Any]:
    """Return the answer as JSON can hold it; an infinite figure is null."""
    body = {
        "schema_version": SCHEMA_VERSION,
        **asdict(tried),
        "settings": dict(tried.lines),
        "factor": tried.factor,
    }
    return dict(plain(body))


def to_json(tried: Tried) -> str:
    """Return ``tune.json``."""
    return json_text(as_dict(tried))


def write(tried: Tried, run_dir: Path) -> None:
    """Write ``tune.json`` and ``tune.md``.

    Raises:
        UserError: the folder cannot be written.
    """
    contents = {FILE: to_json(tried), "tune.md": f"# Settings tried\n\n{markdown(tried)}\n"}
    put_all(run_dir, contents, f"cannot write {run_dir / FILE}")
