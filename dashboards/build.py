"""Everything in ``generated/``: the same bytes from the same targets and settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dashboards import boards, provisioning, rules
from dashboards.boards.frame import Board, as_json
from dashboards.lint import Finding, lint
from dashboards.rules.model import USUAL
from firsttoken.core.settings import Settings
from firsttoken.core.slo import Slo

GENERATED = Path(__file__).parent / "generated"
"""The files made from the settings that come with the project."""

BOARDS = "grafana/boards"
PROVISIONING = "grafana/provisioning"


def files(slo: Slo, settings: Settings) -> dict[str, bytes]:
    """Return every generated file: its path below the folder, with ``/``, and its content.

    Raises:
        UserError: a target or an alert of the settings makes no board or rule.
    """
    return {
        **{f"{BOARDS}/{board.name}.json": written(board) for board in boards.boards(slo)},
        f"{PROVISIONING}/datasources/firsttoken.yaml": provisioning.datasources(USUAL.scrape),
        f"{PROVISIONING}/dashboards/firsttoken.yaml": provisioning.providers(),
        **rules.files(slo, settings),
    }


def written(board: Board) -> bytes:
    """Return a board as the bytes of its file."""
    text = json.dumps(as_json(board), ensure_ascii=False, indent=2, sort_keys=True)
    return text.encode() + b"\n"


def write(out: Path, made: dict[str, bytes]) -> None:
    """Write the files below ``out``, which is made if it does not exist."""
    for name, content in made.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def stale(out: Path, made: dict[str, bytes]) -> Iterator[str]:
    """Yield what differs between the folder and what would be written into it."""
    for name, content in made.items():
        path = out / name
        if not path.is_file():
            yield f"{path}: is missing"
        elif path.read_bytes() != content:
            yield f"{path}: is not what would be generated"
    for path in sorted((out / BOARDS).glob("*.json")):
        if path.relative_to(out).as_posix() not in made:
            yield f"{path}: is generated no longer"


def findings(made: dict[str, bytes]) -> list[Finding]:
    """Return what the checks say of the boards among the files."""
    return [found for board in loaded(made).values() for found in lint(board)]


def loaded(made: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Return the boards among the files, by their file's name without its end."""
    return {
        Path(name).stem: json.loads(content)
        for name, content in made.items()
        if name.startswith(f"{BOARDS}/")
    }
