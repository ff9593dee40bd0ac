"""What was found of the models, for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from firsttoken.trials.evidence import markdown_table
from firsttoken.trials.models.mark import CLAIMS, DIFFICULTY_RULE, FORMULA
from firsttoken.trials.models.result import Comparison
from firsttoken.trials.models.table import (
    DETAILS,
    HEADER,
    MOST_ANSWER_CHARACTERS,
    answers,
    answers_header,
    details,
    notes,
    rows,
)
from reports import text
from reports.files import put_all

SCHEMA_VERSION = 1
JSON_FILE = "models.json"
MARKDOWN_FILE = "models.md"


def _escaped(table: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return cells that cannot break out of a Markdown table nor be read as HTML."""
    special = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "`": "'", "*": "\\*"})
    return [[cell.translate(special) for cell in line] for line in table]


def markdown(found: Comparison) -> str:
    """Return all of it as Markdown."""
    asked = ""
    if found.measured:
        table = markdown_table(_escaped([answers_header(found)])[0], _escaped(answers(found)))
        asked = (
            "\n\nEvery question, what counts as right, and the first "
            f"{MOST_ANSWER_CHARACTERS} characters of every answer:\n\n{table}"
        )
    listed = "\n".join(f"- {each[0]}" for each in _escaped([[note] for note in notes(found)]))
    settings = "\n".join(f"- {one.name}: {one.settings}" for one in found.measured)
    return (
        f"{markdown_table(HEADER, _escaped(rows(found)))}\n\n{listed}\n\n"
        f"{markdown_table(DETAILS, _escaped(details(found)))}\n\n{settings}{asked}"
    )


def _width(cell: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in cell)


def printable(cell: str) -> str:
    """Return text of a model without what would steer a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in cell)


def aligned(header: Sequence[str], table: Sequence[Sequence[str]]) -> str:
    """Return columns below each other; a Chinese character takes two places."""
    lines = [[printable(cell) for cell in line] for line in (header, *table)]
    widths = [max(_width(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def terminal(found: Comparison) -> str:
    """Return all of it for a terminal."""
    parts = [aligned(HEADER, rows(found))]
    if found.measured:
        parts.append(aligned(DETAILS, details(found)))
        lines = []
        for item, (_, question, right, *said) in zip(found.items, answers(found), strict=True):
            lines.append(f"{item.name}: {question}  ({right})")
            lines += [
                f"    {printable(answer)}   [{one.name}]"
                for one, answer in zip(found.measured, said, strict=True)
            ]
        parts.append("\n".join(lines))
    parts.append("\n".join(printable(note) for note in notes(found)))
    return "\n\n".join(parts)


def _finite(value: Any) -> Any:
    """Return ``value`` with what JSON has no number for as text."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return text.NEVER if isinstance(value, float) and math.isinf(value) else value


def as_dict(found: Comparison) -> dict[str, Any]:
    """Return all of it for JSON."""
    measured = [
        {
            **asdict(one),
            "right": one.right,
            "asked": len(one.answers),
            "quality": asdict(one.quality),
        }
        for one in found.measured
    ]
    told: dict[str, Any] = _finite(
        {
            "schema_version": SCHEMA_VERSION,
            "made_at": found.made_at,
            "finished": found.finished,
            "goals": asdict(found.goals),
            "formula": FORMULA,
            "difficulty_rule": DIFFICULTY_RULE,
            "machine": dict(found.machine),
            "guide_claims": [asdict(claim) for claim in CLAIMS],
            "questions": [asdict(item) for item in found.items],
            "models": measured,
            "not_measured": [asdict(each) for each in found.failed],
            "notes": notes(found),
        }
    )
    return told


def to_json(found: Comparison) -> str:
    """Return all of it as JSON."""
    return json.dumps(as_dict(found), ensure_ascii=False, indent=2) + "\n"


def write(found: Comparison, folder: Path) -> None:
    """Write ``models.json`` and ``models.md``.

    Raises:
        UserError: the folder cannot be written.
    """
    page = f"# Models, measured {found.made_at}\n\n{markdown(found)}\n"
    contents = {JSON_FILE: to_json(found), MARKDOWN_FILE: page}
    put_all(folder, contents, f"cannot write to {folder}")
