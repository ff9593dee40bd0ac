"""A YAML file as plain values, with the line of every key.

The file is untrusted: its size, depth and number of values (aliases counted as often as they are
used) are bounded, tags are refused, and whatever is wrong with it becomes a
:class:`~firsttoken.core.errors.UserError` with file and line.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from firsttoken.core.errors import UserError

MAX_BYTES = 1_048_576
MAX_DEPTH = 32
MAX_VALUES = 5_000

KeyPath = tuple[str | int, ...]

_MAX_PROBLEMS = 50
_TOO_MANY = f"more than {MAX_VALUES} values, aliases counted; expected a file of settings"
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep; expected a file of settings"
# The parser's time grows with the square of a tag's length.
_LONG_TAG = re.compile(r"![^\s]{500}")
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + name for name in ("str", "timestamp", "merge", "value")}
_BOOLEANS = {"true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def dotted(path: KeyPath) -> str:
    """Write a path the way messages do: ``llm_routing.remote_models[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)[:100]}"
    return text.removeprefix(".")


def printable(text: str) -> str:
    """Return ``text`` on one line: whatever would not show is replaced by ``?``."""
    return "".join(character if character.isprintable() else "?" for character in text)


def refuse(problems: Sequence[str]) -> None:
    """Raise one :class:`UserError` with a line for each problem, the first 50; none: return."""
    if not problems:
        return
    shown = list(problems[:_MAX_PROBLEMS])
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    raise UserError("\n".join(shown))


@dataclass(frozen=True, slots=True)
class Document:
    """The values of one file and the line (from 1) on which each of them stands."""

    file: str
    values: dict[str, Any]
    lines: dict[KeyPath, int]


@dataclass
class _Builder:
    file: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    count: int = 0

    def problem(self, node: Node, path: KeyPath, text: str) -> None:
        where = f"{dotted(path)}: " if path else ""
        self.problems.append(f"{self.file}:{node.start_mark.line + 1}: {where}{text}")

    def build(self, node: Node, path: KeyPath) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise UserError(f"{self.file}:{node.start_mark.line + 1}: {_TOO_MANY}")
        if len(path) > MAX_DEPTH:
            raise UserError(f"{self.file}:{node.start_mark.line + 1}: {_TOO_DEEP}")
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return self._sequence(node, path)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self.problem(
            node, path, f"has the tag {printable(str(node.tag))[:100]}; expected plain YAML"
        )
        return None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag not in _TEXT_TAGS:
                self.problem(key_node, path, "a key is not text; expected the name of a setting")
                continue
            key = str(key_node.value)
            inner = (*path, key)
            if key in values:
                self.problem(
                    key_node,
                    inner,
                    f"is given twice, first on line {self.lines[inner]}; expected it once",
                )
                continue
            self.lines[inner] = key_node.start_mark.line + 1
            values[key] = self.build(value_node, inner)
        return values

    def _sequence(self, node: SequenceNode, path: KeyPath) -> list[Any]:
        values = []
        for index, item in enumerate(node.value):
            inner = (*path, index)
            self.lines[inner] = item.start_mark.line + 1
            values.append(self.build(item, inner))
        return values

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        tag = node.tag or ""
        reader = _SCALARS.get(tag)
        if reader is None:
            self.problem(node, path, f"has the tag {printable(tag)[:100]}; expected plain YAML")
            return None
        try:
            return reader(str(node.value))
        except (ValueError, KeyError):
            kind = tag.removeprefix(_TAG)
            self.problem(node, path, f"is no {kind}, though written as one; expected plain YAML")
            return None


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    unsigned = digits.lstrip("+-").lower()
    base = {"0x": 16, "0o": 8, "0b": 2}.get(unsigned[:2], 10)
    return int(digits, base)


def _number(text: str) -> float:
    plain = text.replace("_", "").lower()
    if plain.lstrip("+-") in {".inf", ".nan"}:
        plain = plain.replace(".", "")
    return float(plain)


_SCALARS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(_TEXT_TAGS, str),
    _TAG + "null": lambda _: None,
    _TAG + "bool": lambda text: _BOOLEANS[text.lower()],
    _TAG + "int": _integer,
    _TAG + "float": _number,
}


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{path}: cannot be read ({reason}); expected a YAML file") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path}: is over {MAX_BYTES} bytes; expected a file of settings")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: is not UTF-8; expected YAML text in UTF-8") from error


def _bound(text: str, file: str) -> None:
    """Refuse early what composing would take many seconds to refuse."""
    if long_tag := _LONG_TAG.search(text):
        line = text.count("\n", 0, long_tag.start()) + 1
        raise UserError(f"{file}:{line}: has a tag of over 500 characters; expected plain YAML")
    depth = 0
    for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        too_many, too_deep = count > 3 * MAX_VALUES, depth > 2 * MAX_DEPTH
        if too_many or too_deep:
            what = _TOO_DEEP if too_deep else _TOO_MANY
            raise UserError(f"{file}:{event.start_mark.line + 1}: {what}")


def _compose(text: str, file: str) -> Node | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _bound(text, file)
            node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        what = printable(str(error.problem or error.context or "cannot be parsed"))[:200]
        raise UserError(f"{file}:{line}: broken YAML: {what}; expected valid YAML") from error
    except YAMLError as error:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
        raise UserError(
            f"{file}:{line}: broken YAML: a character that is not allowed; expected valid YAML"
        ) from error
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        ArithmeticError,
        AssertionError,
    ) as e:
        # The parser itself stumbles over some broken texts (an escape such as "\\U99999999").
        raise UserError(f"{file}:1: broken YAML; expected valid YAML") from e
    return node


def parse(text: str, file: str) -> Document:
    """Read YAML text; ``file`` is its name in messages.

    Raises:
        UserError: one line for each thing that is wrong.
    """
    node = _compose(text, file)
    if node is None:
        raise UserError(f"{file}:1: is empty; expected settings as YAML")
    line = node.start_mark.line + 1
    if isinstance(node, ScalarNode) and node.tag == _TAG + "null":
        raise UserError(f"{file}:{line}: is empty; expected settings as YAML")
    if not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "plain text"
        raise UserError(f"{file}:{line}: holds {kind}; expected keys with values, as key: value")
    builder = _Builder(file)
    values = builder.build(node, ())
    refuse(builder.problems)
    return Document(file=file, values=values, lines=builder.lines)


def read(path: Path) -> Document:
    """Read a YAML file of at most 1 MiB.

    Raises:
        UserError: one line for each thing that is wrong.
    """
    return parse(_read_text(path), str(path))


def parse_value(text: str) -> Any:
    """Read one value as YAML, such as ``5``, ``true`` or ``[a, b]``; broken YAML is plain text."""
    try:
        return parse("value: " + text, "value").values.get("value")
    except UserError:
        return text
