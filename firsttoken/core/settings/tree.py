"""Settings before they are checked: values from several places, each with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from firsttoken.core.settings.document import Document, KeyPath

DEFAULT = "default"


@dataclass
class Tree:
    """Nested values and the place each was set: ``FILE:LINE`` or another name of a source.

    Later layers win: mappings are merged, everything else is replaced whole.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[KeyPath, str] = field(default_factory=dict)

    def add(self, document: Document) -> None:
        """Lay a file over what is there."""
        self._merge(self.values, document.values, (), document)

    def _merge(
        self, base: dict[str, Any], over: Mapping[str, Any], path: KeyPath, document: Document
    ) -> None:
        for key, value in over.items():
            inner = (*path, key)
            where = f"{document.file}:{document.lines[inner]}"
            below = base.get(key)
            if isinstance(below, dict) and isinstance(value, dict):
                self.sources[inner] = where
                self._merge(below, value, inner, document)
                continue
            if key in base:
                self._forget(inner)
            base[key] = self._adopt(value, inner, document)

    def _adopt(self, value: Any, path: KeyPath, document: Document) -> Any:
        """Copy a value and note where each part of it stands."""
        self.sources[path] = f"{document.file}:{document.lines[path]}"
        if isinstance(value, dict):
            return {key: self._adopt(item, (*path, key), document) for key, item in value.items()}
        if isinstance(value, list):
            return [self._adopt(item, (*path, i), document) for i, item in enumerate(value)]
        return value

    def _forget(self, path: KeyPath) -> None:
        for known in [known for known in self.sources if known[: len(path)] == path]:
            del self.sources[known]

    def get(self, path: KeyPath) -> Any:
        """Return the value at ``path``, or None where nothing was set."""
        value: Any = self.values
        for part in path:
            if isinstance(part, str) and isinstance(value, dict):
                value = value.get(part)
            elif isinstance(part, int) and isinstance(value, list) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def set(self, path: KeyPath, value: Any, source: str) -> bool:
        """Set one value, making the mappings above it; False where a list above it lacks the item
        or a plain value stands in the way."""
        here: Any = self.values
        for depth, part in enumerate(path[:-1]):
            if isinstance(here, dict):
                if here.get(str(part)) is None:
                    here[str(part)] = {}
                    self.sources[path[: depth + 1]] = source
                here = here[str(part)]
            elif isinstance(here, list) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                return False
        if not isinstance(here, dict):
            return False
        self._forget(path)
        here[str(path[-1])] = value
        self.sources[path] = source
        return True

    def remove(self, path: KeyPath, source: str) -> None:
        """Take one value out, so that its default applies for the reason ``source``."""
        holder = self.get(path[:-1])
        if isinstance(holder, dict):
            holder.pop(str(path[-1]), None)
            self._forget(path)
            self.sources[path] = source

    def source(self, path: KeyPath) -> str:
        """Return where the value at ``path`` came from; ``default`` where nothing set it."""
        return self.sources.get(path, DEFAULT)

    def nearest_source(self, path: KeyPath) -> str | None:
        """Return where ``path`` or the closest thing around it was set."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.sources:
                return self.sources[path[:length]]
        return None
