"""Keeps the rows of a run: gathered in memory, handed to the disk each second."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pyarrow

from firsttoken.core.errors import UserError
from firsttoken.core.records import PartWriter

FLUSH_SECONDS = 1.0
MAX_WAITING_ROWS = 256
"""Rows that are written at once without waiting for the second to end. Writing holds up every
talker of the process: about 1 ms for this many."""


class Recorder:
    """Appends to ``parts/requests-<name>.arrow`` of a run; call it from one thread only.

    The name is the process id unless one is given. ``copy_to`` is handed every batch once it is
    written.

    When the disk is full, the rows that could not be written are lost, ``on_failure`` is called
    once with the reason, and nothing more is kept.

    Raises:
        UserError: from the constructor, where the part cannot be created.
    """

    def __init__(
        self,
        run_dir: Path,
        on_failure: Callable[[UserError], None],
        *,
        name: str = "",
        copy_to: Callable[[pyarrow.RecordBatch], None] | None = None,
    ) -> None:
        # The first array that pyarrow makes imports pandas: 0.3 to 0.5 s, which would hold up
        # every talker at the first flush.
        pyarrow.array([], pyarrow.string())
        part = name or str(os.getpid())
        self._writer: PartWriter | None = PartWriter(run_dir, "requests", part, copy_to)
        self._on_failure = on_failure
        self._waiting = 0
        self._flushing = gevent.spawn(self._flush_each_second)

    def add(self, row: tuple[Any, ...]) -> None:
        """Keep one row, in the order of ``records.REQUESTS``."""
        if self._writer is None:
            return
        self._writer.append(row)
        self._waiting += 1
        if self._waiting >= MAX_WAITING_ROWS:
            self.flush()

    def flush(self) -> None:
        """Hand all rows to the operating system: a SIGKILL loses none of them."""
        if self._writer is None or self._waiting == 0:
            return
        self._waiting = 0
        try:
            self._writer.flush()
        except UserError as error:
            self._fail(error)

    def close(self) -> None:
        """Flush, and end the part. May be called again."""
        self._flushing.kill(block=False)
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except UserError as error:
                self._on_failure(error)

    def _fail(self, error: UserError) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                writer.close()
            except UserError:
                # The disk is still full: the reason is `error`, and it is about to be told.
                writer = None
        self._on_failure(error)

    def _flush_each_second(self) -> None:
        while True:
            gevent.sleep(FLUSH_SECONDS)
            self.flush()
