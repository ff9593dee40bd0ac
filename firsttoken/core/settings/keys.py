"""Secrets: read from the environment or a file, kept out of every message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MAX_FILE_BYTES = 65_536
_KEY = re.compile(r"[\x21-\x7e]{1,1024}")
_EXPECTED_KEY = "expected printable ASCII characters without spaces"


@dataclass(frozen=True, slots=True)
class Secret:
    """The keys found in one place; never shown."""

    values: tuple[str, ...] = field(repr=False)
    source: str
    """``QWEN_API_KEY`` or the name of a file."""


def find(variable: str | None, file: str | None, environ: Mapping[str, str]) -> Secret | None:
    """Return the keys in the environment variable, else in the file, else None.

    Several keys are separated by commas, spaces or lines. A variable that is empty is not set.

    Raises:
        ValueError: the file cannot be read or holds nothing, or a key has impossible characters.
    """
    text, source = (environ.get(variable, "") if variable else ""), variable or ""
    if not text.strip() and file:
        text, source = _read(file), file
        if not text.strip():
            raise ValueError(f"{file} is empty; expected a key in it")
    values = tuple(value for value in re.split(r"[\s,]+", text) if value)
    if not values:
        return None
    if not all(_KEY.fullmatch(value) for value in values):
        raise ValueError(f"the key from {source} is not possible; {_EXPECTED_KEY}")
    return Secret(values, source)


def find_one(variable: str | None, file: str | None, environ: Mapping[str, str]) -> Secret | None:
    """Return the one key of a backend; see :func:`find`.

    Raises:
        ValueError: as :func:`find`, or there are several.
    """
    secret = find(variable, file, environ)
    if secret is not None and len(secret.values) != 1:
        raise ValueError(f"{secret.source} holds {len(secret.values)} words; expected one key")
    return secret


def _read(file: str) -> str:
    try:
        with Path(file).expanduser().open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such path"
        raise ValueError(f"{file} cannot be read ({reason}); expected a file with a key") from None
    if len(data) > _MAX_FILE_BYTES:
        raise ValueError(f"{file} is over {_MAX_FILE_BYTES} bytes; expected a file with a key")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text; expected a file with a key") from None
