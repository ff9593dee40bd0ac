"""The header of a GGUF model file: metadata and tensor extents, read with bounds on everything.

Format: magic ``GGUF``, version, tensor count, metadata count, the metadata (key, type, value), the
tensor table (name, shape, type, offset), then the tensors, aligned. Source: the GGUF specification
in the documentation of ggml.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from firsttoken.core.errors import UserError

MAGIC = b"GGUF"
VERSIONS = (2, 3)

Scalar = int | float | bool | str
Value = Scalar | tuple[int, ...]
"""What of the metadata is kept: scalars, and short arrays of whole numbers (a value a layer).
Token lists and other long arrays are skipped; their length is kept under ``<key>.length``."""

_MAX_ENTRIES = 65_536
_MAX_TENSORS = 1_000_000
_MAX_KEY_BYTES = 65_535
_MAX_TEXT_BYTES = 16 << 20
_MAX_ITEMS = 1 << 24
_MAX_KEPT_ITEMS = 4096
_MAX_DIMENSIONS = 8
_MAX_HEADER_BYTES = 512 << 20
_DEFAULT_ALIGNMENT = 32

_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_WHOLE_NUMBERS = frozenset({0, 1, 2, 3, 4, 5, 10, 11})
_TEXT = 8
_ARRAY = 9

_TENSOR_TYPES: dict[int, tuple[int, int]] = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}
"""By ggml's type number: elements of a block, bytes of a block."""


class GgufError(ValueError):
    """The bytes are no whole GGUF file; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the engine part needs to know of a model file."""

    version: int
    metadata: Mapping[str, Value]
    tensors: int
    data_start: int
    """Offset of the first tensor, bytes."""
    data_end: int
    """Offset after the last tensor whose type is known, bytes: the least size of the file."""

    @property
    def architecture(self) -> str:
        """``general.architecture``, such as ``llama``; empty where the file does not say."""
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def whole(self, name: str) -> int | None:
        """Return the architecture's whole number ``name``, such as ``block_count``, or None."""
        value = self.metadata.get(f"{self.architecture}.{name}")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def wholes(self, name: str) -> tuple[int, ...] | None:
        """Return the architecture's value ``name`` as whole numbers, one a layer where the file
        gives one a layer, else a single one; None where it gives none."""
        value = self.metadata.get(f"{self.architecture}.{name}")
        if isinstance(value, tuple):
            return value
        number = self.whole(name)
        return None if number is None else (number,)


class _Cursor:
    """Reads little-endian values off a file, never beyond its end nor beyond the header bound."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._end = min(size, _MAX_HEADER_BYTES)
        self.position = 0

    def take(self, count: int) -> bytes:
        if self.position + count > self._end:
            raise GgufError("it ends inside its header")
        data = self._file.read(count)
        if len(data) != count:
            raise GgufError("it ends inside its header")
        self.position += count
        return data

    def skip(self, count: int) -> None:
        if self.position + count > self._end:
            raise GgufError("it ends inside its header")
        self._file.seek(count, 1)
        self.position += count

    def unpack(self, layout: struct.Struct) -> int | float | bool:
        value: int | float | bool = layout.unpack(self.take(layout.size))[0]
        return value

    def count(self, layout: struct.Struct, limit: int, what: str) -> int:
        value = int(self.unpack(layout))
        if value > limit:
            raise GgufError(f"it claims {value:,} {what}")
        return value

    def text(self, limit: int) -> str:
        length = self.count(_SCALARS[10], limit, "bytes of text in one value")
        return self.take(length).decode("utf-8", "replace")


def _array(cursor: _Cursor) -> tuple[int, tuple[int, ...] | None]:
    """Read past an array; return its length, and its items where they are few whole numbers."""
    kind = int(cursor.unpack(_SCALARS[4]))
    length = cursor.count(_SCALARS[10], _MAX_ITEMS, "items in one array")
    if kind == _TEXT:
        for _ in range(length):
            cursor.skip(cursor.count(_SCALARS[10], _MAX_TEXT_BYTES, "bytes of text in one value"))
        return length, None
    layout = _SCALARS.get(kind)
    if layout is None:
        raise GgufError(f"it has an array of unknown type {kind}")
    if kind in _WHOLE_NUMBERS and length <= _MAX_KEPT_ITEMS:
        return length, tuple(int(cursor.unpack(layout)) for _ in range(length))
    cursor.skip(length * layout.size)
    return length, None


def _metadata(cursor: _Cursor, entries: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(entries):
        key = cursor.text(_MAX_KEY_BYTES)
        kind = int(cursor.unpack(_SCALARS[4]))
        if kind == _TEXT:
            metadata[key] = cursor.text(_MAX_TEXT_BYTES)
        elif kind == _ARRAY:
            length, items = _array(cursor)
            metadata[f"{key}.length"] = length
            if items is not None:
                metadata[key] = items
        elif kind in _SCALARS:
            metadata[key] = cursor.unpack(_SCALARS[kind])
        else:
            raise GgufError(f"it has a value of unknown type {kind}")
    return metadata


def _tensor_end(cursor: _Cursor) -> int:
    """Read one row of the tensor table; return where the tensor ends, from the first one on."""
    cursor.text(_MAX_KEY_BYTES)
    dimensions = cursor.count(_SCALARS[4], _MAX_DIMENSIONS, "dimensions of a tensor")
    shape = [int(cursor.unpack(_SCALARS[10])) for _ in range(dimensions)]
    kind = int(cursor.unpack(_SCALARS[4]))
    offset = int(cursor.unpack(_SCALARS[10]))
    block_items, block_bytes = _TENSOR_TYPES.get(kind, (1, 0))
    return offset + math.prod(shape) // block_items * block_bytes


def read(file: BinaryIO, size: int) -> Header:
    """Read the header off the start of ``file``, which holds ``size`` bytes.

    Raises:
        GgufError: the bytes are no GGUF file of a known version, a count is beyond all reason,
            the header is cut, or the file ends before its last tensor.
    """
    cursor = _Cursor(file, size)
    if size < len(MAGIC) or cursor.take(len(MAGIC)) != MAGIC:
        raise GgufError("it does not start with GGUF")
    version = int(cursor.unpack(_SCALARS[4]))
    if version not in VERSIONS:
        raise GgufError(f"it is of GGUF version {version}, known are 2 and 3")
    tensors = cursor.count(_SCALARS[10], _MAX_TENSORS, "tensors")
    entries = cursor.count(_SCALARS[10], _MAX_ENTRIES, "metadata entries")
    metadata = _metadata(cursor, entries)
    ends = [_tensor_end(cursor) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1:
        raise GgufError("its alignment is not a positive whole number")
    start = -(-cursor.position // alignment) * alignment
    end = start + max(ends, default=0)
    if end > size:
        raise GgufError(f"it is cut: {size:,} bytes, its tensors end at {end:,}")
    return Header(version, metadata, tensors, start, end)


def read_model(path: Path) -> Header:
    """Read the header of the model at ``path``.

    Raises:
        UserError: there is no such file, it is a folder, it cannot be read, or it is no whole GGUF
            file with tensors in it.
    """
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
            raise UserError(f"the model {path} is {what}; expected a GGUF file")
        with path.open("rb") as file:
            header = read(file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as error:
        raise UserError(f"no such model file: {path}") from error
    except OSError as error:
        raise UserError(f"cannot read the model {path}: {error.strerror or error}") from error
    except GgufError as error:
        raise UserError(f"the model {path} is no usable GGUF file: {error}") from error
    if header.tensors == 0 or not header.architecture:
        raise UserError(f"the model {path} is no usable GGUF file: it holds no model")
    return header
