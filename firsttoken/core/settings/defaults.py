"""Where the packaged ``hybrid.yaml`` and ``slo.yaml`` lie.

In a source tree (and an editable install of it) they are ``config/*.yaml`` beside the packages; a
wheel carries the same files under ``share/firsttoken``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_INSTALLED = "share/firsttoken"


def packaged(name: str) -> Path:
    """Return the path of a packaged settings file, such as ``hybrid.yaml``.

    An installation that lost it is found out where the file is read.
    """
    root = Path(__file__).resolve().parents[3]
    return next((path for path in _places(root, name) if path.is_file()), root / "config" / name)


def _places(root: Path, name: str) -> Iterator[Path]:
    # A config folder in site-packages would be somebody else's.
    if (root / "pyproject.toml").is_file():
        yield root / "config" / name
    # `pip install --target` puts it beside the packages, whatever the record says.
    yield root / _INSTALLED / name
    try:
        files = metadata.files("firsttoken") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(f"{_INSTALLED}/{name}"):
            yield Path(str(file.locate())).resolve()


DEFAULT_PATH = packaged("hybrid.yaml")
"""The settings used where none are named."""
