"""Compose files as Docker would read them: variables put in, anchors merged, files laid over one
another. Only the rules of the Compose specification that our files need: tests have no Docker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
OURS = ROOT / "docker-compose.yml"
XIAOZHI = ROOT / "docker-compose.xiaozhi.yml"

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_APPENDED = frozenset({"ports", "volumes", "secrets", "tmpfs", "cap_add", "cap_drop"})


def read(path: Path, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the content of a Compose file with ``variables`` in their places, else defaults."""
    content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    filled = _fill(content, variables or {})
    assert isinstance(filled, dict)
    return filled


def _fill(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2] or "", value)
    return value


def merge(below: Any, above: Any, key: str = "") -> Any:
    """Return ``above`` laid over ``below``: maps are merged, lists of some keys joined, all else
    replaced. A list where the other file has a map is turned into one."""
    if key in {"environment", "depends_on", "networks"}:
        below, above = _as_map(below, key), _as_map(above, key)
    if isinstance(below, dict) and isinstance(above, dict):
        both = {**below, **above}
        return {
            name: merge(below[name], above[name], name)
            if name in below and name in above
            else both[name]
            for name in both
        }
    if key in _APPENDED and isinstance(below, list) and isinstance(above, list):
        return [*below, *(each for each in above if each not in below)]
    return above


def _as_map(value: Any, key: str) -> Any:
    if not isinstance(value, list):
        return value
    if key == "environment":
        return dict(str(each).partition("=")[::2] for each in value)
    empty: Any = {"condition": "service_started"} if key == "depends_on" else None
    return dict.fromkeys(value, empty)


def services(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found = content["services"]
    assert isinstance(found, dict)
    return found
