"""What a run leaves on disk: the request record, the attempt record, host samples, the manifest.

A run is one folder::

    run.json            the manifest
    parts/*.arrow       rows of a run under way: Arrow IPC streams, one or more a table
    requests.parquet    one row a request, all arms and steps
    attempts.parquet    one row a router attempt, joined by request_id
    host.parquet        one row a second

While a run goes on, rows are appended to ``parts/`` by :class:`PartWriter` and flushed; they stay
readable after SIGKILL. :func:`consolidate` turns them into the Parquet files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from firsttoken.core.clock import WallAnchor
from firsttoken.core.errors import UserError

SCHEMA_VERSION = 1

STAMPS: tuple[str, ...] = (
    "t_sched_ns",
    "t_send_ns",
    "t_headers_ns",
    "t_first_event_ns",
    "t_first_token_ns",
    "t_first_sentence_ns",
    "t_last_token_ns",
    "t_end_ns",
)
"""The timestamps of a request in the order in which they happen, ns of the run's monotonic clock:
planned start, request handed to the socket, response headers, any stream event, first token,
first speakable sentence, last token, end."""

REQUESTS = pa.schema(
    [
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("step_users", pa.int32(), nullable=False),
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("turn", pa.int32(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("phase", pa.string(), nullable=False),
        *(pa.field(stamp, pa.int64()) for stamp in STAMPS),
        pa.field("ttft_ms", pa.float64()),
        pa.field("ttft_user_ms", pa.float64()),
        pa.field("ttfs_ms", pa.float64()),
        pa.field("tpot_ms", pa.float64()),
        pa.field("e2e_ms", pa.float64()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("cached_tokens", pa.int32()),
        pa.field("output_tokens", pa.int32()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error_type", pa.string()),
        pa.field("http_status", pa.int32()),
        pa.field("tier", pa.string()),
        pa.field("backend", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("attempts", pa.int32()),
        pa.field("conn_reused", pa.bool_()),
        pa.field("block", pa.int32()),
        pa.field("planned_rate", pa.float64()),
        pa.field("load_ms", pa.float64()),
        pa.field("prompt_ms", pa.float64()),
        pa.field("predict_ms", pa.float64()),
        pa.field("engine_queue_ms", pa.float64()),
        pa.field("first_token_kind", pa.string()),
        pa.field("hop", pa.int32()),
        pa.field("ttfsc_ms", pa.float64()),
        pa.field("segments", pa.int32()),
        pa.field("stutters", pa.int32()),
        pa.field("longest_gap_ms", pa.float64()),
        pa.field("total_gap_ms", pa.float64()),
        pa.field("spoken_failure", pa.bool_()),
    ]
)
"""Columns of ``requests.parquet``. ``tier``, ``backend``, ``reason`` and ``attempts`` are what our
router's response headers said, and null against a server that is not ours. ``block`` numbers the
uninterrupted stretches of the run (:class:`BlockResult`); ``planned_rate`` is the arrivals a second
of an open loop, else null; ``load_ms``, ``prompt_ms``, ``predict_ms`` and ``engine_queue_ms`` (its
own queue) are the engine's times as the stream told them. ``first_token_kind`` says what the first
token was: ``text``, ``reasoning`` or ``tool``; only text, and what a tool made for it says, can be
spoken.

What is heard: ``hop`` numbers the requests of a turn, which is more than one where a tool was used;
``ttfsc_ms`` is the first speakable character minus t_send; ``segments`` how many pieces the reply
was spoken in; ``stutters`` how often the device fell silent between two of them, for
``longest_gap_ms`` at most and ``total_gap_ms`` in all; ``spoken_failure``: nobody answered, and the
router said a sentence of its own."""

OPTIONAL_COLUMNS: Mapping[str, frozenset[str]] = {
    "requests": frozenset(
        {
            "block",
            "planned_rate",
            "load_ms",
            "prompt_ms",
            "predict_ms",
            "engine_queue_ms",
            "first_token_kind",
            "hop",
            "ttfsc_ms",
            "segments",
            "stutters",
            "longest_gap_ms",
            "total_gap_ms",
            "spoken_failure",
        }
    ),
    "attempts": frozenset({"engine_queue_ms"}),
    "host": frozenset({"other_cpu", "foreign_cpu", "foreign_program"}),
}
"""Columns that a reader fills with nulls where a file does not have them."""

ATTEMPTS = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("backend", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("started_ns", pa.int64(), nullable=False),
        pa.field("headers_ns", pa.int64()),
        pa.field("first_token_ns", pa.int64()),
        pa.field("ended_ns", pa.int64(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error_type", pa.string()),
        pa.field("queue_ms", pa.float64()),
        pa.field("load_ms", pa.float64()),
        pa.field("prompt_ms", pa.float64()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("cached_tokens", pa.int32()),
        pa.field("predict_ms", pa.float64()),
        pa.field("hedged", pa.bool_(), nullable=False),
        pa.field("committed", pa.bool_(), nullable=False),
        pa.field("engine_queue_ms", pa.float64()),
    ]
)
"""Columns of ``attempts.parquet``; also the keys of an attempt at ``GET /debug/attempts``.
``queue_ms`` is the wait in the router's queue, ``engine_queue_ms`` the one in the engine's own."""

HOST = pa.schema(
    [
        pa.field("t_ns", pa.int64(), nullable=False),
        pa.field("engine_cpu", pa.float64()),
        pa.field("router_cpu", pa.float64()),
        pa.field("generator_cpu", pa.float64()),
        pa.field("host_cpu", pa.float64()),
        pa.field("steal_share", pa.float64()),
        pa.field("throttled_share", pa.float64()),
        pa.field("cpu_pressure_some", pa.float64()),
        pa.field("memory_unreclaimable_bytes", pa.int64()),
        pa.field("memory_file_bytes", pa.int64()),
        pa.field("memory_limit_bytes", pa.int64()),
        pa.field("other_cpu", pa.float64()),
        pa.field("foreign_cpu", pa.float64()),
        pa.field("foreign_program", pa.string()),
    ]
)
"""Columns of ``host.parquet``: ``*_cpu`` in cores, ``*_share`` and pressure in [0, 1].
``other_cpu`` is what the undertaking itself used beside engine, router and generator, such as its
emulated cloud; ``foreign_cpu`` what programs used that have nothing to do with the run (null where
the server's own processes could not be told), ``foreign_program`` the one that used most."""

DECISIONS = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("accepted_ns", pa.int64(), nullable=False),
        pa.field("first_token_ns", pa.int64()),
        pa.field("ended_ns", pa.int64(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("backend", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("cache", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("error_type", pa.string()),
    ]
)
"""Columns of ``decisions.parquet``, one row a request that the router accepted; also keys of a
decision at ``GET /debug/decisions``. ``accepted_ns`` is when its head had been read,
``first_token_ns`` when the first token was handed to the client's socket."""

TABLES: dict[str, pa.Schema] = {
    "requests": REQUESTS,
    "attempts": ATTEMPTS,
    "decisions": DECISIONS,
    "host": HOST,
}


ROW_GROUP_ROWS = 65_536
"""About 20 MB in memory while they are written."""


class PartWriter:
    """Appends rows of one table to ``parts/<table>-<name>.arrow``.

    Rows are kept in memory until :meth:`flush`, which the owner calls once a second; what was
    flushed is readable after SIGKILL. Rows are tuples in the order of the schema. ``copy_to`` is
    handed every batch once it is written.

    Raises:
        UserError: from the constructor, where the part cannot be created, and from ``flush`` and
            ``close``, where it cannot be written (disk full).
    """

    def __init__(
        self,
        run_dir: Path,
        table: str,
        name: str,
        copy_to: Callable[[pa.RecordBatch], None] | None = None,
    ) -> None:
        self._schema = TABLES[table]
        self._copy_to = copy_to
        self._rows: list[tuple[Any, ...]] = []
        self.path = run_dir / "parts" / f"{table}-{name}.arrow"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("xb")
            self._stream = pa.ipc.new_stream(self._file, self._schema)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error

    def append(self, row: tuple[Any, ...]) -> None:
        """Keep one row for the next flush."""
        self._rows.append(row)

    def flush(self) -> int:
        """Write the rows kept so far and hand them to the operating system; return how many."""
        rows, self._rows = self._rows, []
        if not rows:
            return 0
        columns = [
            pa.array(column, type=field.type)
            for column, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self.write(pa.record_batch(columns, schema=self._schema))
        return len(rows)

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch of rows of the table's schema and hand it to the operating system."""
        try:
            self._stream.write_batch(batch)
            self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        if self._copy_to is not None:
            self._copy_to(batch)

    def close(self) -> None:
        """Flush and end the stream."""
        try:
            self.flush()
            self._stream.close()
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        finally:
            # A full disk makes closing fail too; the reason was already reported.
            with suppress(OSError):
                self._file.close()


def batch_to_bytes(batch: pa.RecordBatch) -> bytes:
    """Return one batch with its schema as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def batches_from_bytes(data: bytes, table: str) -> list[pa.RecordBatch]:
    """Read what :func:`batch_to_bytes` made of rows of ``table``.

    Raises:
        UserError: it is not that, or of another schema.
    """
    try:
        with pa.ipc.open_stream(data) as reader:
            if not reader.schema.equals(TABLES[table]):
                raise UserError(f"the rows are not of the table {table} as this version has it")
            found = list(reader)
            for batch in found:
                batch.validate(full=True)
            return found
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise UserError(f"the rows of {table} cannot be read: {error}") from error


def shift_stamps(batch: pa.RecordBatch, offset_ns: int) -> pa.RecordBatch:
    """Return rows of ``requests`` with ``offset_ns`` added to every stamp; durations stay."""
    if offset_ns == 0:
        return batch
    columns = [
        pc.add(column, pa.scalar(offset_ns, pa.int64())) if name in STAMPS else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.record_batch(columns, schema=batch.schema)


def _part_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the whole batches of one part; a batch cut off by a kill ends it without an error."""
    with path.open("rb") as file:
        try:
            with pa.ipc.open_stream(file) as reader:
                yield from reader
        except (pa.ArrowInvalid, OSError, EOFError):
            return


def rows_so_far(run_dir: Path, table: str, columns: Sequence[str]) -> pa.Table:
    """Return what was flushed of a table while its run goes on, all parts together."""
    schema = pa.schema([TABLES[table].field(name) for name in columns])
    batches = [
        batch.select(list(columns))
        for part in sorted((run_dir / "parts").glob(f"{table}-*.arrow"))
        for batch in _part_batches(part)
    ]
    return pa.Table.from_batches(batches, schema=schema)


def _row_groups(parts: Iterable[Path]) -> Iterator[list[pa.RecordBatch]]:
    """Yield the batches of all parts, as many at a time as make a row group.

    A group for each batch of a second would cost a Parquet file several times its size, and its
    writer the memory of as many descriptions of all columns.
    """
    group: list[pa.RecordBatch] = []
    rows = 0
    for part in parts:
        for batch in _part_batches(part):
            group.append(batch)
            rows += batch.num_rows
            if rows >= ROW_GROUP_ROWS:
                yield group
                group, rows = [], 0
    if group:
        yield group


def consolidate(run_dir: Path) -> list[str]:
    """Turn ``parts/`` into one Parquet file a table, then remove the parts.

    The folder of parts is renamed once all tables are whole and before any part is deleted: a kill
    at any point leaves either every part or every table, and calling this again finishes the work.
    Returns the names of the tables written.

    Raises:
        UserError: the folder cannot be written.
    """
    parts_dir, used_up = run_dir / "parts", run_dir / "parts.consolidated"
    if used_up.exists():
        shutil.rmtree(used_up, ignore_errors=True)
    written = []
    for table, schema in TABLES.items():
        parts = sorted(parts_dir.glob(f"{table}-*.arrow"))
        if not parts:
            continue
        target = run_dir / f"{table}.parquet"
        scratch = target.with_suffix(".parquet.partial")
        try:
            with pq.ParquetWriter(scratch, schema, compression="zstd") as writer:
                for group in _row_groups(parts):
                    writer.write_table(pa.Table.from_batches(group).combine_chunks())
            scratch.replace(target)
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}") from error
        written.append(table)
    if parts_dir.exists():
        try:
            parts_dir.rename(used_up)
        except OSError as error:
            raise UserError(f"cannot rename {parts_dir}: {error.strerror or error}") from error
        shutil.rmtree(used_up, ignore_errors=True)
    return written


@dataclass(frozen=True, slots=True)
class Calibration:
    """The generator's own error, measured against the truth server at one concurrency.

    Errors are the client's TTFT minus the server's, per request, in milliseconds.
    """

    users: int
    requests: int
    error_p50_ms: float
    error_p99_ms: float
    error_max_ms: float
    budget_p99_ms: float
    cpu_us_per_token: float
    when: str
    """``before`` or ``after`` the measurement."""
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    """Delivery lag: from the moment the server wrote the first token to the client's stamp."""
    generator_cpu: float | None = None
    """Cores that the generator used meanwhile."""


@dataclass(frozen=True, slots=True)
class ArmTarget:
    """Where the requests of one arm went."""

    arm: str
    url: str
    model: str
    dialect: str
    note: str = ""
    """What a reader must know of this target, such as "emulated cloud" or "4 slots"."""


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What the load generator says of one block: one arm under one load, without interruption.

    Stamps are ns of the run's monotonic clock. Counts are of the steady part.
    """

    number: int
    arm: str
    step_users: int
    planned_rate: float | None
    started_ns: int
    steady_ns: int
    """From when on requests count; the warm-up lies before it."""
    stop_ns: int
    """From when on nothing new was begun."""
    ended_ns: int
    """When the last request under way had ended."""
    requests: int
    errors: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tokens_counted_here: int
    loop_lag_p99_ms: float
    loop_lag_max_ms: float
    generator_cpu: float
    """Cores."""
    settled: bool | None = None
    """Whether first tokens and requests in flight had come to rest before the steady part began,
    or, of planned starts, stayed at rest throughout it; None: nobody asked. False: saturated."""
    ended_by: str | None = None
    """What ended a steady part that was to go on until the TTFT p95 was sharp enough:
    ``interval`` or ``cap``; None: it had a planned length."""
    ci_half_width: float | None = None
    """Half the 95 % interval of the TTFT p95 then, as a share of it; None: not bounded."""
    scheduled: int | None = None
    """Starts that an open loop's schedule holds for the steady part; None in a closed loop."""
    late: int | None = None
    """Those of them that were begun over 10 ms after their time, for want of a free talker."""
    dropped: int | None = None
    """Those that were never begun."""
    worker: str = ""
    """Which load generator, where there are several."""


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """One of several load generators of a run."""

    name: str
    host: str
    users: int
    clock_offset_ns: int
    """Added to its stamps to bring them to the clock of the run."""
    clock_error_ns: int
    """Half the round trip of the best exchange that the offset rests on."""
    rows: int
    lost_ns: int | None = None
    """When it was last heard of, where it was lost in the run."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """``run.json``: what was run, on what, with which settings."""

    run_id: str
    scenario: str
    anchor: WallAnchor
    arms: list[ArmTarget]
    steps: list[int]
    """Numbers of users, in the order in which they were run."""
    step_seconds: float
    seed: int
    command: list[str]
    host: dict[str, Any]
    """``cpu_model``, ``cores``, ``memory_bytes``, ``kernel``, ``python``."""
    versions: dict[str, str]
    git_sha: str | None = None
    settings_hash: str | None = None
    calibration: list[Calibration] = field(default_factory=list)
    blocks: list[BlockResult] = field(default_factory=list)
    shares: list[BlockResult] = field(default_factory=list)
    """Where there were several load generators: what each says of each block. One that is missing
    from a block was lost before the end of it."""
    workers: list[WorkerResult] = field(default_factory=list)
    """Empty where one process was the load generator."""
    affinity: dict[str, list[int]] = field(default_factory=dict)
    """Cores that ``generator`` and ``servers`` were kept to; empty: the kernel's choice."""
    notes: list[str] = field(default_factory=list)
    """What happened that a reader must know: "cut short by Ctrl-C", "the engine was restarted"."""
    finished: bool = False
    schema_version: int = SCHEMA_VERSION

    def write(self, run_dir: Path) -> None:
        """Write ``run.json`` whole or not at all.

        Raises:
            UserError: the folder cannot be written.
        """
        target = run_dir / "run.json"
        scratch = target.with_suffix(".json.partial")
        try:
            scratch.write_text(
                json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
            )
            scratch.replace(target)
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror or error}") from error

    @classmethod
    def read(cls, run_dir: Path) -> Manifest:
        """Read ``run.json``.

        Raises:
            UserError: it is missing, not JSON, of another schema version, or misses a key.
        """
        path = run_dir / "run.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(f"{run_dir} is no run folder: it has no run.json") from error
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}") from error
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path}: schema_version is {version!r}, this version reads {SCHEMA_VERSION}"
            )
        try:
            data["anchor"] = WallAnchor(**data["anchor"])
            data["arms"] = [ArmTarget(**arm) for arm in data["arms"]]
            for key, kind in (
                ("calibration", Calibration),
                ("blocks", BlockResult),
                ("shares", BlockResult),
                ("workers", WorkerResult),
            ):
                data[key] = [kind(**item) for item in data.get(key, [])]
            known = {item.name for item in fields(cls)}
            return cls(**{key: value for key, value in data.items() if key in known})
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} is not a manifest of this version: {error}") from error


def read_table(
    run_dir: Path,
    table: str,
    columns: Sequence[str] | None = None,
    dictionaries: Sequence[str] = (),
) -> pa.Table:
    """Read ``<table>.parquet``, or an empty table of its schema where the run has none.

    A column of :data:`OPTIONAL_COLUMNS` that the file does not have is null throughout. Columns of
    text named in ``dictionaries`` may come as dictionaries, which takes a fraction of the time.

    Raises:
        UserError: the file is cut, or lacks one of the schema's other columns.
    """
    path = run_dir / f"{table}.parquet"
    schema = TABLES[table]
    wanted = list(columns or schema.names)
    if not path.exists():
        return schema.empty_table().select(wanted)
    try:
        present = set(pq.read_schema(path).names)
        missing = [name for name in wanted if name not in present]
        needed = [name for name in missing if name not in OPTIONAL_COLUMNS.get(table, ())]
        if needed:
            raise UserError(f"{path} lacks the column(s) {', '.join(needed)}")
        data = pq.read_table(
            path,
            columns=[name for name in wanted if name in present],
            read_dictionary=[name for name in dictionaries if name in present],
        )
        for name in missing:
            data = data.append_column(
                schema.field(name), pa.nulls(len(data), schema.field(name).type)
            )
        return data.select(wanted)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from error


def rows_from_mappings(table: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield each mapping as a tuple in the order of the table's schema; missing keys are null."""
    names = TABLES[table].names
    return (tuple(row.get(name) for name in names) for row in rows)
