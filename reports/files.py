"""What is written to disk: values as JSON can hold them, files whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from firsttoken.core.errors import UserError


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: NaN and infinity become null, a tuple a list."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def json_text(value: Mapping[str, Any]) -> str:
    """Return a JSON file's text, readable by people too."""
    return json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def put(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all; text as UTF-8.

    Raises:
        OSError: it cannot be written.
    """
    scratch = path.with_name(f".{path.name}.partial")
    scratch.write_bytes(content.encode() if isinstance(content, str) else content)
    scratch.replace(path)


def put_all(folder: Path, contents: Mapping[str, bytes | str], failing: str) -> None:
    """Write files into a folder, which is made; each whole or not at all.

    Args:
        folder: where.
        contents: by file name.
        failing: what an error begins with, such as ``cannot write the comparison to runs/a``.

    Raises:
        UserError: one cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            put(folder / name, content)
    except OSError as error:
        raise UserError(f"{failing}: {error.strerror or error}") from error
