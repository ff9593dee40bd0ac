"""A settings file with the settings that won, comments and order of the first one kept."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from firsttoken.core import settings as settings_room
from firsttoken.core.errors import UserError


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before anything is measured for it.

    Raises:
        UserError: it exists and may not be replaced, or its folder does not exist.
    """
    if target.exists() and not overwrite:
        raise UserError(f"--write {target}: it exists; name another file, or add --overwrite")
    if not target.parent.is_dir():
        raise UserError(f"--write {target}: {target.parent} is no folder")


def write_settings(
    base: Path | None, lines: Sequence[tuple[str, int]], target: Path, *, overwrite: bool = False
) -> Path:
    """Write ``base`` (None: the packaged settings) with ``lines`` changed; return ``target``.

    What was written is loaded once, so that a file that is no good never stays.

    Raises:
        UserError: see :func:`check_target`; or ``base`` cannot be read, or would not load.
    """
    check_target(target, overwrite=overwrite)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    source = settings_room.DEFAULT_PATH if base is None else base
    try:
        document: dict[str, Any] = yaml.load(source.read_text(encoding="utf-8")) or {}
    except (OSError, YAMLError) as error:
        raise UserError(f"cannot read {source}: {error}") from error
    for path, value in lines:
        *sections, key = path.split(".")
        place = document
        for name in sections:
            if place.get(name) is None:
                place[name] = {}
            place = place[name]
        place[key] = value
    text = StringIO()
    yaml.dump(document, text)
    scratch = target.with_name(f"{target.name}.partial")
    try:
        scratch.write_text(text.getvalue(), encoding="utf-8")
        settings_room.load([scratch])
        scratch.replace(target)
    except OSError as error:
        raise UserError(f"--write {target}: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return target
