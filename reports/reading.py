"""Reads the tables of a run folder into frames with checked types, a few columns at a time."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa

from firsttoken.core.errors import UserError
from firsttoken.core.records import TABLES, consolidate, read_table
from reports import text

_WORDS = ["arm", "phase", "outcome", "error_type", "tier", "backend", "reason", "session_id"]
"""Columns of few distinct values, kept as categories: a million rows then take a byte each."""

COLUMNS_AT_ONCE = 4

WRITER_GRACE_SECONDS = 5.0
"""How long to wait for a run that is just being stopped to close its parts."""


def _writers(parts_dir: Path) -> list[int]:
    """Return the processes, other than this one, that hold a file of ``parts_dir`` open."""
    inside = f"{parts_dir.resolve()}{os.sep}"
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        # A process that ends meanwhile, or that is not ours, tells nothing.
        with suppress(OSError):
            if any(str(fd.readlink()).startswith(inside) for fd in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found


def join_parts(run_dir: Path) -> None:
    """Turn parts into tables, unless somebody still writes to them."""
    parts_dir = run_dir / "parts"
    if not parts_dir.is_dir():
        return
    deadline = time.monotonic() + WRITER_GRACE_SECONDS
    while writers := _writers(parts_dir):
        if time.monotonic() >= deadline:
            raise UserError(
                f"{run_dir} is still being written by process {writers[0]}: "
                "wait for the run to end, or stop it"
            )
        time.sleep(0.1)
    try:
        consolidate(run_dir)
    except (pa.ArrowException, ValueError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{parts_dir} holds rows that this version cannot read: {why}") from error


def read_frame(run_dir: Path, table: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a table in the types of its schema.

    Raises:
        UserError: the file is cut, lacks a column, or holds values of another kind.
    """
    # A few columns at a time: all of them as they lie in the file, beside all as frames, would take
    # twice the memory.
    parts = [
        _converted(run_dir, table, columns[at : at + COLUMNS_AT_ONCE])
        for at in range(0, len(columns), COLUMNS_AT_ONCE)
    ]
    pa.default_memory_pool().release_unused()
    return pd.concat(parts, axis=1)


def _converted(run_dir: Path, table: str, columns: Sequence[str]) -> pd.DataFrame:
    data = read_table(run_dir, table, columns, [name for name in columns if name in _WORDS])
    schema = TABLES[table]
    typed = {}
    for name in columns:
        column, wanted = data.column(name), schema.field(name).type
        if pa.types.is_dictionary(column.type) and column.type.value_type == wanted:
            typed[name] = column
            continue
        try:
            # Not safe: 1.0e9 is taken for a stamp, though a float cannot hold every nanosecond.
            typed[name] = column if column.type == wanted else column.cast(wanted, safe=False)
        except pa.ArrowException as error:
            raise UserError(
                f"{run_dir / table}.parquet: column {name} holds {column.type}, expected {wanted}"
            ) from error
    del data
    categories = [name for name in columns if name in _WORDS]
    whole = pa.table(typed)
    typed.clear()
    # Each column of the table is let go once it is converted.
    frame: pd.DataFrame = whole.to_pandas(
        categories=categories, split_blocks=True, self_destruct=True
    )
    return frame


def optional_frame(
    run_dir: Path, table: str, columns: Sequence[str], doubts: list[str]
) -> pd.DataFrame:
    """Read a table that a report can do without; its faults become a doubt."""
    try:
        frame = read_frame(run_dir, table, columns)
    except UserError as error:
        doubts.append(str(error))
        empty: pd.DataFrame = TABLES[table].empty_table().select(list(columns)).to_pandas()
        return empty
    nameless = frame[columns[0]].isna().to_numpy()
    if nameless.any():
        rows = text.count(int(nameless.sum()), "row")
        doubts.append(f"{rows} of {table}.parquet without {columns[0]}: left out")
        frame = frame[~nameless].reset_index(drop=True)
    return frame
