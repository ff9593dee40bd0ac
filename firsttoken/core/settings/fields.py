"""Finding one's way in the settings models: keys, sections and lists by name."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from firsttoken.core.settings.document import KeyPath
from firsttoken.core.settings.kinds import Section


def section_in(annotation: Any) -> type[Section] | None:
    """Return the settings model inside an annotation such as ``tuple[RemoteModel, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for arg in get_args(annotation) if (found := section_in(arg))), None)


def is_list(annotation: Any) -> bool:
    """Say whether an annotation stands for a list of values."""
    if get_origin(annotation) is tuple:
        return True
    return any(is_list(arg) for arg in get_args(annotation))


def known_part(model: type[Section], path: KeyPath) -> KeyPath:
    """Return the part of ``path`` that the models know, and the first unknown key after it.

    Pydantic adds the branch of a union or the name of a validator to the place of an error; those
    are no keys and are cut off.
    """
    here: type[Section] | None = model
    annotation: Any = None
    for index, part in enumerate(path):
        if isinstance(part, int):
            if not is_list(annotation):
                return path[:index]
            continue
        if here is None:
            return path[:index]
        if part not in here.model_fields:
            return path[: index + 1]
        annotation = here.model_fields[part].annotation
        here = section_in(annotation)
    return path


def section_at(model: type[Section], path: KeyPath) -> type[Section] | None:
    """Return the settings model that stands at ``path``."""
    here: type[Section] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        if here is None or part not in here.model_fields:
            return None
        here = section_in(here.model_fields[part].annotation)
    return here
