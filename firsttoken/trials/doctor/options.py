"""The options of ``firsttoken doctor``, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.core.settings import endpoint

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


def address(option: str, text: str | None) -> str | None:
    """Return an address without a slash at its end; ``http://`` may be left out.

    Raises:
        UserError: it is none.
    """
    if text is None:
        return None
    try:
        return endpoint.resolve(text if "//" in text else f"http://{text}", "openai")[0]
    except ValueError as error:
        raise UserError(f"{option} {error}") from error


def sha256(text: str | None) -> str | None:
    """Return a digest in small letters.

    Raises:
        UserError: it is none.
    """
    if text is None:
        return None
    found = _SHA256.fullmatch(text.strip())
    if found is None:
        raise UserError("--model-sha256 is no digest; expected 64 hexadecimal digits")
    return found[1].lower()


def files(paths: Iterable[Path] | None) -> tuple[Path, ...] | None:
    """Return the settings files; None where none was named.

    Raises:
        UserError: one does not exist: a mistake in the command, unlike one in the file.
    """
    found = tuple(paths or ())
    for path in found:
        if not path.is_file():
            raise UserError(f"--config {path}: no such file")
    return found or None
