"""Who answers: personas, read from JSON Lines files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firsttoken.core.errors import UserError

LANGUAGES = ("zh", "en", "mixed")


@dataclass(frozen=True, slots=True)
class Persona:
    """Who answers: one system prompt, the prefix of every chat of a device."""

    id: str
    lang: str
    """One of :data:`LANGUAGES`; a ``mixed`` persona is spoken to in every language."""
    system: str


def read_personas(path: Path) -> tuple[Persona, ...]:
    """Read the personas of a JSON Lines file, in file order.

    Raises:
        UserError: the file is missing, holds none, or a line is not an object with the expected
            text fields.
    """
    personas = tuple(
        Persona(line["id"], line["lang"], line["system"])
        for line in read_lines(path, ("id", "lang", "system"))
    )
    if not personas:
        raise UserError(f"{path} holds no persona")
    return personas


def read_lines(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file, each with non-empty text under all of ``keys``;
    ``lang`` among them must be one of :data:`LANGUAGES`.

    Raises:
        UserError: the file is missing, or a line is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise UserError(f"{path}:{number} is not an object")
        for key in keys:
            if not isinstance(value.get(key), str) or not value[key]:
                raise UserError(f"{path}:{number}: {key!r} must be a text that is not empty")
        if "lang" in keys and value["lang"] not in LANGUAGES:
            raise UserError(f"{path}:{number}: 'lang' must be one of {', '.join(LANGUAGES)}")
        yield value
