"""A trace of requests that the user brings: when each came, and how long it and its reply were.

A CSV file, UTF-8, whose first line names the columns, in any order:

- ``timestamp``: seconds from any origin, or ISO 8601 (without a zone it is taken as UTC);
- ``prompt_tokens``: length of the prompt, at least 0; ``output_tokens``: of the reply, at least 1;
- ``session``, optional: the conversation a row belongs to, any text; a row without one stands
  alone.

Other columns are not read. Rows may be out of order: they are sorted by time, and rows of one time
keep the order of the file.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, TextIO

from firsttoken.core.errors import UserError

MAX_ROWS = 1_000_000
MAX_LINE_CHARACTERS = 1000
MAX_TOKENS = 131_072
MAX_SECONDS = 1e12
NEEDED = ("timestamp", "prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Trace:
    """The rows, in order of time; all arrays are of one length, at least 1."""

    offsets_s: array[float]
    """Seconds after the first row."""
    sessions: array[int]
    """Numbers of the sessions, from 0, in the order in which they first speak."""
    turns: array[int]
    """Position of the row in its session, from 0."""
    prompt_tokens: array[int]
    output_tokens: array[int]

    @property
    def seconds(self) -> float:
        """From the first row to the last."""
        return self.offsets_s[-1]


class _Rows:
    """The rows as they stand in the file."""

    def __init__(self) -> None:
        self.times_s = array("d")
        self.sessions: list[str] = []
        self.prompt_tokens = array("i")
        self.output_tokens = array("i")

    def in_order(self) -> Trace:
        """Return them as a trace."""
        order = sorted(range(len(self.times_s)), key=self.times_s.__getitem__)
        first_s = self.times_s[order[0]]
        numbers: dict[str | int, int] = {}
        spoken: dict[int, int] = {}
        sessions, turns = array("i"), array("i")
        for row in order:
            # A row without a session is one of its own, under a key that no text equals.
            number = numbers.setdefault(self.sessions[row] or row, len(numbers))
            sessions.append(number)
            turns.append(spoken.get(number, 0))
            spoken[number] = turns[-1] + 1
        return Trace(
            array("d", [self.times_s[row] - first_s for row in order]),
            sessions,
            turns,
            array("i", [self.prompt_tokens[row] for row in order]),
            array("i", [self.output_tokens[row] for row in order]),
        )


def read_trace(path: Path) -> Trace:
    """Read a trace; see the module's description for the format.

    Raises:
        UserError: the file cannot be read, lacks a column, has no row, more than a million of
            them, or a row that is wrong; the message names the file, and the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(path, file)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the trace {path}: {error}") from error


class _Lines:
    """The lines of a file, none of them endless, counted."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(MAX_LINE_CHARACTERS + 1):
            self.number += 1
            if len(line) > MAX_LINE_CHARACTERS:
                self.refuse(f"is longer than {MAX_LINE_CHARACTERS} characters")
            yield line

    def refuse(self, why: str) -> NoReturn:
        """Report what is wrong with the line that was read last."""
        raise UserError(f"{self._path}:{self.number}: {why}")


def _read(path: Path, file: TextIO) -> Trace:
    lines = _Lines(path, file)
    reader = csv.reader(lines, strict=True)
    rows = _Rows()
    try:
        columns = _columns(lines, next(reader, []))
        clock = _Clock(lines)
        for cells in reader:
            if not cells:
                continue
            if len(rows.times_s) == MAX_ROWS:
                lines.refuse(f"is row {MAX_ROWS + 1:,}; a trace has at most {MAX_ROWS:,}")
            if len(cells) <= max(columns.values()):
                lines.refuse(f"has {len(cells)} columns, expected {max(columns.values()) + 1}")
            rows.times_s.append(clock.seconds(cells[columns["timestamp"]].strip()))
            rows.sessions.append(cells[columns["session"]].strip() if "session" in columns else "")
            rows.prompt_tokens.append(_tokens(lines, "prompt_tokens", cells, columns, 0))
            rows.output_tokens.append(_tokens(lines, "output_tokens", cells, columns, 1))
    except csv.Error as error:
        lines.refuse(f"is not CSV: {error}")
    if not rows.times_s:
        raise UserError(f"{path}: has no row below the line that names the columns")
    return rows.in_order()


def _columns(lines: _Lines, names: list[str]) -> dict[str, int]:
    """Return the position of each column that is read."""
    columns = {name.strip(): place for place, name in enumerate(names)}
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        lines.number = max(lines.number, 1)
        lines.refuse(
            f"has no column {missing[0]}; expected timestamp,[session,]prompt_tokens,output_tokens"
        )
    return {name: columns[name] for name in (*NEEDED, "session") if name in columns}


def _tokens(lines: _Lines, name: str, cells: list[str], columns: dict[str, int], least: int) -> int:
    """Return a count of tokens; ``472.0``, as pandas writes them beside gaps, is one too."""
    text = cells[columns[name]].strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (least <= value <= MAX_TOKENS and value.is_integer()):
        lines.refuse(f"{name} is {text!r}, expected a whole number from {least} to {MAX_TOKENS}")
    return int(value)


class _Clock:
    """Reads the times of a file, which are all of one kind."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self._kind = ""

    def seconds(self, text: str) -> float:
        """Return a time in seconds."""
        value = self._number(text)
        kind = "a number"
        if value is None:
            kind = "an ISO 8601 time"
            value = self._iso(text)
        if self._kind and kind != self._kind:
            self._lines.refuse(f"timestamp is {kind} ({text!r}), those before are {self._kind}")
        self._kind = kind
        return value

    def _number(self, text: str) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        if not 0 <= value <= MAX_SECONDS:
            self._lines.refuse(f"timestamp is {text!r}, expected seconds, not below 0")
        return value

    def _iso(self, text: str) -> float:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self._lines.refuse(f"timestamp is {text!r}, expected seconds or an ISO 8601 time")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp()
