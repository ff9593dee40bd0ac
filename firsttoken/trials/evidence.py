"""Pages of ``docs/evidence/``: a figure, the command that made it, the date and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from firsttoken.core import host


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a GitHub-flavoured Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_page(folder: Path, name: str, title: str, command: str, body: str) -> Path:
    """Write ``<folder>/<name>.md`` and return its path."""
    machine = host.describe()
    memory_gib = (machine["memory_bytes"] or 0) / (1 << 30)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text(
        f"# {title}\n\n"
        f"Command: `{command}`  \n"
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC  \n"
        f"Machine: {machine['cpu_model']}, {machine['cores']:g} cores, {memory_gib:.0f} GiB, "
        f"Linux {machine['kernel']}, Python {machine['python']}\n\n"
        f"{body.strip()}\n",
        encoding="utf-8",
    )
    return path
