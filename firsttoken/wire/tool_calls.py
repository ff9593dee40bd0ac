"""Reading the ``tool_calls`` of a delta, which servers number in different ways."""

from __future__ import annotations

from firsttoken.wire.events import Event, ToolArgument
from firsttoken.wire.values import as_list, as_object, as_text, dump

_LARGEST_INDEX = 1023


class ToolCallNumbers:
    """Gives every fragment the index of its call, and names each call once.

    A server may leave the index out (then a new id, or a name without an id, begins a call), and
    may repeat id and name with every fragment, and (older Ollama) may give several calls the
    index 0, which then differ in their ids.
    """

    def __init__(self) -> None:
        self._moved: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._named: set[int] = set()
        self._last = -1

    def read(self, calls: object, t_ns: int, out: list[Event]) -> None:
        """Append the fragments in ``calls``, the ``tool_calls`` of one frame.

        Raises:
            UnreadableError: a fragment is not what any server sends.
        """
        for item in as_list(calls, "tool_calls"):
            call = as_object(item, "tool_calls[]")
            function = as_object(call.get("function"), "tool_calls[].function")
            call_id = as_text(call.get("id"), "tool_calls[].id")
            name = as_text(function.get("name"), "tool_calls[].function.name")
            arguments = function.get("arguments")
            if isinstance(arguments, dict):
                arguments = dump(arguments).decode()
            text = as_text(arguments, "tool_calls[].function.arguments")
            given = call.get("index", function.get("index"))
            index = self._number(given, call_id, name)
            call_id, name = self._once(index, call_id, name)
            if call_id or name or text:
                out.append(ToolArgument(t_ns, index, call_id, name, text))

    def _number(self, given: object, call_id: str, name: str) -> int:
        free = max(self._named | {self._last}, default=-1) + 1
        if type(given) is int and 0 <= given <= _LARGEST_INDEX:
            index = self._moved.get(given, given)
            if call_id and name and self._ids.get(index, call_id) != call_id:
                index = self._moved[given] = free
        elif call_id and call_id in self._ids.values():
            index = next(number for number, known in self._ids.items() if known == call_id)
        elif call_id or name or self._last < 0:
            index = free
        else:
            index = self._last
        self._last = index
        return index

    def _once(self, index: int, call_id: str, name: str) -> tuple[str, str]:
        """Return id and name where they are news, else empty strings."""
        new_id = call_id if index not in self._ids else ""
        new_name = name if index not in self._named else ""
        if new_id:
            self._ids[index] = new_id
        if new_name:
            self._named.add(index)
        return new_id, new_name
