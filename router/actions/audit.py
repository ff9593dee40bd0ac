"""The audit log: one JSON object a line for whatever an alert asked for, bounded and private."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from firsttoken.core.errors import UserError

MOST_BYTES = 5_242_880
"""Of one file; it is then kept as ``<name>.1`` and a new one begun, so twice this in all."""

LONGEST = 200
"""Characters kept of a text that somebody sent."""


class AuditLog:
    """Appends to a file that only its owner may read.

    Not safe to use from two threads at once.

    Args:
        path: of the file; its folder is made where it is missing.
        most_bytes: after which a new file is begun.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes

    def check(self) -> None:
        """Check that it can be written.

        Raises:
            UserError: it cannot.
        """
        try:
            self.add(())
        except OSError as error:
            raise UserError(
                f"alert_actions.audit_log: cannot write {self.path}: {error.strerror or error}; "
                "expected a file that may be written"
            ) from error

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Append entries, all or, where that fails, perhaps a part of them.

        Raises:
            OSError: they could not be written.
        """
        lines = b"".join(orjson.dumps(_short(entry)) + b"\n" for entry in entries)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        number = self._open()
        try:
            size = os.fstat(number).st_size
            if size and size + len(lines) > self._most_bytes:
                self.path.replace(self._before)
                os.close(number)
                number = self._open()
            left = memoryview(lines)
            while left:
                left = left[os.write(number, left) :]
        finally:
            os.close(number)

    def read(self) -> list[bytes]:
        """Return the lines of the file and of the one before it, oldest first; none where there is
        no file yet, or it cannot be read."""
        lines: list[bytes] = []
        for path in (self._before, self.path):
            with suppress(OSError), path.open("rb") as file:
                lines += file.read(2 * self._most_bytes).splitlines()
        return lines

    @property
    def _before(self) -> Path:
        return self.path.with_name(self.path.name + ".1")

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self.path, flags, 0o600)


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its texts cut to their length and free of what is no character."""
    return {
        key: value[:LONGEST].encode("utf-8", "replace").decode() if type(value) is str else value
        for key, value in entry.items()
    }
